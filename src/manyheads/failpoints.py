"""Named points at which a test makes this process fail, so that what a crash leaves behind can be looked at.

The environment variable MANYHEADS_FAILPOINTS arms them, separated by commas:

    save.before_manifest=kill             whenever the point is reached
    train.step:13=term,save.after_file=sleep:0.1    at the 13th arrival; always

Actions: `kill` SIGKILL, `term` SIGTERM, `int` SIGINT, `raise` an OSError of a broken disk, `full` one of a full disk,
`sleep:SECONDS`. Without the variable a point costs one look into a cache.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache

from manyheads.errors import Problem, RecipeError, nearest

VARIABLE = "MANYHEADS_FAILPOINTS"

_SYNTAX = re.compile(r"(?P<name>[\w.]+)(?::(?P<arrival>[1-9]\d*))?=(?P<action>[a-z]+)(?::(?P<seconds>\d+(?:\.\d+)?))?")
_SIGNALS = {"kill": "SIGKILL", "term": "SIGTERM", "int": "SIGINT"}
_ERRORS = {"raise": errno.EIO, "full": errno.ENOSPC}
_ACTIONS = (*_SIGNALS, *_ERRORS, "sleep")

_arrivals: Counter[str] = Counter()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What happens at a point; `arrival` 0 stands for every arrival."""

    arrival: int
    action: str
    seconds: float


def reach(name: str) -> None:
    """Fail here when the environment asks for it. RecipeError when what it asks for cannot be read."""
    faults = _armed().get(name)
    if faults is None:
        return
    _arrivals[name] += 1
    for fault in faults:
        if fault.arrival in (0, _arrivals[name]):
            _fail(name, fault)


def forget() -> None:
    """Read the environment again at the next point, and count arrivals from zero."""
    _armed.cache_clear()
    _arrivals.clear()


@cache
def _armed() -> dict[str, list[_Fault]]:
    faults: dict[str, list[_Fault]] = {}
    for entry in filter(None, (e.strip() for e in os.environ.get(VARIABLE, "").split(","))):
        name, fault = _parsed(entry)
        faults.setdefault(name, []).append(fault)
    return faults


def _parsed(entry: str) -> tuple[str, _Fault]:
    match = _SYNTAX.fullmatch(entry)
    if match is None:
        raise RecipeError(Problem("a failpoint reads name=action or name:arrival=action", VARIABLE, entry))
    action, seconds = match["action"], match["seconds"]
    if action not in _ACTIONS:
        remedy = f"actions: {', '.join(_ACTIONS)}"
        raise RecipeError(Problem("no failpoint acts like this", VARIABLE, action, nearest(action, _ACTIONS), remedy))
    if (action == "sleep") != (seconds is not None):
        raise RecipeError(Problem("`sleep` needs seconds, as in sleep:0.5, and nothing else takes them", VARIABLE, entry))
    return match["name"], _Fault(int(match["arrival"] or 0), action, float(seconds or 0))


def _fail(name: str, fault: _Fault) -> None:
    if fault.action == "sleep":
        time.sleep(fault.seconds)
    elif fault.action in _ERRORS:
        number = _ERRORS[fault.action]
        raise OSError(number, f"{os.strerror(number)} (failpoint {name})")
    else:
        signal.raise_signal(signal.Signals[_SIGNALS[fault.action]])
