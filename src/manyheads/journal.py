"""records.jsonl: every number that a run reports, strict JSON, the same bytes whether or not the run was interrupted.

Facts about time (rows a second) go to another file, `manyheads.train.pace`, which no resume has to reproduce.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manyheads.errors import ArtefactError, Problem, ResourceError
from manyheads.folder import write_text
from manyheads.types import Record

_TEXT, _VALUE = (str,), (float, int, type(None))
_KINDS = {"step": (int,), "task": _TEXT, "dataset": _TEXT, "split": _TEXT, "metric": _TEXT, "value": _VALUE}

log = logging.getLogger(__name__)


class Journal:
    """An append-only file of records. `lines` is how many it holds; a checkpoint remembers it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def rewind(self, lines: int) -> None:
        """Forget what was written after a checkpoint that had `lines` lines, half a line included. Never writes, only cuts.

        Raises ArtefactError for a line that is no record, before the training that would stumble over it at its end.
        """
        kept = self._whole()[:lines]
        self._parsed(kept)
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
        """All records; null comes back as NaN. Raises ArtefactError for a line that is no record."""
        return self._parsed(self._whole())

    def restore(self, copy: Path) -> bool:
        """Become what `copy` holds; True where that was something else."""
        if self.path.is_file() and self.path.read_bytes() == copy.read_bytes():
            return False
        write_text(self.path, copy.read_text(encoding="utf-8"))
        return True

    def _parsed(self, lines: Sequence[bytes]) -> list[Record]:
        return [_record(line, f"{self.path}:{number}") for number, line in enumerate(lines, 1)]

    def _whole(self) -> list[bytes]:
        """The lines that were written to their end."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _record(line: bytes, place: str) -> Record:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or row.keys() != _KINDS.keys() or any(type(row[k]) not in t for k, t in _KINDS.items()):
        rule = f"is no record: a line must hold {', '.join(_KINDS)}, and nothing else"
        remedy = "a line of a run's own records.jsonl may be removed, and the run goes on without it"
        raise ArtefactError(Problem(rule, place, line.decode("utf-8", "replace").rstrip("\n"), remedy=remedy))
    return Record(**{**row, "value": math.nan if row["value"] is None else row["value"]})


def dumps(data: Mapping[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def number(value: float) -> float | None:
    """None for what JSON cannot hold."""
    return value if math.isfinite(value) else None
