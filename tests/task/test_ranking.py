"""The order of a row's candidates, of which rows have different numbers: both losses beside loops over rows and pairs."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.task.base import Reading
from manyheads.task.multiple_choice import MultipleChoice
from manyheads.task.ranking import Ranking
from manyheads.types import by_row

COUNTS = st.lists(st.integers(2, 5), min_size=1, max_size=6)


def listed(scores: Tensor, relevance: Tensor) -> Tensor:
    return -(relevance / relevance.sum() * (scores - scores.exp().sum().log())).sum()


def paired(scores: Tensor, relevance: Tensor) -> Tensor:
    both = [(i, j) for i in range(len(scores)) for j in range(len(scores)) if relevance[i] > relevance[j]]
    return torch.stack([(1 + (scores[j] - scores[i]).exp()).log() for i, j in both]).mean()


def padded(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=math.nan)


@given(COUNTS, st.integers(0, 99), st.sampled_from(["listwise", "pairwise"]))
def test_the_loss_is_that_of_each_row_by_itself(counts: list[int], seed: int, loss: Literal["listwise", "pairwise"]) -> None:
    noise = torch.Generator().manual_seed(seed)
    single = torch.randn(sum(counts), 1, generator=noise, requires_grad=True)
    wanted = [torch.randint(0, 4, (count,), generator=noise).float() for count in counts]
    for row in wanted:
        row[0], row[1] = 3, 0  # there is an order
    missing = torch.rand(len(counts), generator=noise) < 0.3
    target = padded([row * math.nan if gone else row for row, gone in zip(wanted, missing.tolist(), strict=True)])
    weights = torch.rand(len(counts), generator=noise)
    found = Ranking(loss).loss(by_row(single, counts), target, weights)
    (gradient,) = torch.autograd.grad(found, single)
    alone = listed if loss == "listwise" else paired
    rows = zip(single.squeeze(1).split(counts), wanted, weights, missing.tolist(), strict=True)
    slow = torch.stack([single.sum() * 0, *(w * alone(s, r) for s, r, w, gone in rows if not gone)]).sum()
    assert_close(found, slow)
    assert_close(gradient, torch.autograd.grad(slow, single)[0])
    assert_close(
        Ranking(loss).loss(by_row(single, counts), target),
        Ranking(loss).loss(by_row(single, counts), target, weights / weights),
    )


@given(COUNTS, st.integers(0, 99))
def test_one_relevant_candidate_makes_the_loss_of_a_choice(counts: list[int], seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    single = torch.randn(sum(counts), 1, generator=noise, requires_grad=True)
    right = torch.tensor([int(torch.randint(count, (), generator=noise)) for count in counts])
    target = padded([F.one_hot(r, count).float() for r, count in zip(right, counts, strict=True)])
    rank, choose = Ranking().loss(by_row(single, counts), target), MultipleChoice().loss(by_row(single, counts), right)
    assert_close(rank, choose, rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(loss, single)[0] for loss in (rank, choose))
    assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_rows_without_an_order_may_have_the_most_candidates() -> None:
    """A null is no numbers, so the target is as wide as the rows that have some."""
    scores = by_row(torch.tensor([[0.0], [1.0], [4.0], [5.0], [6.0]], requires_grad=True), (2, 3))
    target = torch.tensor([[0.0, 1.0], [math.nan, math.nan]])
    for loss in (Ranking("listwise"), Ranking("pairwise")):
        assert_close(loss.loss(scores, target), torch.tensor(math.log(1 + math.exp(-1))))
        assert loss.loss(scores, target[:, :0]) == 0
    judged = Ranking().judge(scores, target)
    assert [g.values for g in judged.gold] == [(0.0, 1.0)]
    assert judged.predicted == [(0.0, 1.0)]


def test_the_scale_of_relevances_does_not_matter() -> None:
    scores = by_row(torch.tensor([[0.5], [1.0], [4.0]]), (3,))
    large, small = torch.tensor([[3e38, 3e38, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert_close(Ranking().loss(scores, large), Ranking().loss(scores, small))
    assert Ranking().loss(scores, small) > 0


def test_an_answer_is_an_order_of_what_the_row_has() -> None:
    scores = by_row(torch.tensor([[-5.0], [-4.0], [1.0], [3.0], [3.0]]), (2, 3))
    two, three = Ranking().predict("r", scores, [Reading(choices=("a", "b")), Reading(choices=("c", "d", "e"))])
    assert (two.value, two.ranking, two.scores, two.index) == (("b", "a"), (1, 0), (-4.0, -5.0), 1)
    assert (three.value, three.ranking, three.scores) == (("d", "e", "c"), (1, 2, 0), (3.0, 3.0, 1.0))


def test_another_loss_is_none() -> None:
    with pytest.raises(KeyError):
        Ranking("hinge")  # type: ignore[arg-type]  # what a recipe could not say
