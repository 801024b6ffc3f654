"""Failpoints: silent without the variable, exact with it, and a clear error for what cannot be read."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import failpoints
from manyheads.errors import RecipeError
from manyheads.failpoints import VARIABLE, forget, reach


@pytest.fixture(autouse=True)
def _disarmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE, raising=False)
    forget()
    yield
    monkeypatch.undo()
    forget()


def arm(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    forget()


def test_nothing_happens_without_the_variable() -> None:
    reach("save.before_manifest")
    assert not failpoints._arrivals


def test_nothing_happens_at_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "save.before_manifest=full")
    reach("save.after_file")


@pytest.mark.parametrize(("action", "number"), [("raise", errno.EIO), ("full", errno.ENOSPC)])
def test_errors_of_the_disk(monkeypatch: pytest.MonkeyPatch, action: str, number: int) -> None:
    arm(monkeypatch, f"a.point={action}")
    for _ in range(2):  # at every arrival
        with pytest.raises(OSError, match=r"failpoint a\.point") as caught:
            reach("a.point")
        assert caught.value.errno == number


def test_only_the_numbered_arrival_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "train.step:3=raise")
    reach("train.step")
    reach("train.step")
    with pytest.raises(OSError, match=r"train\.step"):
        reach("train.step")
    reach("train.step")


def test_several_entries_and_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, " a:1=full , a:2=raise,, b=full,")
    for name, number in [("a", errno.ENOSPC), ("a", errno.EIO), ("b", errno.ENOSPC)]:
        with pytest.raises(OSError, match="failpoint") as caught:
            reach(name)
        assert caught.value.errno == number


def test_sleep_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("manyheads.failpoints.time.sleep", slept.append)
    arm(monkeypatch, "a=sleep:0.25,b=sleep:3")
    reach("a")
    reach("b")
    assert slept == [0.25, 3.0]


def test_the_variable_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reach("a")
    monkeypatch.setenv(VARIABLE, "a=full")
    reach("a")
    forget()
    with pytest.raises(OSError, match="failpoint a"):
        reach("a")


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM)])
def test_signals_end_the_process(action: str, number: int) -> None:
    assert _child(f"p:2={action}", "reach('p'); print('once', flush=True); reach('p'); print('twice')") == (-number, "once\n")


def test_int_is_a_keyboard_interrupt() -> None:
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    reach('p')
except KeyboardInterrupt:
    print('caught')
"""
    assert _child("p=int", code) == (0, "caught\n")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("save", "name=action"),
        ("save=", "name=action"),
        ("=kill", "name=action"),
        ("save:0=kill", "name=action"),
        ("save:x=kill", "name=action"),
        ("save=kil", "did you mean 'kill'"),
        ("save=nan", "actions: kill, term, int, raise, full, sleep"),
        ("save=sleep", "needs seconds"),
        ("save=kill:3", "needs seconds"),
        ("a=full,b", "found 'b'"),
    ],
)
def test_what_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str, rule: str) -> None:
    arm(monkeypatch, value)
    with pytest.raises(RecipeError, match=rule) as caught:
        reach("anything")
    assert caught.value.problems[0].place == VARIABLE


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for entry in filter(None, (e.strip() for e in text.split(","))):
        with suppress(RecipeError):
            name, fault = failpoints._parsed(entry)
            assert entry.startswith(name)
            assert fault.action in entry


def _child(value: str, code: str) -> tuple[int, str]:
    environment = {**os.environ, VARIABLE: value}
    command = [sys.executable, "-c", f"from manyheads.failpoints import reach\n{code}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout
