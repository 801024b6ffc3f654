"""One of a row's choices, of which rows have different numbers."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.task.base import Reading
from manyheads.task.multiple_choice import MultipleChoice
from manyheads.types import IGNORE, by_row

KIND = MultipleChoice()
COUNTS = st.lists(st.integers(2, 5), min_size=1, max_size=6)


@given(COUNTS, st.integers(0, 99))
def test_the_loss_is_the_cross_entropy_over_each_rows_own_choices(counts: list[int], seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    single = torch.randn(sum(counts), 1, generator=noise, requires_grad=True)
    target = torch.tensor([int(torch.randint(count, (), generator=noise)) for count in counts])
    target[-1] = IGNORE
    weights = torch.rand(len(counts), generator=noise)
    loss = KIND.loss(by_row(single, counts), target, weights)
    (gradient,) = torch.autograd.grad(loss, single)
    rows = single.squeeze(1).split(counts)
    slow = sum(
        (w * F.cross_entropy(row[None], t[None]) for row, t, w in zip(rows[:-1], target, weights, strict=False)),
        torch.zeros(()),
    )
    assert_close(loss, slow)
    assert torch.isfinite(gradient).all()
    if slow.requires_grad:
        assert_close(gradient, torch.autograd.grad(slow, single)[0])


def test_an_answer_is_a_choice_that_the_row_has() -> None:
    scores = by_row(torch.tensor([[-5.0], [-4.0], [1.0], [3.0], [2.0]]), (2, 3))
    two, three = KIND.predict("copa", scores, [Reading(choices=("a", "b")), Reading(choices=("c", "c", "d"))])
    assert (two.value, two.index, three.value, three.index) == ("b", 1, "c", 1)
    assert list(two.probabilities) == ["0", "1"]
    assert_close(sum(three.probabilities.values()), 1.0)


def test_judged_by_number() -> None:
    judged = KIND.judge(by_row(torch.tensor([[0.0], [1.0], [1.0], [0.0], [5.0]]), (2, 3)), torch.tensor([1, IGNORE]))
    assert (list(judged.gold), list(judged.predicted)) == ([1], [1])
