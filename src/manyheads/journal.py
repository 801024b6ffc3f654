"""records.jsonl: every number that a run reports, strict JSON, the same bytes whether or not the run was interrupted.

Facts about time (rows a second) go to progress.jsonl, which no resume has to reproduce.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manyheads.errors import Problem, ResourceError
from manyheads.types import Record

_EVERY = 10.0  # seconds between two lines of progress.jsonl

log = logging.getLogger(__name__)


class Journal:
    """An append-only file of records. `lines` is how many it holds; a checkpoint remembers it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def rewind(self, lines: int) -> None:
        """Forget what was written after a checkpoint that had `lines` lines, half a line included. Never writes, only cuts."""
        kept = self._whole()[:lines]
        if len(kept) < lines:
            log.warning("%s has %d lines, and the checkpoint was made with %d: some were lost", self.path, len(kept), lines)
        if self.path.exists():
            os.truncate(self.path, sum(map(len, kept)))
        self.lines = len(kept)

    def add(self, records: Iterable[Record]) -> None:
        """Append; a value that is not a number is written as null. Raises ResourceError where the disk does not take it."""
        texts = [dumps({**asdict(r), "value": number(r.value)}) for r in records]
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(text + "\n" for text in texts)
                file.flush()
                os.fsync(file.fileno())  # a checkpoint that counts these lines must not outlive them
        except OSError as error:
            remedy = "the last checkpoint is intact; make room and run the same command again"
            raise ResourceError(Problem(f"cannot be written: {error.strerror}", str(self.path), remedy=remedy)) from error
        self.lines += len(texts)

    def read(self) -> list[Record]:
        """All records; null comes back as NaN."""
        rows = [json.loads(line) for line in self._whole()]
        return [Record(**{**row, "value": math.nan if row["value"] is None else row["value"]}) for row in rows]

    def _whole(self) -> list[bytes]:
        """The lines that were written to their end."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


class Clock:
    """Adds a line to progress.jsonl every ten seconds: the facts that it is given, and rows a second since the last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.since, self.rows = time.monotonic(), 0

    def tick(self, rows: int, facts: Mapping[str, Any], last: bool) -> None:
        """Count the rows of a step; `last` writes a line whatever the time."""
        self.rows += rows
        now = time.monotonic()
        if now - self.since < _EVERY and not last:
            return
        line = {**facts, "rows_per_second": round(self.rows / max(now - self.since, 1e-9), 1)}
        with suppress(OSError), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(dumps(line) + "\n")  # on a full disk a run goes on without it
        self.since, self.rows = now, 0


def dumps(data: Mapping[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def number(value: float) -> float | None:
    """None for what JSON cannot hold."""
    return value if math.isfinite(value) else None
