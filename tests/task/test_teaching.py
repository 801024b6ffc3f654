"""A teacher's part of the loss, and disagreement of two answers, against one item at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.model import Model
from manyheads.nn.crf import Lattice
from manyheads.nn.divergence import DIVERGENCES, of_flags, of_labels
from manyheads.task.base import Task
from manyheads.task.binary import Binary
from manyheads.task.classification import Classification
from manyheads.task.matching import Matching
from manyheads.task.multilabel import Multilabel
from manyheads.task.multiple_choice import MultipleChoice
from manyheads.task.ranking import Ranking
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.task.teaching import Comparable, Teachable, Teaching, disagreement
from manyheads.types import IGNORE, Batch

NAN = float("nan")


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ragged(scores: Tensor, *counts: int) -> Tensor:
    """Scores of so many choices a row, -inf for the others."""
    for row, count in zip(scores, counts, strict=True):
        row[count:] = -math.inf
    return scores


def gaps(soft: Tensor, *missing: Any) -> Tensor:
    for at in missing:
        soft[at] = NAN
    return soft


# type, scores, target with gaps, a teacher's scores with gaps in other places, what one item is apart
ROWS: dict[str, tuple[Teachable, Tensor, Tensor, Tensor]] = {
    "classification": (
        Classification(["x", "y", "z"]),
        random(4, 3, seed=1),
        torch.tensor([0, IGNORE, 2, IGNORE]),
        gaps(random(4, 3, seed=2), 2, 3),
    ),
    "binary": (
        Binary(["x", "y"]),
        random(4, 1, seed=1),
        torch.tensor([1.0, NAN, 0.3, NAN]),
        gaps(random(4, 1, seed=2), 2, 3),
    ),
    "multiple_choice": (
        MultipleChoice(),
        ragged(random(4, 3, 1, seed=1), 2, 3, 2, 3),
        torch.tensor([0, IGNORE, 1, IGNORE]),
        gaps(ragged(random(4, 5, seed=2), 2, 3, 2, 3), 2, 3),  # wider than the scores, as of a longer row in another batch
    ),
    "ranking": (
        Ranking(),
        ragged(random(4, 3, 1, seed=1), 2, 3, 2, 3),
        torch.tensor([[0, 1.0, NAN], [NAN, NAN, NAN], [2, 0, NAN], [NAN, NAN, NAN]]),
        gaps(ragged(random(4, 5, seed=2), 2, 3, 2, 3), 2, 3),
    ),
    "matching": (
        Matching(),
        random(4, 2, 6, seed=1),  # two vectors a row; a teacher tells their cosine
        torch.tensor([1.0, NAN, 0.5, NAN]),
        gaps(random(4, seed=2).tanh(), 2, 3),
    ),
    "multilabel": (
        Multilabel(["x", "y"]),
        random(4, 2, seed=1),
        torch.tensor([[1.0, 0], [NAN, NAN], [0, NAN], [NAN, NAN]]),
        gaps(random(4, 2, seed=2), 2, 3),
    ),
    "regression": (Regression(), random(4, 1, seed=1), torch.tensor([1.0, NAN, 2, NAN]), gaps(random(4, seed=2), 2, 3)),
    "tagging": (
        Tagging(["O", "B-x"]),
        random(4, 5, 2, seed=1),  # wider than the target, as beside a longer batch
        torch.tensor([[0, 1, IGNORE], [IGNORE, IGNORE, 0], [1, 1, 1], [IGNORE] * 3]),
        gaps(random(4, 3, 2, seed=2), (0, 1), (1, 1), (1, 2), 2),
    ),
}
NAMES = pytest.mark.parametrize("name", list(ROWS))
WEIGHED = pytest.mark.parametrize("weights", [None, torch.tensor([2.0, 0.5, 0.0, 3.0])], ids=["plain", "weights"])


def apart(kind: Comparable, loss: str, first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Of one item, written out."""
    if isinstance(kind, Regression):
        return (first - second).square().sum()
    if isinstance(kind, Matching):
        one, two = (torch.cosine_similarity(*x, dim=0) if x.dim() > 1 else x for x in (first, second))
        return (one - two).square()
    if isinstance(kind, MultipleChoice | Ranking):
        first, second = (scores[scores.isfinite()] for scores in (first, second))
    logs = of_flags if isinstance(kind, Multilabel | Binary) else of_labels
    return temperature**2 * DIVERGENCES[loss](logs(first, temperature), logs(second, temperature)).mean()


def items_of(target: Tensor, soft: Tensor) -> list[tuple[int, ...]]:
    """Places of rows, or of the words of rows."""
    shape = target.shape if soft.dim() == 3 else target.shape[:1]
    return [tuple(place) for place in torch.ones(shape).nonzero().tolist()]


@pytest.mark.parametrize("loss", list(DIVERGENCES))
@WEIGHED
@NAMES
def test_the_loss_with_a_teacher_item_by_item(name: str, weights: Tensor | None, loss: str) -> None:
    kind, scores, target, soft = ROWS[name]
    teaching = Teaching(0.3, 2.0, loss)
    slow = []
    for place in items_of(target, soft):
        if not soft[place].isnan().any():
            found = apart(kind, loss, soft[place], scores[place], 2.0)
            slow.append(found if weights is None else found * weights[place[0]])
    wanted = 0.7 * torch.tensor(5.0) + 0.3 * torch.stack(slow).sum()
    assert len(slow) >= 2
    assert_close(teaching.mixed(torch.tensor(5.0), kind, scores, soft, weights), wanted)


@WEIGHED
@NAMES
def test_disagreement_item_by_item(name: str, weights: Tensor | None) -> None:
    """Over items that have a label, or an answer of a teacher, and no others."""
    kind, first, target, soft = ROWS[name]
    second = random(*first.shape, seed=3).masked_fill(first.isneginf(), -math.inf)
    for taught in (None, soft):
        slow = []
        for place in items_of(target, soft):
            labelled = not target[place].isnan().all() if target.is_floating_point() else bool(target[place] != IGNORE)
            if labelled or (taught is not None and not taught[place].isnan().any()):
                share = 1.0 if isinstance(kind, Regression | Matching) else 0.5
                found = share * apart(kind, "symmetric_kl", first[place], second[place], 1.0)
                slow.append(found if weights is None else found * weights[place[0]])
        assert_close(disagreement(kind, first, second, target, taught, weights), torch.stack(slow).sum())


@NAMES
def test_without_an_answer_nothing_is_learned_from_the_teacher(name: str) -> None:
    kind, scores, _, soft = ROWS[name]
    scores = scores.clone().requires_grad_(True)
    found = Teaching(0.25).mixed(torch.tensor(4.0), kind, scores, torch.full_like(soft, NAN), None)
    found.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert float(found.detach()) == 3
    assert scores.grad is not None
    assert not scores.grad.any()


@NAMES
def test_a_row_of_weight_0_has_no_part_even_where_its_scores_are_not_finite(name: str) -> None:
    kind, scores, target, soft = ROWS[name]
    broken = scores.clone()
    broken[0] = math.inf
    weights = torch.tensor([0.0, 1, 1, 1])
    for found in (broken, scores):
        one = Teaching().mixed(torch.zeros(()), kind, found, soft, weights)
        two = disagreement(kind, found, scores, target, soft, weights)
        assert_close(one, Teaching().mixed(torch.zeros(()), kind, scores[1:], soft[1:], None))
        assert_close(two, torch.zeros(()))


@NAMES
def test_a_student_that_answers_as_its_teacher_pays_nothing(name: str) -> None:
    kind, _, _, soft = ROWS[name]
    assert float(Teaching(1.0).mixed(torch.tensor(9.0), kind, soft.nan_to_num(), soft, None)) == pytest.approx(0, abs=1e-6)


@NAMES
def test_several_answers_blend_to_the_mean_of_what_they_say(name: str) -> None:
    kind, scores, _, _ = ROWS[name]
    other = random(*scores.shape, seed=3).masked_fill(scores.isneginf(), -math.inf)
    found = kind.blend(torch.stack([scores, other]))
    say = {
        "regression": lambda x: x,
        "multilabel": torch.sigmoid,
        "binary": lambda x: x.softmax(-1)[:, 1:] if x.shape[-1] == 2 else x.sigmoid(),
        "multiple_choice": lambda x: x.flatten(1).softmax(-1),
        "ranking": lambda x: x.flatten(1).softmax(-1),
        "matching": lambda x: torch.cosine_similarity(*x.unbind(1), dim=-1) if x.dim() > 1 else x,
    }.get(name, lambda x: x.softmax(-1))
    assert_close(say(found), (say(scores) + say(other)) / 2)
    assert_close(say(kind.blend(scores[None])), say(scores))
    if name != "tagging":  # what was blended can be blended again
        again = kind.blend(torch.stack([kind.blend(scores[None]), kind.blend(other[None])]))
        assert_close(say(again), say(found))


@pytest.mark.parametrize("loss", list(DIVERGENCES))
@pytest.mark.parametrize("name", ["binary", "multiple_choice", "ranking", "matching"])
def test_gradients_are_finite_and_none_goes_to_what_a_row_does_not_have(name: str, loss: str) -> None:
    kind, scores, target, soft = ROWS[name]
    scores = scores.clone().requires_grad_(True)
    there = disagreement(kind, scores, scores.detach() + random(*scores.shape, seed=4), target, soft, None)
    (Teaching(0.3, 2.0, loss).mixed(torch.zeros(()), kind, scores, soft, None) + there).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[:2].any()
    assert not scores.grad[scores.isneginf()].any()


def test_a_teacher_whose_labels_stand_the_other_way_round() -> None:
    """Of a binary task the blend has both labels, and can be turned."""
    kind, scores, _, _ = ROWS["binary"]
    turned = Binary(["y", "x"]).blend(scores[None])[:, [1, 0]]
    assert_close(kind.gap(DIVERGENCES["kl"], turned, -scores, 2.0), torch.zeros(4))


def test_numbers_of_a_teacher_are_clipped_as_it_would_answer() -> None:
    assert Regression(0, 5).blend(torch.tensor([[[-1.0], [3], [9]]])).tolist() == [[0], [3], [5]]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"weight": 0.0}, "the weight of a teacher is above 0 and at most 1"),
        ({"weight": 1.5}, "the weight of a teacher is above 0 and at most 1"),
        ({"temperature": 0.0}, "a temperature is a finite number above 0"),
        ({"temperature": math.inf}, "a temperature is a finite number above 0"),
        ({"loss": "k"}, "no divergence is called this"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        Teaching(**values)


@pytest.mark.parametrize("consistency", [-1.0, math.nan, math.inf])
def test_consistency_is_a_number_from_0_on(consistency: float) -> None:
    with pytest.raises(RecipeError, match=r"tasks\.a\.consistency: consistency is a finite number from 0 on"):
        Task("a", ["head"], Regression(), consistency=consistency)


class Bare:
    """A task type that knows no more than it must."""

    wants, metric, scheme, labels, outputs = "vector", "mse", "none", (), 1

    def loss(self, scores: Any, target: Tensor) -> Tensor:
        return Regression().loss(scores, target)

    judge = predict = lambda self, *_: []


@pytest.mark.parametrize(("key", "values"), [("teacher", {"teaching": Teaching()}), ("consistency", {"consistency": 1.0})])
def test_a_type_that_cannot_compare_says_so(key: str, values: dict[str, Any]) -> None:
    Task("a", ["head"], Bare())
    with pytest.raises(RecipeError, match=rf"tasks\.a\.{key}: the task type Bare cannot compare two answers"):
        Task("a", ["head"], Bare(), **values)


def test_paths_of_tags_have_no_answer_to_a_word() -> None:
    lattice = Lattice(torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool), *torch.zeros(3, 1, 2, 2).unbind())
    with pytest.raises(RecipeError, match="an answer of Lattice is no scores an item"):
        Teaching().mixed(torch.zeros(()), Tagging(["O", "B-x"]), lattice, torch.zeros(1, 2, 2), None)


def test_a_batch_without_answers_learns_from_its_labels_alone() -> None:
    torch.manual_seed(0)
    head = nn.Linear(2, 2)
    model = Model({"head": head}, [Task("a", ["head"], Classification(["x", "y"]), teaching=Teaching(0.5))])
    batch = Batch("d", {"x": torch.ones(2, 2)}, {"a": torch.tensor([0, 1])}, range(2))
    plain = Model({"head": head}, [Task("a", ["head"], Classification(["x", "y"]))])
    assert_close(model.losses([batch])["a"], plain.losses([batch])["a"])
    soft = Batch("d", batch.fields, batch.targets, batch.rows, soft={"a": torch.tensor([[9.0, 0], [0, 9]])})
    taught, untaught = model.losses([soft])["a"].item(), plain.losses([soft])["a"].item()
    assert taught != pytest.approx(untaught)
