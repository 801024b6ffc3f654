"""progress.jsonl: what a run is doing now, and how fast. It depends on the clock, so no resume has to reproduce it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from manyheads.journal import dumps, number
from manyheads.train.state import Progress

_EVERY = 10.0  # seconds between two lines


class Pace:
    """Adds a line to progress.jsonl every ten seconds.

    Of the step: its losses, learning rate, norm of the gradient before clipping. Since the last line: rows and tokens
    (pieces without padding) a second. Of each task that was drawn since this process began: what its loss was last
    multiplied by, the weighting's factor times the task's own weight.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.since, self.rows, self.tokens = time.monotonic(), 0, 0
        self.weights: dict[str, float] = {}

    def tick(self, progress: Progress, facts: Mapping[str, Any]) -> None:
        """Count a step; after the last one a line is written whatever the time. `facts` are added to a line."""
        self.rows += sum(progress.rows.values())
        self.tokens += sum(progress.tokens.values())
        self.weights |= progress.weights
        now = time.monotonic()
        if now - self.since < _EVERY and not progress.last:
            return
        seconds = max(now - self.since, 1e-9)
        line = {
            "step": progress.step,
            "losses": {task: number(loss) for task, loss in progress.losses.items()},
            "weights": {task: number(weight) for task, weight in self.weights.items()},
            "rate": progress.rate,
            "norm": number(progress.norm),
            **({} if progress.orthogonality is None else {"orthogonality": number(progress.orthogonality)}),
            **facts,
            "rows_per_second": round(self.rows / seconds, 1),
            "tokens_per_second": round(self.tokens / seconds, 1),
        }
        with suppress(OSError), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(dumps(line) + "\n")  # on a full disk a run goes on without it
        self.since, self.rows, self.tokens = now, 0, 0
