"""progress.jsonl: a line every ten seconds and after the last step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from manyheads.train.pace import Pace
from manyheads.train.state import Progress


def progress(step: int, rows: int = 10, norm: float = 1.0, weights: dict[str, float] | None = None) -> Progress:
    """A step of three."""
    losses, counted = dict.fromkeys(weights or {}, 0.5), {"d": rows}
    return Progress(
        step, 3, 0, losses, {}, counted, {"d": 1}, {"d": 7 * rows}, 0.1, norm, False, step == 3, False, weights=weights or {}
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; its one entry may be set."""
    now = [100.0]
    monkeypatch.setattr("manyheads.train.pace.time.monotonic", lambda: now[0])
    return now


def lines(pace: Pace) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in pace.path.read_text().splitlines()]


def test_rows_and_tokens_add_up_until_the_next_line(tmp_path: Path, clock: list[float]) -> None:
    pace = Pace(tmp_path / "progress.jsonl")
    pace.tick(progress(1, 30), {})
    assert not pace.path.exists(), "ten seconds have not passed"
    clock[0] = 110.0
    pace.tick(progress(2, 20), {})
    clock[0] = 112.0
    pace.tick(progress(3, 8), {"shares": {"d": 1.0}})
    told = [(line["step"], line["rows_per_second"], line["tokens_per_second"]) for line in lines(pace)]
    assert told == [(2, 5.0, 35.0), (3, 4.0, 28.0)]
    assert lines(pace)[1]["shares"] == {"d": 1.0}


def test_the_last_weight_of_each_task_stays(tmp_path: Path, clock: list[float]) -> None:
    pace = Pace(tmp_path / "progress.jsonl")
    pace.tick(progress(1, weights={"a": 1.0, "b": 2.0}), {})
    pace.tick(progress(3, weights={"b": 0.5}), {})
    [line] = lines(pace)
    assert line["weights"] == {"a": 1.0, "b": 0.5}
    assert line["losses"] == {"b": 0.5}


def test_what_is_no_number_is_null(tmp_path: Path, clock: list[float]) -> None:
    pace = Pace(tmp_path / "progress.jsonl")
    pace.tick(progress(3, norm=math.inf), {})
    assert lines(pace)[0]["norm"] is None


def test_a_disk_that_takes_no_lines_is_no_reason_to_stop(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "progress.jsonl")
    pace.path.symlink_to("/dev/full")
    pace.tick(progress(3), {})
    assert (pace.rows, pace.tokens) == (0, 0)
