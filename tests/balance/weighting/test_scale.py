from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from manyheads.balance.weighting.scale import log_of, shares

scores = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-50, 50), min_size=1)


@given(scores)
def test_shares_are_a_softmax_times_the_number_of_tasks(scores: dict[str, float]) -> None:
    wanted = len(scores) * softmax(list(scores.values()))
    assert list(shares(scores).values()) == pytest.approx(wanted.tolist(), rel=1e-12)


@given(st.integers(1, 200), st.floats(-1e300, 1e300))
def test_equal_scores_give_exactly_one(count: int, score: float) -> None:
    assert set(shares({str(n): score for n in range(count)}).values()) == {1.0}


@given(scores, st.randoms(use_true_random=False))
def test_the_order_changes_no_bit(scores: dict[str, float], random: object) -> None:
    names = list(scores)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert shares({name: scores[name] for name in names}) == shares(scores)


def test_nothing_has_no_shares() -> None:
    assert shares({}) == {}


@given(st.floats(1e-4, 1e30))
def test_the_log_is_that_of_the_loss(loss: float) -> None:
    assert log_of(loss) == pytest.approx(math.log(loss), abs=1e-3)


@given(st.floats(-1e30, 0))
def test_losses_below_zero_count_as_zero(loss: float) -> None:
    assert log_of(loss) == log_of(0.0) == math.log(1e-8)
