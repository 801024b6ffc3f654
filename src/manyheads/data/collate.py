"""Rows of the encoded table become a batch: padded to the longest among them, without a loop over pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from manyheads.data.cache import TARGET
from manyheads.types import IGNORE, Batch, Tokens

_STRIDE = 4096  # rows counted at one time


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


class Collator:
    """Makes batches of one table, which may be larger than the memory: of long columns it holds views alone."""

    def __init__(self, name: str, table: pa.Table) -> None:
        batches = table.to_batches()
        self.name = name
        self._bounds = np.cumsum([0, *(len(b) for b in batches)])
        self._ids, self._types, self._words = (_Lists([b.column(c) for b in batches]) for c in ("ids", "types", "words"))
        self.has_words = any(len(values) for values in self._words.values)
        tasks = [c for c in table.column_names if c.startswith(TARGET)]
        self.targets = {c.removeprefix(TARGET): _targets([b.column(c) for b in batches], table.field(c).type) for c in tasks}

    def __call__(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """The rows as a batch, in their order."""
        where = self._where(rows)
        ids, mask = self._ids.padded(where, 0)
        types, _ = self._types.padded(where, 0)
        words = self._word_positions(where)
        targets = {task: torch.from_numpy(column.take(where, words)) for task, column in self.targets.items()}
        at = None if words is None else torch.from_numpy(words)
        tokens = Tokens(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types), at)
        return Batch(self.name, {"text": tokens}, targets, where.rows.tolist())

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Tensor:
        """The targets of `rows` with the tags of words that were cut off, which a batch leaves out."""
        where = self._where(rows)
        words = self._word_positions(where)
        return torch.from_numpy(self.targets[task].take(where, None if words is None else np.zeros_like(words)))

    def scored(self, task: str) -> np.ndarray:
        """(N,) supervised items of each row, as the batch that it is in counts them."""
        column = self.targets[task]
        found = np.zeros(int(self._bounds[-1]), np.int64)
        for start in range(0, len(found), _STRIDE):
            where = self._where(range(start, min(start + _STRIDE, len(found))))
            words = self._word_positions(where) if isinstance(column, _Tags) else None
            target = column.take(where, words)
            known = target != IGNORE if target.dtype == np.int64 else ~np.isnan(target)
            found[where.rows] = known.sum(1) if isinstance(column, _Tags) else known.reshape(len(known), -1).any(1)
        return found

    def _where(self, rows: Sequence[int] | np.ndarray) -> Where:
        wanted = np.asarray(rows, np.int64)
        batch = np.searchsorted(self._bounds, wanted, side="right") - 1
        return Where(wanted, list(zip(batch.tolist(), (wanted - self._bounds[batch]).tolist(), strict=True)))

    def _word_positions(self, where: Where) -> np.ndarray | None:
        return self._words.padded(where, -1)[0] if self.has_words else None


class _Lists:
    """A column of lists: views on the memory of its record batches, and where in it each row's list lies."""

    def __init__(self, arrays: Sequence[pa.ListArray]) -> None:
        self.values = [array.values.to_numpy() for array in arrays]
        bounds = [array.offsets.to_numpy() for array in arrays]
        self.starts: np.ndarray = np.concatenate([np.zeros(0, np.int32), *(b[:-1] for b in bounds)])
        self.lengths: np.ndarray = np.concatenate([np.zeros(0, np.int32), *(np.diff(b) for b in bounds)])

    def padded(self, where: Where, fill: int, width: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(B, L) int64 and which entries are real; L is the longest list, at least `width`. A null is an empty list."""
        starts, lengths = self.starts[where.rows], self.lengths[where.rows]
        spans = zip((b for b, _ in where.places), starts.tolist(), (starts + lengths).tolist(), strict=True)
        flat = np.concatenate([self.values[b][start:stop] for b, start, stop in spans])
        real = np.arange(max(width, lengths.max())) < lengths[:, None]
        padded = np.full(real.shape, fill, np.int64)
        padded[real] = flat
        return padded, real


class _Numbers:
    """A column of one number a row; nulls are filled."""

    def __init__(self, arrays: Sequence[pa.Array], fill: float, dtype: type[np.generic]) -> None:
        filled = [array.fill_null(fill).to_numpy(zero_copy_only=False).astype(dtype) for array in arrays]
        self.values: np.ndarray = np.concatenate([np.zeros(0, dtype), *filled])

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        return np.take(self.values, where.rows)


class _Flags:
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


class _Tags:
    """A column of an index for each word; a null is a row to skip."""

    def __init__(self, tags: _Lists) -> None:
        self.tags = tags

    def take(self, where: Where, words: np.ndarray | None) -> np.ndarray:
        found, _ = self.tags.padded(where, IGNORE, 0 if words is None else words.shape[1])
        if words is not None:
            found[words < 0] = IGNORE
        return found


def _targets(arrays: Sequence[pa.Array], type_: pa.DataType) -> Targets:
    if pa.types.is_fixed_size_list(type_):
        return _Flags(arrays, type_.list_size, type_.value_type.to_pandas_dtype())
    if pa.types.is_list(type_):
        return _Tags(_Lists(arrays))
    return _Numbers(arrays, np.nan, np.float32) if pa.types.is_floating(type_) else _Numbers(arrays, IGNORE, np.int64)
