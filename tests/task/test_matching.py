"""How alike two texts are: both losses beside loops over rows and pairs of rows."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from manyheads.blueprint import make_type
from manyheads.errors import RecipeError
from manyheads.task.matching import Matching

LOSSES: tuple[Literal["cosine", "contrastive"], ...] = ("cosine", "contrastive")


def drawn(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, targets of which some are missing, weights of which some are 0."""
    noise = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, 2, 5, generator=noise, dtype=torch.float64).requires_grad_(True)
    target = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, math.nan])[torch.randint(6, (rows,), generator=noise)]
    return vectors, target, torch.tensor([0.0, 0.5, 1.0, 2.0])[torch.randint(4, (rows,), generator=noise)]


def alike(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum() / (first.square().sum().sqrt() * second.square().sum().sqrt())


def slow(loss: str, vectors: Tensor, target: Tensor, weights: list[float], scale: float, positive: float) -> Tensor:
    rows = [i for i in range(len(target)) if not target[i].isnan()]
    total = vectors.sum() * 0
    for i in rows:
        if loss == "cosine":
            total = total + weights[i] * (alike(*vectors[i]) - target[i]).square()
        elif target[i] >= positive:
            others = sum((scale * alike(vectors[i, 0], vectors[j, 1])).exp() for j in rows)
            total = total - weights[i] * (scale * alike(*vectors[i]) - torch.as_tensor(others).log())
    return total


@given(st.integers(1, 7), st.integers(0, 999), st.sampled_from(LOSSES))
def test_the_loss_is_that_of_a_loop(rows: int, seed: int, loss: Literal["cosine", "contrastive"]) -> None:
    vectors, target, weights = drawn(rows, seed)
    kind = Matching(loss, scale=7.0, positive=0.75)
    for given_, told in ((None, [1.0] * rows), (weights, weights.tolist())):
        found, wanted = kind.loss(vectors, target, given_), slow(loss, vectors, target, told, 7.0, 0.75)
        assert_close(found, wanted, check_dtype=False, rtol=1e-6, atol=1e-6)
        ours, theirs = (torch.autograd.grad(value, vectors)[0] for value in (found, wanted))
        assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_without_a_label_does_not_matter(loss: Literal["cosine", "contrastive"]) -> None:
    """Neither its loss nor its second text, among which others would have to find their own."""
    vectors, target, _ = drawn(6, 1)
    target = torch.tensor([1.0, math.nan, 0.0, 1.0, math.nan, 1.0])
    kept = ~target.isnan()
    assert_close(Matching(loss).loss(vectors, target), Matching(loss).loss(vectors[kept], target[kept]))
    nothing = Matching(loss).loss(vectors, torch.full((6,), math.nan))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, vectors)[0].any()


def test_a_row_that_does_not_belong_together_is_a_wrong_answer_for_others() -> None:
    vectors, kind = drawn(3, 2)[0], Matching("contrastive")
    together = kind.loss(vectors, torch.ones(3))
    two = kind.loss(vectors, torch.tensor([1.0, 1.0, 0.0]))
    without = kind.loss(vectors[:2], torch.ones(2))
    assert without < two < together


def test_a_batch_of_one_row_has_nothing_to_find() -> None:
    assert Matching("contrastive").loss(drawn(1, 3)[0], torch.ones(1)) == 0


@pytest.mark.parametrize("label", [0.3, 0.7, 4.0, 4.2])
def test_a_label_is_never_below_itself(label: float) -> None:
    """Targets come in single precision."""
    vectors = drawn(2, 4)[0]
    assert Matching("contrastive", positive=label / 5).loss(vectors, torch.tensor([label / 5, label / 5])) > 0


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e18])
def test_the_length_of_vectors_does_not_matter(length: float) -> None:
    vectors = drawn(4, 5)[0].detach()
    found = Matching().predict("m", vectors.float() * length)
    assert [p.value for p in found] == pytest.approx([alike(*row).item() for row in vectors], abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_in_single_precision_whatever_surrounds_them(loss: Literal["cosine", "contrastive"]) -> None:
    vectors, target = drawn(7, 6)[0].detach().float(), torch.ones(7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Matching(loss).loss(vectors, target)
    assert_close(found, Matching(loss).loss(vectors, target))


def test_labelled_rows_are_judged_by_their_cosine() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]], [[1.0, 0.0], [-1.0, 0.0]]])
    judged = Matching().judge(vectors, torch.tensor([0.25, math.nan, 1.0]))
    assert judged.gold == [0.25, 1.0]
    assert judged.predicted == pytest.approx([0.0, -1.0])
    assert [p.value for p in Matching().predict("m", vectors)] == pytest.approx([0.0, 1.0, -1.0])


def test_an_option_that_it_does_not_have_is_told() -> None:
    with pytest.raises(RecipeError, match=r"(?s)scal.*did you mean 'scale'"):
        make_type("m", "matching", {"scal": 3})
