"""Rows that are answered twice: the loss against two passes written out, and no dropout or noise against the plain loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.errors import RecipeError
from manyheads.model import Model
from manyheads.nn.crf import Lattice
from manyheads.task.base import Task, TaskType
from manyheads.task.binary import Binary
from manyheads.task.classification import Classification
from manyheads.task.multilabel import Multilabel
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.task.teaching import Perturbation, disagreement
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State
from manyheads.types import IGNORE

NAN = float("nan")
TYPES: dict[str, tuple[TaskType, Tensor]] = {
    "classification": (Classification(["x", "y", "z"]), torch.tensor([0, 1, IGNORE, 2])),
    "binary": (Binary(["x", "y"]), torch.tensor([[1.0], [0], [NAN], [0]])),
    "multilabel": (Multilabel(["x", "y"]), torch.tensor([[1.0, 0], [0, 0], [NAN, NAN], [NAN, 1]])),
    "regression": (Regression(), torch.tensor([1.5, -2, NAN, 0])),
    "tagging": (Tagging(["O", "B-x"]), torch.tensor([[0, 1, 0], [1, IGNORE, IGNORE], [IGNORE] * 3, [0, 0, IGNORE]])),
}
NAMES = pytest.mark.parametrize("name", list(TYPES))
SILENT = Perturbation(noise=1e-30, step=1e-30)


class Trunk(nn.Module):
    """Counts the rows of each of its passes; what dropout draws is drawn row by row. Its first layer makes the vectors."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout))
        self.passes: list[int] = []

    @property
    def embeds(self) -> nn.Module:
        return self.layers[0]

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(len(x))
        found: Tensor = self.layers(x)
        return found


def model_of(
    kind: TaskType, consistency: float, dropout: float = 0.0, other: float = 0.0, noise: Perturbation | None = None
) -> Model:
    """Two tasks, of which the second is regression."""
    torch.manual_seed(5)
    modules = {"trunk": Trunk(dropout), "a": nn.Linear(8, kind.outputs), "b": nn.Linear(8, 1)}
    tasks = [Task("a", ["trunk", "a"], kind, consistency=consistency, perturbation=noise if consistency else None)]
    return Model(modules, [*tasks, Task("b", ["trunk", "b"], Regression(), consistency=other)])


def rows_of(name: str, weights: Any = None) -> list[TensorDataset]:
    draw, target = torch.Generator().manual_seed(1), TYPES[name][1]
    x = torch.randn(*((4, 3, 4) if name == "tagging" else (4, 4)), generator=draw)
    first = TensorDataset({"x": x}, {"a": target}, "one", weights=None if weights is None else {"a": weights})
    y = torch.randn(*((3, 3, 4) if name == "tagging" else (3, 4)), generator=draw)
    second = {"b": torch.randn(3, *x.shape[1:-1], generator=draw)}
    return [first, TensorDataset({"x": y}, second, "two")]


def passes(model: Model) -> list[int]:
    trunk = model.pool["trunk"]
    assert isinstance(trunk, Trunk)
    found, trunk.passes = trunk.passes, []
    return found


@NAMES
def test_the_loss_is_that_of_two_passes_written_out(name: str) -> None:
    """Dropout draws for a pass of 8 rows; its two halves are the two answers."""
    kind, target = TYPES[name]
    data = rows_of(name, weights=[1.0, 2, 1, 0.5])[0]
    model, batch, weights = model_of(kind, 0.7, dropout=0.5), data.batch(range(4)), torch.tensor([1.0, 2, 1, 0.5])
    torch.manual_seed(3)
    found = model.losses([batch])["a"]
    assert passes(model) == [8]
    torch.manual_seed(3)
    x = batch.fields["x"]
    first, second = model.pool["a"](model.pool["trunk"](torch.cat([x, x]))).split(4)
    plain = model_of(kind, 0).tasks["a"]
    losses = [plain.loss_sum(scores, target, weights) for scores in (first, second)]
    apart = disagreement(kind, first, second, target, None, weights)  # type: ignore[arg-type]  # all of them are Comparable
    assert not torch.equal(first, second)
    assert_close(found, (losses[0] + losses[1]) / 2 + 0.7 * apart)


def test_only_rows_of_tasks_with_consistency_go_twice_and_in_the_same_pass() -> None:
    one, two = rows_of("classification")
    model = model_of(TYPES["classification"][0], 1.0, dropout=0.5)
    model.losses([one.batch(range(4)), two.batch(range(3))])
    assert passes(model) == [4 + 4 + 3]
    model.losses([two.batch(range(3))])
    assert passes(model) == [3]
    model.eval().losses([one.batch(range(4))])
    assert passes(model) == [4]


def test_a_task_beside_another_on_the_same_rows_is_as_it_is_by_itself() -> None:
    x, targets = torch.randn(4, 4, generator=torch.Generator().manual_seed(1)), {"a": [0, 1, 2, 0], "b": [1.0, 2, 3, None]}
    batch = TensorDataset({"x": x}, targets, "d").batch(range(4))
    model = model_of(TYPES["classification"][0], 1.0, dropout=0.5)
    torch.manual_seed(3)
    both = model.losses([batch])
    torch.manual_seed(3)
    scores = model.pool["b"](model.pool["trunk"](torch.cat([x, x]))[:4])
    assert_close(both["b"], model.tasks["b"].loss_sum(scores, batch.targets["b"]))


@NAMES
def test_dropout_makes_two_answers_differ_and_consistency_costs_that(name: str) -> None:
    losses = []
    for consistency in (1e-9, 1.0, 4.0):
        model = model_of(TYPES[name][0], consistency, dropout=0.5)
        torch.manual_seed(3)
        losses.append(model.losses([rows_of(name)[0].batch(range(4))])["a"].item())
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(4 * (losses[1] - losses[0]), rel=1e-3)


@pytest.mark.parametrize("ascents", [0, 1, 3])
@NAMES
def test_the_loss_with_noise_is_that_of_its_passes_written_out(name: str, ascents: int) -> None:
    """The first layer is linear, so noise on its result is as good as a result of its own."""
    kind, target = TYPES[name]
    weights = torch.tensor([1.0, 2, 1, 0.5])
    batch, model = (
        rows_of(name, weights.tolist())[0].batch(range(4)),
        model_of(kind, 0.7, noise=Perturbation(0.3, 0.1, ascents)),
    )
    torch.manual_seed(3)
    found = model.losses([batch])["a"]
    assert passes(model) == [4] * (2 + ascents)
    torch.manual_seed(3)
    below, above = model.pool["trunk"].layers[0](batch.fields["x"]), nn.Sequential(nn.Tanh(), model.pool["a"])
    first, noise = above(below), torch.randn(below.shape) * 0.3
    for _ in range(ascents):
        noise.requires_grad_()
        value = disagreement(kind, first.detach(), above(below + noise), target, None, weights)  # type: ignore[arg-type]  # as above
        [slope] = torch.autograd.grad(value, noise)
        size = slope.abs().amax(tuple(range(1, slope.dim())), keepdim=True)
        noise = (noise + 0.1 * slope / size.where(size > 0, 1)).detach()
    apart = disagreement(kind, first, above(below + noise), target, None, weights)  # type: ignore[arg-type]  # as above
    wanted = model.tasks["a"].loss_sum(first, target, weights) + 0.7 * apart
    assert_close(found, wanted)
    slopes = [torch.autograd.grad(loss, list(model.pool["trunk"].parameters()), retain_graph=True) for loss in (found, wanted)]
    assert_close(*slopes)


@NAMES
def test_an_ascent_costs_more_than_noise_alone(name: str) -> None:
    losses = []
    for ascents in (0, 1, 2):
        model = model_of(TYPES[name][0], 1.0, noise=Perturbation(0.01, 0.5, ascents))
        torch.manual_seed(3)
        losses.append(model.losses([rows_of(name)[0].batch(range(4))])["a"].item())
    assert losses == sorted(losses)
    assert losses[2] > losses[1] + 1e-3


def test_noise_is_on_the_rows_of_its_own_task_alone_and_dropouts_twin_beside() -> None:
    """One task has noise, the other a second draw; a third look, in evaluation, has neither."""
    one, two = rows_of("classification")
    model = model_of(TYPES["classification"][0], 1.0, other=1.0, noise=Perturbation(ascents=2))
    model.losses([one.batch(range(4)), two.batch(range(3))])
    assert passes(model) == [4 + 3 + 3, 4, 4, 4]
    model.losses([two.batch(range(3))])
    assert passes(model) == [3 + 3]
    model.eval().losses([one.batch(range(4))])
    assert passes(model) == [4]


def test_the_trunks_states_of_both_passes_are_told() -> None:
    model = model_of(TYPES["classification"][0], 1.0, noise=Perturbation(ascents=1))
    losses, given = model.losses_behind(0, [rows_of("classification")[0].batch(range(4))])
    assert [len(states) for states in given] == [4, 4]
    assert all(slope.abs().sum() > 0 for slope in torch.autograd.grad(losses["a"], given))


def test_noise_needs_a_module_that_makes_vectors_on_each_path() -> None:
    modules = {"trunk": Trunk(), "plain": nn.Linear(4, 8), "a": nn.Linear(8, 3), "b": nn.Linear(8, 3)}
    one = Task("a", ["trunk", "a"], Classification("xyz"), consistency=1.0, perturbation=Perturbation())
    Model(modules, [one])
    rule = r"tasks\.b\.perturbation: no module of the path makes vectors of pieces.*\n.*`embeds`"
    with pytest.raises(RecipeError, match=rule):
        Model(modules, [one, replace(one, name="b", path=["plain", "b"])])


def test_tasks_on_the_same_rows_share_their_noise_and_its_climb() -> None:
    """Rounds of unequal width too: what is padded has no say."""
    kind, noise = TYPES["tagging"][0], Perturbation(0.3, 0.1, ascents=1)
    torch.manual_seed(5)
    trunk = Trunk()
    modules = {"trunk": trunk, "a": nn.Linear(8, 2), "b": nn.Linear(8, 2)}
    tasks = [Task(name, ["trunk", name], kind, consistency=c, perturbation=noise) for name, c in (("a", 0.5), ("b", 2.0))]
    model, target = Model(modules, tasks), TYPES["tagging"][1]
    long, short = torch.randn(4, 3, 4), torch.randn(2, 2, 4)
    rows = [TensorDataset({"x": long}, {"a": target, "b": target.flip(0)}, "long").batch(range(4))]
    rows.append(TensorDataset({"x": short}, {"a": target[:2, :2]}, "short").batch(range(2)))
    torch.manual_seed(3)
    found = model.losses(rows)
    torch.manual_seed(3)
    x = torch.cat([long, nn.functional.pad(short, (0, 0, 0, 1))])
    targets = {"a": torch.cat([target, nn.functional.pad(target[:2, :2], (0, 1), value=IGNORE)])}
    targets["b"] = torch.cat([target.flip(0), torch.full((2, 3), IGNORE)])
    below = trunk.layers[0](x)
    added = (torch.randn(below.shape) * 0.3).requires_grad_()

    def answers(vectors: Tensor) -> dict[str, Tensor]:
        return {name: modules[name](torch.tanh(vectors)) for name in targets}

    def apart(name: str, one: Tensor, two: Tensor) -> Tensor:
        return disagreement(kind, one, two, targets[name], None, None)  # type: ignore[arg-type]  # it is Comparable

    first, moved = answers(below), answers(below + added)
    [slope] = torch.autograd.grad(sum(apart(n, first[n].detach(), moved[n]) for n in targets), added)  # type: ignore[arg-type]
    last = answers(below + added.detach() + 0.1 * slope / slope.abs().amax((1, 2), keepdim=True))
    for name, share in (("a", 0.5), ("b", 2.0)):
        assert_close(found[name], kind.loss(first[name], targets[name]) + share * apart(name, first[name], last[name]))


@pytest.mark.parametrize("ascents", [0, 2])
def test_ways_to_the_gradient_agree_on_noise(ascents: int) -> None:
    """Of one task every aggregation takes the plain gradient, whatever way it comes."""
    noise = Perturbation(0.3, 0.1, ascents)
    models = [model_of(TYPES["classification"][0], 2.0, noise=noise) for _ in BALANCES]
    for model, balance in zip(models, BALANCES.values(), strict=True):
        walk(model, rows_of("classification")[:1], balance)
    for model in models[1:]:
        same(models[0], model, within=1e-5)
    quiet = model_of(TYPES["classification"][0], 2.0, noise=SILENT)
    walk(quiet, rows_of("classification")[:1], {})
    with pytest.raises(AssertionError):
        same(models[0], quiet, within=1e-3)


class Paths(nn.Module):
    """Answers with whole paths of tags."""

    def forward(self, x: Tensor) -> Lattice:
        ends = x.new_zeros(len(x), 2)
        return Lattice(x, torch.ones(x.shape[:2], dtype=torch.bool), x.new_zeros(len(x), 2, 2), ends, ends)


@pytest.mark.parametrize("noise", [None, Perturbation()], ids=["dropout", "noise"])
def test_paths_of_tags_are_not_compared(noise: Perturbation | None) -> None:
    task = Task("a", ["trunk", "a", "paths"], TYPES["tagging"][0], consistency=1.0, perturbation=noise)
    model = Model({"trunk": Trunk(), "a": nn.Linear(8, 2), "paths": Paths()}, [task])
    with pytest.raises(RecipeError, match="an answer of Lattice is no scores an item"):
        model.losses([rows_of("tagging")[0].batch(range(4))])


@pytest.mark.parametrize("values", [{"noise": 0.0}, {"noise": NAN}, {"step": -1.0}, {"step": float("inf")}, {"ascents": -1}])
def test_a_perturbation_has_a_size(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=rf"perturbation\.{next(iter(values))}"):
        Perturbation(**values)


def test_a_perturbation_without_consistency() -> None:
    with pytest.raises(RecipeError, match=r"tasks\.a\.perturbation: a perturbation sets two answers apart.*\n.*consistency=1"):
        Task("a", ["trunk"], Regression(), perturbation=Perturbation())


def walk(model: Model, data: list[TensorDataset], balance: dict[str, Any], **values: Any) -> list[Progress]:
    usual = {"epochs": 2, "batch": {"rows": 2}, "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0}, "device": "cpu"}
    spec = TrainingSpec.model_validate({**usual, "schedule": {"name": "constant"}, **values})
    mixture = MixtureSpec.model_validate({"tasks_per_step": len(data)})
    stream = Stream({d.name: d.lengths for d in data}, mixture, spec.batch, 9)
    state, optimizer = State(Position.start([d.name for d in data])), make_optimizer(model, spec.optimizer)
    more: dict[str, Any] = {"state": state, "engine": Engine(spec), "seed": 9, "balance": BalanceSpec.model_validate(balance)}
    return list(train(model, {d.name: d for d in data}, stream, optimizer, spec, **more))


def same(one: Model, two: Model, within: float = 1e-6) -> None:
    for name, value in one.state_dict().items():
        assert_close(two.state_dict()[name], value, atol=within, rtol=0)


BALANCES: dict[str, dict[str, Any]] = {
    "sum": {},
    "rows": {"aggregation": {"type": "upgrad"}},
    "trunk": {"aggregation": {"type": "upgrad", "level": "trunk"}},
    "gradnorm": {"weighting": {"type": "gradnorm"}},
    "looks": {"cosines_every": 1},
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("balance", list(BALANCES.values()), ids=list(BALANCES))
@pytest.mark.parametrize("noise", [None, SILENT], ids=["dropout", "noise"])
@NAMES
def test_without_dropout_or_noise_it_is_the_plain_loss(
    name: str, noise: Perturbation | None, balance: dict[str, Any], accumulate: int
) -> None:
    plain, doubled = (model_of(TYPES[name][0], alpha, other=alpha, noise=noise) for alpha in (0.0, 2.0))
    one, two = (walk(model, rows_of(name), balance, accumulate=accumulate) for model in (plain, doubled))
    assert [p.items for p in one] == [p.items for p in two]
    for first, second in zip(one, two, strict=True):
        assert first.losses == pytest.approx(second.losses, abs=1e-6)
    same(plain, doubled, within=1e-5)


@pytest.mark.parametrize("noise", [None, Perturbation(0.1, 0.1)], ids=["dropout", "noise"])
@pytest.mark.parametrize("balance", [BALANCES["sum"], BALANCES["rows"]], ids=["sum", "rows"])
def test_a_run_repeats_itself_bit_for_bit(balance: dict[str, Any], noise: Perturbation | None) -> None:
    runs = [model_of(TYPES["classification"][0], 1.0, dropout=0.5, noise=noise) for _ in range(2)]
    first, second = (walk(model, rows_of("classification"), balance) for model in runs)
    assert [p.losses for p in first] == [p.losses for p in second]
    same(*runs, within=0)


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_several_processes_add_up(world: int) -> None:
    """Rows of a process are doubled within it; without dropout the sum is that of one process."""
    data = rows_of("tagging")[0]
    model, whole = (model_of(TYPES["tagging"][0], 2.0) for _ in range(2))
    whole.losses([data.batch(range(4))])["a"].backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for rank in range(world):
        model.losses([data.batch(np.arange(4)[rank::world])])["a"].backward()  # type: ignore[no-untyped-call]  # as above
    for one, two in zip(model.parameters(), whole.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None and two.grad is not None:
            assert_close(one.grad, two.grad)
