"""How long a run may take, with a clock of our own."""

from __future__ import annotations

import json

import pytest

from manyheads.train import allowance
from manyheads.train.allowance import Allowance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = [1000.0]
    monkeypatch.setattr(allowance, "monotonic", lambda: found[0])
    return found


def looks(taking: Allowance, clock: list[float], *seconds: float) -> list[bool]:
    """What is said after evaluations that are so far apart."""
    said = []
    for gap in seconds:
        clock[0] += gap
        said.append(taking.see())
    return said


def test_the_next_evaluation_is_expected_as_far_away_as_the_last(clock: list[float]) -> None:
    assert looks(Allowance(5), clock, 100, 100, 100) == [False, False, True]
    assert looks(Allowance(5), clock, 200) == [True]
    assert looks(Allowance(5), clock, 200, 10, 40, 25) == [True, False, False, False], "the last distance alone counts"


def test_exactly_in_time_is_in_time(clock: list[float]) -> None:
    assert looks(Allowance(2), clock, 60, 60.0) == [False, True]


def test_without_a_limit_nothing_is_too_late_and_nothing_is_written(clock: list[float]) -> None:
    taking = Allowance(None)
    assert looks(taking, clock, 1e9) == [False]
    assert taking.to_json() is None
    taking.restore(None)
    assert taking.spent() == 1e9


def test_another_process_goes_on_counting(clock: list[float]) -> None:
    first = Allowance(5)
    assert looks(first, clock, 90) == [False]
    clock[0] += 30
    saved = json.loads(json.dumps(first.to_json()))
    clock[0] = 7.0  # of another machine
    second = Allowance(5)
    second.restore(saved)
    assert not second.is_over()
    assert looks(second, clock, 80) == [True], "200 s are over, 110 of them since the evaluation before"
    assert Allowance(8).limit > second.seen + second.took > second.limit
