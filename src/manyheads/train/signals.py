"""SIGTERM and Ctrl-C as a wish that the loop sees at the end of a step, so that a run saves before it leaves.

with graceful() as stop:
    with stop.at_once():
        read data                        # KeyboardInterrupt, since there is nothing to save yet
    for progress in train(...):
        if stop.requested: save and leave
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Stop:
    """`requested` is the name of the signal that came, such as SIGTERM, or None."""

    requested: str | None = None
    immediate: bool = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While the block runs, a signal raises KeyboardInterrupt, for work that leaves nothing to save."""
        self.immediate = True
        try:
            yield
        finally:
            self.immediate = False


@contextmanager
def graceful() -> Iterator[Stop]:
    """While the block runs, the first SIGTERM or SIGINT only sets `requested`; a second one ends the process at once.

    A second SIGINT raises KeyboardInterrupt; a second SIGTERM kills as if nobody had caught it (143 in a shell). Both
    are safe at any moment, since a folder that is being saved shows only when it is whole. The handlers of before come
    back at the end; a signal that was ignored stays ignored. Outside the main thread, where Python allows no handlers,
    nothing is caught and `requested` stays None.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested is None:
            stop.requested = signal.Signals(number).name
            if stop.immediate:
                raise KeyboardInterrupt
            return
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in _NUMBERS}
    caught = {n: h for n, h in before.items() if h not in (signal.SIG_IGN, None)}  # None: set by code that is not Python
    try:
        for number in caught:
            signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
