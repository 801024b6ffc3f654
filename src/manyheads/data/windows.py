"""Rows of several sequences: how many pieces each has, and what windows are on, with the answers in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manyheads.data.columns import Lists, Where
from manyheads.types import IGNORE, Passage


class Parts:
    """How many pieces each sequence of a row has, and what its windows are on, if they are windows."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.pieces = Lists([b.column("parts") for b in batches])
        self.windows = Windows(batches) if batches and "passage" in batches[0].schema.names else None

    def of(self, where: Where) -> list[np.ndarray]:
        return self.pieces.lists(where)


class Windows:
    """The passages of rows that are read through windows."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.texts = [b.column("passage") for b in batches]
        self.starts, self.stops, self.words = (Lists([b.column(c) for b in batches]) for c in ("starts", "stops", "part_words"))

    def passages(self, where: Where) -> list[Passage]:
        found = []
        columns = (self.starts.lists(where), self.stops.lists(where), self.words.lists(where))
        for (b, i), starts, stops, counts in zip(where.places, *columns, strict=True):
            words = iter(zip(starts.tolist(), stops.tolist(), strict=True))
            found.append(Passage(self.texts[b][i].as_py(), tuple(tuple(islice(words, n)) for n in counts.tolist())))
        return found


class Answers:
    """A column of answers: characters of the first one, and the texts of all; a null is a row to skip."""

    def __init__(self, arrays: Sequence[pa.StructArray]) -> None:
        self.arrays = arrays

    def take(self, passages: Sequence[Passage], where: Where) -> np.ndarray:
        """(B, P, 2): first and last word of the answer in each window, 0 and 0 where it is not whole in it or there is none."""
        most = max(len(p.windows) for p in passages)
        found = np.full((len(passages), most, 2), IGNORE, np.int64)
        for row, (passage, answer) in enumerate(zip(passages, self._answers(where), strict=True)):
            if answer is not None:
                found[row, : len(passage.windows)] = spans_in(passage.windows, answer["start"], answer["stop"])
        return found

    def gold(self, passages: Sequence[Passage], where: Where) -> list[Passage | None]:
        answers = self._answers(where)
        return [
            None if a is None else replace(p, accepted=tuple(a["accepted"])) for p, a in zip(passages, answers, strict=True)
        ]

    def outside(self, passages: Sequence[Passage], where: Where) -> int:
        """Rows with an answer that no window has whole."""
        answers = self._answers(where)
        spans = [(p, a["start"], a["stop"]) for p, a in zip(passages, answers, strict=True) if a is not None and a["stop"] >= 0]
        return sum(not any(last for _, last in spans_in(p.windows, start, stop)) for p, start, stop in spans)

    def over(self, characters: int) -> np.ndarray:
        """The numbers of the rows whose answer has more characters than that."""
        ends = [(pc.struct_field(array, "start"), pc.struct_field(array, "stop")) for array in self.arrays]
        sizes = [pc.subtract(stop, start).fill_null(0).to_numpy(zero_copy_only=False) for start, stop in ends]
        return np.flatnonzero(np.concatenate([np.zeros(0, np.int64), *sizes]) > characters)

    def longer(self, passages: Sequence[Passage], where: Where, pieces: int) -> int:
        """Rows whose answer has more pieces than that, in every window that has it whole; there is one."""
        spans = self.take(passages, where)
        sizes = np.where(spans[..., 1] > 0, spans[..., 1] - spans[..., 0] + 1, 0).max(1)
        return int((sizes > pieces).sum())

    @property
    def impossible(self) -> int:
        """Rows that are known to have no answer."""
        return sum(pc.sum(pc.less(pc.struct_field(array, "stop"), 0)).as_py() or 0 for array in self.arrays)

    def known(self, where: Where) -> np.ndarray:
        """(B,) 1 for a row with a label."""
        return np.array([self.arrays[b][i].is_valid for b, i in where.places], np.int64)

    def _answers(self, where: Where) -> list[dict[str, Any] | None]:
        return [self.arrays[b][i].as_py() for b, i in where.places]


def spans_in(windows: Sequence[Sequence[tuple[int, int]]], start: int, stop: int) -> list[tuple[int, int]]:
    """For each window the first and last word that hold characters from `start` to `stop`; 0 and 0 where some are outside it.

    Words are in order and do not overlap; the first of a window, which holds no characters, stands for "none". Characters
    that no word has, such as spaces at an end of the answer, do not count.
    """
    found = []
    for number, window in enumerate(windows):
        inside = [i for i, (first, last) in enumerate(window) if first < stop and last > start]
        if not inside:
            found.append((0, 0))
            continue
        first, last = inside[0], inside[-1]
        begins = number == 0 or first > 1 or window[first][0] <= start
        ends = number == len(windows) - 1 or last < len(window) - 1 or window[last][1] >= stop
        found.append((first, last) if begins and ends else (0, 0))
    return found
