"""What flows, and how it is called at each border: Row, Example, Batch, Round, Output, Record.

    file --read--> Row --encode--> Example --collate--> Batch --mixture--> Round --model--> Output --loss--> scalar

Letters in shapes, here and in every docstring:

    B  rows of a batch        T  pieces (sub-words) of a row, padded    W  words of a row, padded
    D  width of a state       C  classes, labels or values of a head    K  batches of a round
    L  bytes of a piece, padded; at most `LETTERS`
    P  parts of a row: a row of choices or of windows is several sequences, S of them in a batch; of other rows S is B
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

LETTERS = 48  # bytes of a piece that modules of characters see; as many as ELMo's, its marks of begin and end aside
KEPT: Mapping[str, Any] = MappingProxyType({"kept": True})  # metadata of a row block's field that is no tensor
IGNORE = -100  # the target of an item that is not supervised; torch's cross-entropy skips it

Value: TypeAlias = "str | int | float | bool | Sequence[Value] | Mapping[str, Value] | None"
Target: TypeAlias = int | float | tuple[float, ...] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: the file as the user named it and the line (from 1) on which the row begins."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Row:
    """One record as the file gave it: column name to value, nothing cast, trimmed or replaced.

    Text formats give `str`; JSON and Parquet keep their own types; CoNLL columns give `list[str]`, a word an entry.
    """

    values: Mapping[str, Value]
    place: Place


@dataclass(frozen=True, slots=True)
class Example:
    """A row made of numbers. All positions count from 0 and include the special pieces.

    `ids` and `types` have one entry a piece. `words` is the position of each word's first piece, -1 for a word that was
    cut off; empty when the task needs no words. `targets` has one entry a task that the row can train, None where the
    label is missing. `cut` counts the pieces that did not fit. A row of several sequences has them one after the other,
    `parts` pieces each; positions count anew in each. `passage` is what they are windows of. `spelled` is each piece as the row
    has it, where modules read characters.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    words: tuple[int, ...]
    targets: Mapping[str, Target]
    place: Place
    cut: int = 0
    parts: tuple[int, ...] = ()
    passage: Passage | None = None
    spelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that is read through windows, to find an answer in it.

    text      what the offsets count in, in characters
    windows   for each window the characters (from, to) of its words, which are pieces of the text; the first word of each
              is the special piece that stands for "no answer", (0, 0)
    accepted  texts of the answers that count as right; none where there is no answer, None where that is not known
    """

    text: str
    windows: tuple[tuple[tuple[int, int], ...], ...]
    accepted: tuple[str, ...] | None = None


class RowBlock:
    """A frozen dataclass of tensors that share their first dimension, B; the rest pads with each field's filler.

    A field may hold several, as a tuple. Joining blocks lets a step that several batches share run once; splitting hands
    every batch its rows back. A field marked `KEPT` is no tensor: it is the same for all rows, and stays as it is.
    """

    __slots__ = ()
    FILL: ClassVar[Mapping[str, int]] = {}

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Each field by name: a tensor, a tuple of them, or None."""
        for f in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if not f.metadata.get("kept"):
                yield f.name, getattr(self, f.name)

    def __len__(self) -> int:
        return len(tensors_in(self)[0])

    def to(self, device: torch.device | str) -> Self:
        """The same block on `device`."""
        return self._mapped(lambda t: t.to(device, non_blocking=True))

    def part(self, start: int, stop: int) -> Self:
        """Rows `start` to `stop`, padding kept."""
        return self._mapped(lambda t: t[start:stop])

    @classmethod
    def cat(cls, blocks: Sequence[Self]) -> Self:
        """The rows of all blocks, one after the other, padded to the longest."""
        columns = {name: [getattr(b, name) for b in blocks] for name, _ in blocks[0].tensors()}
        joined: dict[str, Any] = {}
        for name, column in columns.items():
            present = [t for t in column if t is not None]
            if not present:
                joined[name] = None
                continue
            if isinstance(present[0], tuple):
                joined[name] = tuple(_cat_tensors(level, cls.FILL.get(name, 0)) for level in zip(*present, strict=True))
                continue
            if len(present) < len(column):  # a block without words joins one with words: it has none of them
                empty, fill = (0,) * (present[0].dim() - 1), cls.FILL.get(name, 0)
                column = [
                    present[0].new_full((len(b), *empty), fill) if t is None else t for t, b in zip(column, blocks, strict=True)
                ]
            joined[name] = _cat_tensors(column, cls.FILL.get(name, 0))
        return replace(blocks[0], **joined)  # type: ignore[type-var]  # every subclass is a dataclass

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {}
        for name, held in self.tensors():
            several = isinstance(held, tuple)
            changed[name] = tuple(map(change, held)) if several else None if held is None else change(held)
        return replace(self, **changed)  # type: ignore[type-var]  # every subclass is a dataclass


@dataclass(frozen=True, slots=True)
class Tokens(RowBlock):
    """Pieces of text. What a trunk reads.

    ids    (B, T) int64, 0 where padded
    mask   (B, T) bool, True on real pieces
    types  (B, T) int64, 0 for the first text and 1 for the second
    words  (B, W) int64, position of each word's first piece, -1 where padded or cut off; None when no task needs words
    letters (B, T, L) uint8, the bytes of each piece in UTF-8, 0 where padded; None when no module reads characters
    carry  (B,) int64, where each row goes on in a longer text: s + 1 behind what slot s keeps, -(s + 1) at the beginning of a
           text whose state slot s is to keep, 0 for a row by itself; None when all are
    """

    ids: Tensor
    mask: Tensor
    types: Tensor
    words: Tensor | None = None
    letters: Tensor | None = None
    carry: Tensor | None = None

    FILL: ClassVar[Mapping[str, int]] = {"words": -1}


@dataclass(frozen=True, slots=True)
class States(RowBlock):
    """Hidden states. What a trunk gives.

    states (B, T, D) float, of the last layer
    mask   (B, T) bool, True on real pieces
    words  (B, W) int64, as in `Tokens`
    below  (B, T, D) float each, of the embeddings and the layers under the last; empty when no path reads them
    carry  (B,) int64, as in `Tokens`
    apart  whether `states` are made of the layers and none of them, so that `below` has the last layer as well
    """

    states: Tensor
    mask: Tensor
    words: Tensor | None = None
    below: tuple[Tensor, ...] = ()
    carry: Tensor | None = None
    apart: bool = field(default=False, metadata=KEPT)

    FILL: ClassVar[Mapping[str, int]] = {"words": -1}


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one data set, with the targets of every task that learns from them (nearly always one).

    fields   name to `Tokens`, a tensor (S, ...) or a list of S things that only its module understands
    targets  task name to a tensor (B, ...); items to skip hold `IGNORE`, or NaN where targets are floats
    rows     index of each row in its data set
    weights  task name to (B,) float, what each row counts in the task's loss; of a task that is not there, 1
    parts    sequences of each row, S in all; None: one each
    soft     task name to a teacher's scores of the rows, shaped like an output's; NaN where there is none
    """

    dataset: str
    fields: Mapping[str, Any]
    targets: Mapping[str, Tensor]
    rows: Sequence[int]
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    parts: tuple[int, ...] | None = None
    soft: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sequences(self) -> int:
        """S, the first dimension of the fields."""
        return len(self.rows) if self.parts is None else sum(self.parts)

    @property
    def width(self) -> int:
        """Padded length of a row: the greatest second dimension of the fields, 1 where none has one."""
        found = [t for f in self.fields.values() if not isinstance(f, list) for t in tensors_in(f)]
        return max((t.shape[1] for t in found if t.dim() > 1), default=1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; lists stay as they are."""
        moved = {n: f.to(device) if isinstance(f, Tensor | RowBlock) else f for n, f in self.fields.items()}
        given = (self.targets, self.weights, self.soft)
        targets, weights, soft = ({n: t.to(device) for n, t in some.items()} for some in given)
        return replace(self, fields=moved, targets=targets, weights=weights, soft=soft)


Round: TypeAlias = Sequence[Batch]  # what one optimizer step consumes: K batches, usually of K data sets


@dataclass(frozen=True, slots=True)
class Output:
    """What a task's path ends in: `scores`, (B, C) for a row, (B, W, C) for words, (B,) or whatever the module gave.

    Of rows of several sequences (B, P, ...), -inf for parts that a row does not have.
    """

    task: str
    scores: Any


@dataclass(frozen=True, slots=True)
class Record:
    """One number that a run reports. `key` is task/dataset/split/metric."""

    step: int
    task: str
    dataset: str
    split: str
    metric: str
    value: float

    @property
    def key(self) -> str:
        return f"{self.task}/{self.dataset}/{self.split}/{self.metric}"


def cat_rows(values: Sequence[Any]) -> Any:
    """Join what several batches feed to one step, along B; tensors of unequal length are padded with 0."""
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, RowBlock):
        return type(first).cat(values)
    if isinstance(first, Tensor):
        return _cat_tensors(values, 0)
    if isinstance(first, list):
        return [item for value in values for item in value]
    if isinstance(first, Mapping):
        return {key: cat_rows([value[key] for value in values]) for key in first}
    raise _no_rows(first)


def part_rows(value: Any, start: int, stop: int, rows: int) -> Any:
    """Rows `start` to `stop` of what a step gave for `rows` rows. ValueError when it gave another number."""
    if isinstance(value, Mapping):
        return {key: part_rows(entry, start, stop, rows) for key, entry in value.items()}
    if not isinstance(value, Tensor | RowBlock | list):
        raise _no_rows(value)
    if len(value) != rows:
        raise ValueError(f"{rows} rows of several batches went in, {len(value)} came out")
    return value.part(start, stop) if isinstance(value, RowBlock) else value[start:stop]


def by_row(value: Any, parts: Sequence[int]) -> Tensor:
    """What a step gave for S sequences, (S, ...), row by row: (B, P, ...), -inf for parts that a row does not have."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"of rows of several sequences a path must end in numbers, found {type(value).__name__}")
    if len(value) != sum(parts):
        raise ValueError(f"{sum(parts)} sequences went in, {len(value)} came out")
    counts = torch.tensor(list(parts), device=value.device)
    found = value.new_full((len(parts), max(parts, default=0), *value.shape[1:]), -math.inf)
    found[torch.arange(found.shape[1], device=value.device) < counts[:, None]] = value
    return found


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of what a step gave, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, RowBlock):
        return [t for _, held in value.tensors() for t in tensors_in(held)]
    if isinstance(value, Mapping):
        return [t for entry in value.values() for t in tensors_in(entry)]
    return [t for entry in value for t in tensors_in(entry)] if isinstance(value, list | tuple) else []


def _no_rows(value: object) -> TypeError:
    rule = "batches can share a step that takes and gives tensors, lists, RowBlocks, or mappings of these"
    return TypeError(f"{rule}; found {type(value).__name__}")


def _cat_tensors(tensors: Sequence[Tensor], fill: int) -> Tensor:
    if tensors[0].dim() < 2:
        return torch.cat(list(tensors))
    shape = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    return torch.cat([_widen(t, shape, fill) for t in tensors])


def _widen(tensor: Tensor, shape: Sequence[int], fill: int) -> Tensor:
    missing = [wanted - size for wanted, size in zip(shape, tensor.shape[1:], strict=True)]
    if not any(missing):
        return tensor
    return pad(tensor, [side for more in reversed(missing) for side in (0, more)], value=fill)
