"""Signals: the first is a wish, the second ends the process, and the handlers of before come back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from manyheads.train.signals import Stop, graceful

NUMBERS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(autouse=True)
def _known_handlers() -> Iterator[None]:
    """Python's own handlers, whatever the test runner was started with."""
    before = {n: signal.getsignal(n) for n in NUMBERS}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_is_requested_at_first() -> None:
    with graceful() as stop:
        assert stop == Stop(None)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_only_noted(number: signal.Signals) -> None:
    steps = 0
    with graceful() as stop:
        for step in range(5):
            if step == 2:
                signal.raise_signal(number)
            steps += 1  # the step that was running ends as if nothing had come
            if stop.requested:
                break
    assert (stop.requested, steps) == (number.name, 3)


@pytest.mark.parametrize("number", NUMBERS)
def test_at_once_a_signal_interrupts_and_its_name_is_known(number: signal.Signals) -> None:
    with graceful() as stop:
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            signal.raise_signal(number)
        assert stop == Stop(number.name)


def test_after_the_block_a_signal_is_a_wish_again() -> None:
    with graceful() as stop:
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested == "SIGTERM"


@pytest.mark.parametrize("first", NUMBERS)
def test_a_second_ctrl_c_interrupts(first: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), graceful() as stop:  # noqa: PT012
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
    assert stop.requested == first.name
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", NUMBERS)
def test_handlers_come_back(number: signal.Signals) -> None:
    def own(number: int, frame: FrameType | None) -> None: ...

    signal.signal(number, own)
    with graceful():
        assert signal.getsignal(number) is not own
    assert signal.getsignal(number) is own


def test_handlers_come_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="step"), graceful():
        raise ValueError("step")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_blocks_nest() -> None:
    with graceful() as outer:
        with graceful() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert (outer.requested, inner.requested) == (None, "SIGTERM")
        signal.raise_signal(signal.SIGTERM)
        assert outer.requested == "SIGTERM"


def test_an_object_is_usable_again_afterwards() -> None:
    for _ in range(2):
        with graceful() as stop:
            assert stop.requested is None
            signal.raise_signal(signal.SIGINT)
            assert stop.requested == "SIGINT"


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with graceful() as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.requested is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_outside_the_main_thread_nothing_is_caught() -> None:
    seen: list[object] = []

    def work() -> None:
        with graceful() as stop:
            seen.extend([stop.requested, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, signal.SIG_DFL]


def test_a_second_sigterm_kills_at_once() -> None:
    code = """
import signal
from manyheads.train.signals import graceful
signal.signal(signal.SIGTERM, signal.SIG_DFL)
with graceful() as stop:
    signal.raise_signal(signal.SIGTERM)
    print(stop.requested, flush=True)
    signal.raise_signal(signal.SIGTERM)
    print("still here")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "SIGTERM\n")
