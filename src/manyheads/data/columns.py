"""Columns of the encoded table: lists as views on its memory, and targets as the batch of a task has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from manyheads.types import IGNORE, LETTERS


@dataclass(frozen=True, slots=True)
class Where:
    """Rows (B,) of a table, and the record batch and the row in it of each."""

    rows: np.ndarray
    places: Sequence[tuple[int, int]]


class Targets(Protocol):
    """A target column of a table."""

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        """(B, ...) targets; a tag whose word is -1 in `words` (B, W) is skipped."""
        ...


class Lists:
    """A column of lists: views on the memory of its record batches, and where in it each row's list lies."""

    def __init__(self, arrays: Sequence[pa.ListArray]) -> None:
        self.values = [array.values.to_numpy() for array in arrays]
        bounds = [array.offsets.to_numpy() for array in arrays]
        self.starts: np.ndarray = np.concatenate([np.zeros(0, np.int32), *(b[:-1] for b in bounds)])
        self.lengths: np.ndarray = np.concatenate([np.zeros(0, np.int32), *(np.diff(b) for b in bounds)])

    def lists(self, where: Where) -> list[np.ndarray]:
        """The rows' lists as they lie. A null is an empty list."""
        starts, stops = self.starts[where.rows], self.starts[where.rows] + self.lengths[where.rows]
        spans = zip((b for b, _ in where.places), starts.tolist(), stops.tolist(), strict=True)
        return [self.values[b][start:stop] for b, start, stop in spans]

    def padded(
        self,
        where: Where,
        fill: float,
        counts: np.ndarray | None = None,
        width: int = 0,
        dtype: type[np.generic] = np.int64,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(B, L) and which entries are real; L is the longest list, at least `width`.

        `counts` (S,) parts the lists of all rows, one after the other, anew: then (S, L).
        """
        lengths = self.lengths[where.rows] if counts is None else counts
        flat = np.concatenate(self.lists(where))
        real = np.arange(max(width, lengths.max())) < lengths[:, None]
        padded = np.full(real.shape, fill, dtype)
        padded[real] = flat
        return padded, real


class Spellings:
    """A column of lists of words, read as the bytes of each word in UTF-8."""

    def __init__(self, arrays: Sequence[pa.ListArray]) -> None:
        self.words = Lists([_numbered(array) for array in arrays])
        self.rows = [len(array) for array in arrays]
        held = [array.values for array in arrays]
        self.bounds = [np.frombuffer(a.buffers()[1] or bytes(4), np.int32)[a.offset : a.offset + len(a) + 1] for a in held]
        self.bytes = [np.frombuffer(a.buffers()[2] or b"", np.uint8) for a in held]

    def padded(self, where: Where, counts: np.ndarray | None = None) -> np.ndarray:
        """(B, T, L) uint8, or (S, T, L) of lists that `counts` (S,) parts anew; of a word the first `LETTERS` bytes."""
        lists = self.words.lists(where)
        batches = np.repeat([b for b, _ in where.places], list(map(len, lists)))
        numbers = np.concatenate(lists) if lists else np.zeros(0, np.int64)
        starts, stops = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        for batch in np.unique(batches):
            mine = batches == batch
            starts[mine], stops[mine] = self.bounds[batch][numbers[mine]], self.bounds[batch][numbers[mine] + 1]
        sizes = np.minimum(stops - starts, LETTERS)
        at = np.arange(sizes.max(initial=1))
        inside = at < sizes[:, None]
        spelled = np.zeros(inside.shape, np.uint8)
        for batch in np.unique(batches):
            mine = (batches == batch)[:, None] & inside
            spelled[mine] = self.bytes[batch][(starts[:, None] + at)[mine]]
        rows = np.array(list(map(len, lists))) if counts is None else counts
        real = np.arange(rows.max(initial=0)) < rows[:, None]
        padded = np.zeros((*real.shape, spelled.shape[1]), np.uint8)
        padded[real] = spelled
        return padded

    def longer(self) -> int:
        """How many rows have a word of more than `LETTERS` bytes."""
        found, first = 0, 0
        for rows, bounds in zip(self.rows, self.bounds, strict=True):
            until = np.concatenate([[0], np.cumsum(np.diff(bounds) > LETTERS)])
            starts = self.words.starts[first : first + rows]
            found += int((until[starts + self.words.lengths[first : first + rows]] > until[starts]).sum())
            first += rows
        return found


def _numbered(array: pa.ListArray) -> pa.ListArray:
    """The lists, in place of each word its number among all words of the record batch."""
    return pa.ListArray.from_arrays(array.offsets, pa.array(np.arange(len(array.values)), pa.int32()))


class Numbers:
    """A column of one number a row; nulls are filled."""

    def __init__(self, arrays: Sequence[pa.Array], fill: float, dtype: type[np.generic]) -> None:
        filled = [array.fill_null(fill).to_numpy(zero_copy_only=False).astype(dtype) for array in arrays]
        self.values: np.ndarray = np.concatenate([np.zeros(0, dtype), *filled])

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        return np.take(self.values, where.rows)


class Flags:
    """A column of a number for each of C labels, 0 or 1 or a probability; a null is a row of NaN."""

    def __init__(self, arrays: Sequence[pa.FixedSizeListArray], width: int, dtype: type[np.generic]) -> None:
        self.values, self.valid = [], []
        for array in arrays:
            # the slots of nulls hold anything, so the bytes are read as they lie
            flat = np.frombuffer(array.values.buffers()[1] or b"", dtype)[array.values.offset :]
            self.values.append(flat[array.offset * width : (array.offset + len(array)) * width].reshape(len(array), width))
            self.valid.append(array.is_valid().to_numpy(zero_copy_only=False))

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        found = np.stack([self.values[b][i] for b, i in where.places]).astype(np.float32)
        found[[not self.valid[b][i] for b, i in where.places]] = np.nan
        return found


class Relevances:
    """A column of a number for each of a row's choices; a null is a row of NaN."""

    def __init__(self, numbers: Lists) -> None:
        self.numbers = numbers

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        """(B, P), NaN where a row has fewer choices."""
        return self.numbers.padded(where, np.nan, dtype=np.float32)[0]


class Neighbours:
    """The pieces beside each piece of `ids`; a column of numbers says on which `sides`: 1 behind it, 2 before it, 3 both.

    `after` (N,), where there is one, has the piece behind each row's last. A null is a row to skip.
    """

    def __init__(self, ids: Lists, sides: Sequence[pa.Array], after: np.ndarray | None = None) -> None:
        self.ids, self.after = ids, after
        said = np.concatenate([np.zeros(0, np.uint8), *(array.fill_null(0).to_numpy() for array in sides)])
        most = int(said.max(initial=1))
        self.told, self.next, self.before = said > 0, bool(most & 1), bool(most & 2)

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        """(B, T, number of sides)"""
        ids, real = self.ids.padded(where, IGNORE)
        beyond = np.full((len(ids), 1), IGNORE, np.int64)
        found = []
        if self.next:
            following = np.concatenate([ids[:, 1:], beyond], 1)
            if self.after is not None:
                following[np.arange(len(ids)), self.ids.lengths[where.rows] - 1] = self.after[where.rows]
            found.append(following)
        if self.before:
            found.append(np.where(real, np.concatenate([beyond, ids[:, :-1]], 1), IGNORE))
        return np.where(self.told[where.rows][:, None, None], np.stack(found, -1), IGNORE)

    def known(self, where: Where) -> np.ndarray:
        """(B,) how many there are in each row."""
        inner: np.ndarray = self.ids.lengths[where.rows].astype(np.int64) - 1
        asked = inner * (self.next + self.before) + int(self.next and self.after is not None)
        return np.where(self.told[where.rows], asked, 0)


class Hidden:
    """A column of how many pieces of each row are hidden."""

    def __init__(self, counts: Sequence[pa.Array]) -> None:
        self.counts = np.concatenate([np.zeros(0, np.int64), *(array.to_numpy().astype(np.int64) for array in counts)])

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        """(B, M), 0 for each hidden piece; which ones these are is drawn when the row is read."""
        counts = self.known(where)
        return np.where(np.arange(max(1, counts.max(initial=0))) < counts[:, None], 0, IGNORE)

    def known(self, where: Where) -> np.ndarray:
        """(B,) how many there are in each row."""
        return np.take(self.counts, where.rows)


class Tags:
    """A column of an index for each word; a null is a row to skip."""

    def __init__(self, tags: Lists) -> None:
        self.tags = tags

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        found, _ = self.tags.padded(where, IGNORE, width=0 if words is None else words.shape[1])
        if words is not None:
            found[words < 0] = IGNORE
        return found
