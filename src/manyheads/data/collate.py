"""Rows of the encoded table become a batch: padded to the longest among them, without a loop over pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from manyheads.data.cache import TARGET
from manyheads.data.chunks import AFTER, CARRY
from manyheads.data.columns import Flags, Hidden, Lists, Neighbours, Numbers, Relevances, Spellings, Tags, Targets, Where
from manyheads.data.windows import Answers, Parts
from manyheads.types import IGNORE, Batch, Passage, Tokens

_STRIDE = 4096  # rows counted at one time


class Collator:
    """Makes batches of one table, which may be larger than the memory: of long columns it holds views alone."""

    def __init__(self, name: str, table: pa.Table) -> None:
        batches = table.to_batches()
        self.name = name
        self._bounds = np.cumsum([0, *(len(b) for b in batches)])
        self._ids, self._types, self._words = (Lists([b.column(c) for b in batches]) for c in ("ids", "types", "words"))
        self.has_words = any(len(values) for values in self._words.values)
        self._spelled = Spellings([b.column("spelled") for b in batches]) if "spelled" in table.column_names else None
        self._parts = Parts(batches) if "parts" in table.column_names else None
        tasks = [c for c in table.column_names if c.startswith(TARGET)]
        self._carry = table[CARRY].to_numpy() if CARRY in table.column_names else None
        self._after = table[AFTER].to_numpy() if AFTER in table.column_names else None
        self.targets = {
            c.removeprefix(TARGET): self._targets([b.column(c) for b in batches], table.field(c).type) for c in tasks
        }

    def __call__(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """The rows as a batch, in their order."""
        where = self._where(rows)
        parts = None if self._parts is None else self._parts.of(where)
        counts = None if parts is None else np.concatenate(parts)
        ids, mask = self._ids.padded(where, 0, counts)
        types, _ = self._types.padded(where, 0, counts)
        words = self._word_positions(where)
        targets = {task: torch.from_numpy(self._taken(task, where, words)) for task in self.targets}
        at = None if words is None else torch.from_numpy(words)
        letters = None if self._spelled is None else torch.from_numpy(self._spelled.padded(where, counts))
        carry = None if self._carry is None else torch.from_numpy(self._carry[where.rows])
        tokens = Tokens(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types), at, letters, carry)
        rows_of = None if parts is None else tuple(map(len, parts))
        return Batch(self.name, {"text": tokens}, targets, where.rows.tolist(), parts=rows_of)

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Tensor | list[Passage | None]:
        """The targets of `rows` with the tags of words that were cut off, which a batch leaves out; of answers the passages."""
        where, column = self._where(rows), self.targets[task]
        if isinstance(column, Answers):
            return column.gold(self.passages(where.rows), where)
        words = self._word_positions(where)
        return torch.from_numpy(column.take(where, None if words is None else np.zeros_like(words)))

    def passages(self, rows: Sequence[int] | np.ndarray) -> list[Passage]:
        """What the rows are windows of."""
        if self._parts is None or self._parts.windows is None:
            raise ValueError("these rows are not read through windows")
        return self._parts.windows.passages(self._where(rows))

    def _taken(self, task: str, where: Where, words: np.ndarray | None) -> np.ndarray:
        column = self.targets[task]
        return column.take(self.passages(where.rows), where) if isinstance(column, Answers) else column.take(where, words)

    def scored(self, task: str) -> np.ndarray:
        """(N,) supervised items of each row, as the batch that it is in counts them."""
        column = self.targets[task]
        found = np.zeros(int(self._bounds[-1]), np.int64)
        for start in range(0, len(found), _STRIDE):
            where = self._where(range(start, min(start + _STRIDE, len(found))))
            if isinstance(column, Answers | Hidden | Neighbours):
                found[where.rows] = column.known(where)
                continue
            words = self._word_positions(where) if isinstance(column, Tags) else None
            target = column.take(where, words)
            known = target != IGNORE if target.dtype == np.int64 else ~np.isnan(target)
            found[where.rows] = known.sum(1) if isinstance(column, Tags) else known.reshape(len(known), -1).any(1)
        return found

    @property
    def sequences(self) -> int:
        """What the encoder reads for all rows: their windows or choices, else a sequence a row."""
        return int(self._bounds[-1]) if self._parts is None else int(self._parts.pieces.lengths.sum())

    @property
    def has_windows(self) -> bool:
        return self._parts is not None and self._parts.windows is not None

    def outside(self, task: str) -> int:
        """Rows with an answer that no window has whole."""
        column = self.targets[task]
        if not isinstance(column, Answers) or self._parts is None:
            return 0
        several = np.flatnonzero(self._parts.pieces.lengths > 1)  # one window has it all
        chunks = [several[start : start + _STRIDE] for start in range(0, len(several), _STRIDE)]
        return sum(column.outside(self.passages(rows), self._where(rows)) for rows in chunks)

    def longer(self, task: str, pieces: int) -> int:
        """Rows whose answer has more pieces than that, in every window that has it whole."""
        column = self.targets[task]
        if not isinstance(column, Answers) or self._parts is None:
            return 0
        rows = column.over(pieces)  # a piece has a character at least
        chunks = [rows[start : start + _STRIDE] for start in range(0, len(rows), _STRIDE)]
        return sum(column.longer(self.passages(chunk), self._where(chunk), pieces) for chunk in chunks)

    @property
    def long_words(self) -> int:
        """Rows with a word of which modules of letters see the beginning alone."""
        return 0 if self._spelled is None else self._spelled.longer()

    def impossible(self, task: str) -> int:
        """Rows that are known to have no answer."""
        column = self.targets[task]
        return column.impossible if isinstance(column, Answers) else 0

    def _where(self, rows: Sequence[int] | np.ndarray) -> Where:
        wanted = np.asarray(rows, np.int64)
        batch = np.searchsorted(self._bounds, wanted, side="right") - 1
        return Where(wanted, list(zip(batch.tolist(), (wanted - self._bounds[batch]).tolist(), strict=True)))

    def _word_positions(self, where: Where) -> np.ndarray | None:
        if not self.has_words:
            return None
        windows = None if self._parts is None else self._parts.windows
        return self._words.padded(where, -1, None if windows is None else np.concatenate(windows.words.lists(where)))[0]

    def _targets(self, arrays: Sequence[pa.Array], type_: pa.DataType) -> Targets | Answers:
        if pa.types.is_struct(type_):
            return Answers(arrays)
        if pa.types.is_uint8(type_):
            return Neighbours(self._ids, arrays, self._after)
        if pa.types.is_uint16(type_):
            return Hidden(arrays)
        if pa.types.is_fixed_size_list(type_):
            return Flags(arrays, type_.list_size, type_.value_type.to_pandas_dtype())
        if pa.types.is_list(type_):
            return Relevances(Lists(arrays)) if pa.types.is_floating(type_.value_type) else Tags(Lists(arrays))
        return Numbers(arrays, np.nan, np.float32) if pa.types.is_floating(type_) else Numbers(arrays, IGNORE, np.int64)
