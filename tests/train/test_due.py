"""When a run evaluates: after so many steps, at the ends of epochs, or at exact shares of them, resumed or not."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.train.due import Due, evaluations_in
from manyheads.train.loop import rounds_in
from manyheads.train.state import Progress

EPOCHS = 4


def spec_of(**values: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"epochs": EPOCHS, "batch": {"rows": 1}, **values})


def stream_of(rows: int, spec: TrainingSpec, others: int = 0, width: int = 1) -> Stream:
    lengths = {"a": np.ones(rows, np.int64), "b": np.ones(others, np.int64)} if others else {"a": np.ones(rows, np.int64)}
    return Stream(lengths, MixtureSpec(tasks_per_step=width), spec.batch, 3)


def walk(spec: TrainingSpec, stream: Stream, cuts: tuple[int, ...] = ()) -> list[tuple[int, Position]]:
    """Steps after which an evaluation is due, with where they ended; at `cuts` the process is another one."""
    total, position, found = rounds_in(stream, spec), Position.start(stream.names), []
    rounds, due = stream.rounds(position), Due(spec, stream, position)
    steps = -(-total // spec.accumulate)
    for step in range(1, steps + 1):
        epoch = position.epoch
        *_, (_, position) = islice(rounds, min(spec.accumulate, total - (step - 1) * spec.accumulate))
        ended = position.epoch > epoch or step == steps
        if due.evaluation(Progress(step, steps, epoch, {}, {}, {}, {}, {}, 0.1, 1.0, ended, step == steps, False), position):
            found.append((step, position))
        if step in cuts:
            rounds, due = stream.rounds(position), Due(spec, stream, position)
    return found


def test_the_end_of_each_epoch_is_the_default() -> None:
    spec = spec_of()
    assert [step for step, _ in walk(spec, stream_of(5, spec))] == [5, 10, 15, 20]


def test_every_so_many_steps_and_after_the_last() -> None:
    spec = spec_of(evaluate_every=6)
    assert [step for step, _ in walk(spec, stream_of(5, spec))] == [6, 12, 18, 20]


def test_half_an_epoch_is_twice_an_epoch() -> None:
    spec = spec_of(evaluate_every=0.5)
    assert [step for step, _ in walk(spec, stream_of(6, spec))] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert [step for step, _ in walk(spec, stream_of(5, spec))] == [3, 5, 8, 10, 13, 15, 18, 20]


def test_a_tenth_is_exact() -> None:
    """Ten tenths are an epoch, though sums of 0.1 are not 1."""
    spec = spec_of(evaluate_every=0.1)
    assert [step for step, _ in walk(spec, stream_of(30, spec))] == list(range(3, 121, 3))


def test_a_share_that_divides_no_epoch_goes_on_over_its_end() -> None:
    spec = spec_of(evaluate_every=0.4)
    assert [step for step, _ in walk(spec, stream_of(10, spec))] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]


def test_a_share_smaller_than_a_step_is_every_step() -> None:
    spec = spec_of(evaluate_every=0.01, accumulate=2)
    assert [step for step, _ in walk(spec, stream_of(3, spec))] == [1, 2, 3, 4, 5, 6]


@given(
    parts=st.integers(2, 7),
    rows=st.integers(8, 25),
    others=st.integers(0, 9),
    width=st.integers(1, 2),
    accumulate=st.integers(1, 3),
    cut=st.integers(1, 20),
)
def test_parts_of_an_epoch_are_each_done_once_whatever_ran_before(
    parts: int, rows: int, others: int, width: int, accumulate: int, cut: int
) -> None:
    spec = spec_of(evaluate_every=1 / parts, accumulate=accumulate)
    stream = stream_of(rows, spec, others, min(width, 1 + bool(others)))
    found = walk(spec, stream)
    assert found == walk(spec, stream, (cut, cut + 3))
    behind = [(p.epoch + stream.passed(p)) * parts for _, p in found]
    assert behind == sorted(behind)
    if rounds_in(stream, spec) >= 2 * parts * accumulate * EPOCHS:  # steps are small enough for each part to have its own
        assert [int(passed + Fraction(1, 10**9)) for passed in behind] == list(range(1, parts * EPOCHS + 1))


@pytest.mark.parametrize(("every_steps", "wanted"), [(None, []), (3, [3, 6])])
def test_checkpoints_by_steps(every_steps: int | None, wanted: list[int]) -> None:
    spec = spec_of(checkpoint={"every_steps": every_steps, "every_minutes": None})
    stream = stream_of(5, spec)
    due = Due(spec, stream, Position.start(stream.names))
    assert [step for step in range(1, 8) if due.checkpoint(step)] == wanted


def test_checkpoints_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("manyheads.train.due.time.monotonic", lambda: now)
    spec = spec_of(checkpoint={"every_minutes": 0.5})
    stream = stream_of(5, spec)
    due = Due(spec, stream, Position.start(stream.names))
    now = 130.0
    assert not due.checkpoint(1)
    now = 131.0
    assert due.checkpoint(2)
    due.saved = now
    assert not due.checkpoint(3)


@given(
    st.none() | st.integers(1, 9) | st.sampled_from([0.07, 0.1, 0.3, 0.5, 0.7, 0.9]),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(1, 2),
    st.integers(1, 4),
    st.none() | st.integers(1, 30),
    st.booleans(),
)
def test_evaluations_are_counted_without_a_run(
    every: float | None, rows: int, others: int, width: int, accumulate: int, steps: int | None, first: bool
) -> None:
    spec = spec_of(evaluate_every=every, accumulate=accumulate, steps=steps, evaluate_first=first)
    stream = stream_of(rows, spec, others, width if others else 1)
    number = first + len(walk(spec, stream))
    assert evaluations_in(stream, spec, 999) == number
    assert evaluations_in(stream, spec, 3) == min(number, 3)
