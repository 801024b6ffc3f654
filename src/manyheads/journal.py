"""records.jsonl: every number that a run reports, strict JSON, the same bytes whether or not the run was interrupted.

Facts about time (rows a second, hours) go to progress.jsonl, which no resume has to reproduce.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manyheads.types import Record


class Journal:
    """An append-only file of records. `lines` is how many it holds; a checkpoint remembers it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def rewind(self, lines: int) -> None:
        """Forget what was written after a checkpoint that had `lines` lines."""
        old = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        if len(old) != lines:
            self.path.write_bytes(b"".join(old[:lines]))
        self.lines = lines

    def add(self, records: Iterable[Record]) -> None:
        """Append; a value that is not a number is written as null."""
        texts = [dumps({**asdict(r), "value": number(r.value)}) for r in records]
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(text + "\n" for text in texts)
        self.lines += len(texts)

    def read(self) -> list[Record]:
        """All records; null comes back as NaN."""
        if not self.path.exists():
            return []
        rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [Record(**{**row, "value": math.nan if row["value"] is None else row["value"]}) for row in rows]


def dumps(data: Mapping[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def number(value: float) -> float | None:
    """None for what JSON cannot hold."""
    return value if math.isfinite(value) else None
