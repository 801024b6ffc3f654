"""What commands print: tables of scores, and a run's progress. Users' text is never read as markup."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 160  # a file or a pipe has room for whole tables
_NAME = 8  # characters that stay of a name in a line of a table
_LETTERS = 4  # of a task's name that stay in a line about training
_GAP = "  "
_STEPS = 10  # steps of a task that a shown loss is, about, the mean of

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """A line on standard error."""
    err.print(Text(text))


def warn(text: str) -> None:
    """A warning on standard error."""
    err.print(Text(f"warning: {text}", style="yellow"))


def print_json(data: Any) -> None:
    """Strict JSON on standard output, one line; other letters as escapes where the output cannot hold them."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", numbers: Sequence[str] = ()) -> None:
    """A table on standard output; columns named in `numbers` are aligned right.

    Where the terminal is too narrow, the first column is folded, down to 8 characters; numbers are never touched.
    """
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.title = Text(title) if title else None
    for name in head:
        number = name in numbers
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out.width = _WIDE
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        over = max(out.measure(table).maximum - shutil.get_terminal_size().columns, 0)
        widest = max((out.measure(cell).maximum for cell in table.columns[0].cells), default=0)
        table.columns[0].max_width = max(widest - over, _NAME)
    out.print(table)


def printable(text: str) -> str:
    """Control characters as escapes, so that a text cannot move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def score(value: float, digits: int = 4) -> str:
    """So many digits after the point, or a dash for what is undefined."""
    return f"{value:.{digits}f}" if value == value else "–"


class Ticker:
    """A line about training: rewritten in place on a terminal, else one line every ten seconds.

    It shows every task of `tasks`, in order: a running mean of its losses, or a dash until a step has trained it.
    """

    def __init__(self, tasks: Iterable[str], every: float = 10.0) -> None:
        self.live = err.is_terminal
        self.every = 0.2 if self.live else every
        self.began = self.last = time.monotonic()
        self.rows = self.first = 0
        self.losses: dict[str, float] = dict.fromkeys(tasks, math.nan)

    def tick(self, step: int, steps: int, losses: Mapping[str, float], rows: int, rate: float) -> None:
        """Count a step, and show the state after it if it is time."""
        for task, loss in losses.items():
            before = self.losses[task]
            self.losses[task] = loss if math.isnan(before) else before + (loss - before) / _STEPS
        self.rows += rows
        self.first = self.first or step
        now = time.monotonic()
        if now - self.last < self.every and step < steps:
            return
        self.last = now
        took = now - self.began
        left = took / max(step - self.first + 1, 1) * (steps - step)
        begin = f"step {step}/{steps}  "
        end = f"  lr {rate:.1e}  {self.rows / max(took, 1e-9):.0f} rows/s  {clock(left)} left"
        if not self.live:
            note(begin + _GAP.join(self._told()) + end)
            return
        line = begin + self._fitted(err.width - 1 - len(begin + end)) + end
        err.print(Text(line[: err.width - 1].ljust(err.width - 1)), end="\r")

    def _told(self, letters: int | None = None) -> list[str]:
        """Each task, with so many letters of its name, and its loss."""
        return [f"{printable(task)[:letters]} {score(loss, 3)}" for task, loss in self.losses.items()]

    def _fitted(self, room: int) -> str:
        """The tasks in so much room, with shorter names if need be; where that is not enough the last ones give way."""
        longest = max(map(len, self.losses), default=0)
        texts = [_GAP.join(self._told(letters)) for letters in range(max(longest, _LETTERS), _LETTERS - 1, -1)]
        told = self._told(_LETTERS)
        texts += [_GAP.join([*told[:count], "…"]) for count in reversed(range(len(told)))]
        return next((text for text in texts if len(text) <= room), "")

    def clear(self) -> None:
        """Give the line back before something else is printed."""
        if self.live:
            err.print(" " * (err.width - 1), end="\r")


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
