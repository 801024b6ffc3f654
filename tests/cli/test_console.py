"""What commands print."""

from __future__ import annotations

import json
import math
import time

import pytest

from manyheads.cli import console


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (9.6, "0:10"), (61, "1:01"), (3599, "59:59"), (3723, "1:02:03")])
def test_clock(seconds: float, shown: str) -> None:
    assert console.clock(seconds) == shown


def test_scores() -> None:
    assert [console.score(v) for v in (0.5, 1.0, math.nan)] == ["0.5000", "1.0000", "–"]


def test_json_is_strict_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": "é\n", "b": None})
    assert capsys.readouterr().out == '{"a": "é\\n", "b": null}\n'
    with pytest.raises(ValueError, match="JSON"):
        console.print_json({"a": math.nan})


def test_a_half_character_is_an_escape(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": "\ud800"})
    assert json.loads(capsys.readouterr().out) == {"a": "\ud800"}


def test_a_file_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ticker = console.Ticker()
    for step in range(1, 31):
        now += 1.0
        ticker.tick(step, 30, {"mo\x1bod": 0.25}, 4, 5e-5)
    ticker.clear()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["10/30", "20/30", "30/30"]
    assert lines[0] == "step 10/30  mo\\x1bod 0.250  lr 5.0e-05  4 rows/s  0:20 left"


def test_a_terminal_gets_one_line_that_changes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticker = console.Ticker(every=0)
    ticker.live, ticker.every = True, 0
    for step in (1, 2):
        ticker.tick(step, 2, {"mood": 0.25}, 4, 5e-5)
    ticker.clear()
    out = capsys.readouterr().err
    assert out.count("\r") == 3
    assert "\n" not in out
    assert {len(part) for part in out.split("\r")[:-1]} == {console.err.width - 1}
