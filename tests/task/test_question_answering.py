"""Answers found in texts: loss and answers against slow twins that go through every window and every span."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.metrics import Accepted
from manyheads.task.base import Reading, Task
from manyheads.task.question_answering import QuestionAnswering
from manyheads.task.teaching import Teaching, disagreement
from manyheads.types import IGNORE, Passage, by_row

TEXT = "aa bb cc dd ee ff gg hh"
WINDOWS = (
    ((0, 0), (0, 2), (3, 5), (6, 8), (9, 11)),
    ((0, 0), (6, 8), (9, 11), (12, 14), (15, 17)),
    ((0, 0), (15, 17), (18, 20), (21, 23), (-1, -1)),
)


def passage(parts: int, accepted: tuple[str, ...] | None = ()) -> Passage:
    return Passage(TEXT, tuple(tuple(w for w in window if w != (-1, -1)) for window in WINDOWS[:parts]), accepted)


def noisy(parts: list[int], seed: int) -> Tensor:
    """(B, P, 5, 2) scores, -inf for what is not there."""
    scores = torch.randn(sum(parts), 5, 2, generator=torch.Generator().manual_seed(seed))
    ends = torch.tensor([i for count in parts for i in range(count)]) == 2
    scores[ends, 4] = -math.inf
    return by_row(scores, parts)


PARTS = st.lists(st.integers(1, 3), min_size=1, max_size=5)


@given(PARTS, st.integers(0, 999), st.integers(1, 6), st.booleans(), st.sampled_from([-1.0, 0.0, 2.0]))
def test_the_best_span_of_all_windows(parts: list[int], seed: int, longest: int, none: bool, threshold: float) -> None:
    scores = noisy(parts, seed)
    kind = QuestionAnswering(none, threshold, longest)
    found = kind.predict("q", scores, [Reading(passage=passage(count)) for count in parts])
    for row, count, prediction in zip(scores, parts, found, strict=True):
        spans = {}
        for window, first, length in product(range(count), range(1, 5), range(longest)):
            words = passage(count).windows[window]
            if first + length < len(words):
                span = (words[first][0], words[first + length][1])
                score = float(row[window, first, 0] + row[window, first + length, 1])
                spans[span] = max(score, spans.get(span, -math.inf))
        best = max(spans, key=lambda span: spans[span])
        least = min(float(row[window, 0].sum()) for window in range(count))
        extract = prediction.found
        assert extract is not None
        if none and least - spans[best] > threshold:
            assert (prediction.value, extract.start, extract.stop) == ("", 0, 0)
        else:
            assert (extract.start, extract.stop) == best
            assert prediction.value == TEXT[slice(*best)]
        assert 0 < extract.probability <= 1


@given(PARTS, st.integers(0, 999), st.integers(0, 3), st.integers(0, 3))
def test_two_answers_are_apart_as_their_windows_and_ends_are(parts: list[int], seed: int, more: int, others: int) -> None:
    """Whatever either is padded with; a row without a label has no part in it."""
    first, second = noisy(parts, seed).requires_grad_(), noisy(parts, seed + 1).requires_grad_()
    target = torch.full((len(parts), max(parts), 2), IGNORE)
    weights = torch.rand(len(parts), generator=torch.Generator().manual_seed(seed))
    slow = torch.zeros(())
    for row, count in enumerate(parts[:-1]):  # the last has no label
        target[row, :count] = 0
        for window, end in product(range(count), (0, 1)):
            words = len(passage(count).windows[window])
            p, q = (F.softmax(scores[row, window, :words, end], 0) for scores in (first, second))
            both = F.kl_div(p.log(), q, reduction="sum") + F.kl_div(q.log(), p, reduction="sum")
            slow = slow + weights[row] * both / 2 / (2 * count)
    wider = [F.pad(s, (0, 0, 0, by), value=-math.inf) for s, by in ((first, more), (second, others))]
    found = disagreement(QuestionAnswering(), *wider, target, None, weights)
    assert_close(found, slow)
    slopes = torch.autograd.grad(found, [first, second], retain_graph=True)
    if len(parts) > 1:
        assert_close(slopes, torch.autograd.grad(slow, [first, second]))
    assert all(slope.isfinite().all() and not slope[-1].any() for slope in slopes)


def test_an_answer_is_as_near_to_itself_as_can_be() -> None:
    scores, target = noisy([1, 3], 5), torch.zeros(2, 3, 2, dtype=torch.long)
    assert float(disagreement(QuestionAnswering(), scores, scores.clone(), target, None, None)) == 0
    with pytest.raises(RecipeError, match=r"tasks\.a\.teacher: .*\n.*Teachable"):
        Task("a", ["head"], QuestionAnswering(), teaching=Teaching())


@given(PARTS, st.integers(0, 999))
def test_the_loss_is_the_mean_over_windows_and_ends(parts: list[int], seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    scores = noisy(parts, seed).requires_grad_()
    target = torch.full((len(parts), max(parts), 2), IGNORE)
    weights = torch.rand(len(parts), generator=noise)
    slow = torch.zeros(())
    for row, count in enumerate(parts[:-1]):  # the last has no label
        for window in range(count):
            target[row, window] = torch.randint(0, 4, (2,), generator=noise)
            for end in (0, 1):
                one = F.cross_entropy(scores[row, window, :, end][None], target[row, window, end][None])
                slow = slow + weights[row] * one / (2 * count)
    loss = QuestionAnswering().loss(scores, target, weights)
    assert_close(loss, slow)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert torch.isfinite(gradient).all()


def test_judged_by_the_texts_that_are_accepted() -> None:
    scores = torch.full((3, 1, 5, 2), -9.0)
    scores[0, 0, 2, 0] = scores[0, 0, 3, 1] = scores[1, 0, 0] = 9.0
    gold = [passage(1, ("bb cc", "bb")), passage(1, ()), None]
    judged = QuestionAnswering(no_answer=True).judge(scores, gold)
    assert list(judged.gold) == [Accepted(("bb cc", "bb")), Accepted(())]
    assert list(judged.predicted) == ["bb cc", ""]


def test_a_text_without_words_has_no_answer() -> None:
    scores = torch.zeros(1, 1, 1, 2)
    (found,) = QuestionAnswering().predict("q", scores, [Reading(passage=Passage(" ", (((0, 0),),)))])
    assert found.value == ""


def test_spaces_that_pieces_carry_are_no_part_of_the_answer() -> None:
    scores = torch.zeros(1, 1, 2, 2)
    (found,) = QuestionAnswering().predict("q", scores, [Reading(passage=Passage("a  b ", (((0, 0), (1, 5)),)))])
    assert (found.value, found.found and found.found.start, found.found and found.found.stop) == ("b", 3, 4)


def test_an_answer_needs_its_text() -> None:
    with pytest.raises(ValueError, match="the text that it stands in"):
        QuestionAnswering().predict("q", torch.zeros(1, 1, 2, 2))
