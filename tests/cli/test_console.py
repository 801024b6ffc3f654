"""What commands print."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    ticker = console.Ticker(["mo\x1bod"])
    for step in range(1, 31):
        now += 1.0
        ticker.tick(step, 30, {"mo\x1bod": 0.25}, 4, 5e-5)
    ticker.clear()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["10/30", "20/30", "30/30"]
    assert lines[0] == "step 10/30  mo\\x1bod 0.250  lr 5.0e-05  4 rows/s  0:20 left"


def test_every_task_stands_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the recipe, whichever a step has trained, with a dash until one has."""
    ticker = console.Ticker(["mood", "stars", "names"], every=0)
    for step, (task, loss) in enumerate([("stars", 2.0), ("mood", 0.5), ("stars", 1.0)], 1):
        ticker.tick(step, 9, {task: loss}, 4, 5e-5)
    shown = [line.partition("  lr ")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == [
        "step 1/9  mood –  stars 2.000  names –",
        "step 2/9  mood 0.500  stars 2.000  names –",
        "step 3/9  mood 0.500  stars 1.900  names –",
    ]


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40))
def test_a_shown_loss_lies_between_those_that_were_seen(losses: list[float]) -> None:
    ticker = console.Ticker(["mood"], every=math.inf)
    for step, loss in enumerate(losses):
        ticker.tick(step, len(losses), {"mood": loss}, 4, 5e-5)
    assert min(losses) - 1e-9 <= ticker.losses["mood"] <= max(losses) + 1e-9


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Sequence[str]], list[str]]:
    """What a terminal of some width shows for two steps and after them."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)

    def show(width: int, tasks: Sequence[str]) -> list[str]:
        monkeypatch.setattr(console.err, "width", width)
        ticker = console.Ticker(tasks)
        ticker.live, ticker.every = True, 0
        for step in (1, 2):
            ticker.tick(step, 2, dict.fromkeys(tasks, 0.25), 0, 5e-5)
        ticker.clear()
        out = capsys.readouterr().err
        assert "\n" not in out
        *parts, rest = out.split("\r")
        assert (len(parts), rest) == (3, "")
        return parts

    return show


Shown = Callable[[int, Sequence[str]], list[str]]
END = "  lr 5.0e-05  0 rows/s  0:00 left"


def test_a_terminal_gets_one_line_that_changes(shown: Shown) -> None:
    one, two, cleared = shown(80, ["mood", "stars"])
    assert one.rstrip() == f"step 1/2  mood 0.250  stars 0.250{END}"
    assert two.rstrip() == f"step 2/2  mood 0.250  stars 0.250{END}"
    assert cleared.strip() == ""


def test_short_names_stay_whole(shown: Shown) -> None:
    one, *_ = shown(80, ["a", "b"])
    assert one.rstrip() == f"step 1/2  a 0.250  b 0.250{END}"


def test_names_are_shortened_before_a_line_would_wrap(shown: Shown) -> None:
    one, *_ = shown(79, ["sentiment", "entities", "t"])
    assert one.rstrip() == f"step 1/2  sentim 0.250  entiti 0.250  t 0.250{END}"


def test_of_too_many_tasks_the_last_ones_give_way(shown: Shown) -> None:
    one, *_ = shown(80, [f"sort_{i}" for i in range(40)])
    assert one.rstrip() == f"step 1/2  sort 0.250  sort 0.250  …{END}"


@given(width=st.integers(2, 120), tasks=st.lists(st.text("abc_", min_size=1, max_size=20), min_size=1, max_size=9, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_line_never_wraps(shown: Shown, width: int, tasks: list[str]) -> None:
    assert {len(part) for part in shown(width, tasks)} == {width - 1}
