"""The face of a data set to streams and training, and the data set that an encoded table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from manyheads.data.chunks import CARRY
from manyheads.data.collate import Collator
from manyheads.seeds import generator
from manyheads.types import LETTERS, Batch, Passage, Place


class Dataset(Protocol):
    """Rows with the label sets of one task or more. Rows are numbered from 0.

    name     as in the keys of its scores, task/name/split/metric
    split    train, dev, test or a name of the user's
    tasks    the label sets, each named like the task that learns from it
    """

    @property
    def name(self) -> str: ...

    @property
    def split(self) -> str: ...

    @property
    def tasks(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, what each row costs in a batch that pads to its longest row."""
        ...

    def items(self, task: str) -> np.ndarray:
        """(N,) supervised items of each row, as the target of a batch counts them; times the row's weight, if rows have one."""
        ...

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """The rows, in their order."""
        ...

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Any:
        """What predictions are scored against: the targets of `batch`, and those of words that did not fit as well.

        For answers a list of the passages that they are found in, None for a row without a label.
        """
        ...


class TextDataset:
    """Encoded texts (`manyheads.data.cache`), with one target column a task; the field of its batches is `text`.

    `weights` has (N,) for each task whose rows do not all count the same. Rows of a text in chunks go through a model in their
    order, `in_order` of them at a time; 0: rows have no order. `groups` has (N,) names for each task that is scored by group.
    """

    def __init__(
        self,
        name: str,
        split: str,
        table: pa.Table,
        weights: Mapping[str, np.ndarray] | None = None,
        in_order: int = 0,
        groups: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.name, self.split, self.table, self.in_order = name, split, table, in_order
        self.weights = {task: column for task, column in (weights or {}).items() if (column != 1).any()}
        self.groups = groups or {}
        self._collate = Collator(name, table)
        self._items: dict[str, np.ndarray] = {}
        self.tasks = tuple(self._collate.targets)
        self.lengths = table["length"].to_numpy().astype(np.int64)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def items(self, task: str) -> np.ndarray:
        """(N,) 1 for a row with a label and 0 for one without; of tags, and of words to be told, how many there are.

        With weights, times the row's weight.
        """
        if task not in self._items:
            found = self._collate.scored(task)
            self._items[task] = found * self.weights[task].astype(np.float64) if task in self.weights else found
        return self._items[task]

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        batch = self._collate(rows)
        return replace(batch, weights={task: torch.from_numpy(w[batch.rows]) for task, w in self.weights.items()})

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Tensor | list[Passage | None]:
        return self._collate.gold(task, rows)

    def sample(self, rows: int, seed: int) -> TextDataset:
        """So many of the rows, drawn by lot and in their order, the same ones each time; all where there are no more.

        Chunks of a text are then each by itself.
        """
        table = self.table.drop_columns([CARRY]) if self.in_order else self.table
        if rows >= len(self):
            return TextDataset(self.name, self.split, table) if self.in_order else self
        drawn = generator(seed, "sample", self.name, self.split).choice(len(self), rows, replace=False)
        kept = np.sort(drawn)
        return TextDataset(self.name, self.split, table.take(kept), groups={t: g[kept] for t, g in self.groups.items()})

    def place(self, row: int) -> Place:
        """Where a row came from."""
        return Place(self.table["path"][row].as_py(), self.table["line"][row].as_py())

    @property
    def truncated(self) -> int:
        """How many rows did not fit whole."""
        return int(np.count_nonzero(self.cut))

    @property
    def sequences(self) -> int:
        """What the encoder reads for all rows: windows of long texts, choices, else a sequence a row."""
        return self._collate.sequences

    def lost(self) -> list[str]:
        """Sentences about what is not read of the rows, and about answers that no window has whole."""
        found = []
        if cut := self.truncated:
            long = "have questions over half of" if self._collate.has_windows else "are longer than"
            found.append(f"{self.name}: {self.share(cut)} {long} the limit and are cut")
        if count := self._collate.long_words:
            what = f"have words of more than {LETTERS} bytes, of which modules of letters read the first {LETTERS}"
            found.append(f"{self.name}: {self.share(count)} {what}")
        for task in self.tasks:
            if outside := self._collate.outside(task):
                what = "have an answer that no window holds whole, so it cannot be found; raise `stride` or `max_length`"
                found.append(f"{self.name}: {self.share(outside)} {what}")
        return found

    def longer(self, task: str, pieces: int) -> int:
        """How many rows have an answer of more pieces than that, the first of those that are accepted."""
        return self._collate.longer(task, pieces)

    def impossible(self, task: str) -> int:
        """How many rows are known to have no answer in their text."""
        return self._collate.impossible(task)

    def share(self, rows: int) -> str:
        """So many of the rows, as a message says it: 3 dev rows (10%)."""
        return f"{rows} {'training' if self.split == 'train' else self.split} rows ({rows / len(self):.0%})"

    @property
    def cut(self) -> np.ndarray:
        """(N,) int64, how many pieces of each row did not fit."""
        return np.asarray(self.table["cut"].to_numpy(), np.int64)
