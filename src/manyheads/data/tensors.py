"""Tensors and lists that are already in memory as a data set, for the Python API."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.types import IGNORE, Batch

_SHOWN = 20  # rows that an error lists


class TensorDataset:
    """Any number of input fields and of label sets over the same rows. (After Snorkel's `DictDataset`, Ratner et al., 2019.)

    fields   name to a tensor (N, ...) or a list of N things. One-dimensional tensors in a list are padded with 0 in each
             batch; other lists reach their module as lists
    targets  task to a tensor (N, ...) or a list of N numbers. None, NaN and, among whole numbers, `missing` are no label
    missing  the whole number that means "no label"; None: there is none
    weights  task to a tensor (N,) or a list of N numbers from 0 on: a row of weight 2 counts in the task's loss as two rows

    >>> data = TensorDataset({"x": torch.rand(3, 2)}, {"circle": [1, 0, None]})
    >>> data.batch([2, 0]).targets["circle"].tolist()
    [-100, 1]
    """

    def __init__(
        self,
        fields: Mapping[str, Tensor | list[Any]],
        targets: Mapping[str, Tensor | Sequence[float | None]],
        name: str = "data",
        split: str = "train",
        missing: int | None = -1,
        weights: Mapping[str, Tensor | Sequence[float]] | None = None,
    ) -> None:
        self.name, self.split, self.tasks = name, split, tuple(targets)
        self._fields = dict(fields)
        self._targets = {task: _target(task, values, missing) for task, values in targets.items()}
        self._size = _size(self._fields, self._targets)
        self._ragged = {n for n, f in self._fields.items() if isinstance(f, list) and all(_is_vector(item) for item in f)}
        self._items = {task: _items(target) for task, target in self._targets.items()}
        given = {task: _weights(task, column, self._items) for task, column in (weights or {}).items()}
        self._weights = {task: column for task, column in given.items() if (column != 1).any()}
        self._items |= {task: self._items[task] * column.double().numpy() for task, column in self._weights.items()}
        self.lengths = self._lengths()

    def __len__(self) -> int:
        return self._size

    def items(self, task: str) -> np.ndarray:
        """(N,) supervised items: of whole numbers the entries that are no gap, of others 1 for a row that is not all NaN.

        With weights, times the row's weight.
        """
        return self._items[task]

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """The rows, in their order."""
        index = _index(rows)
        fields = {name: self._take(name, field, rows, index) for name, field in self._fields.items()}
        targets = {task: target.index_select(0, index) for task, target in self._targets.items()}
        weights = {task: column.index_select(0, index) for task, column in self._weights.items()}
        return Batch(self.name, fields, targets, rows.tolist() if isinstance(rows, np.ndarray) else rows, weights)

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Tensor:
        """The targets of `batch`; nothing is cut here."""
        return self._targets[task].index_select(0, _index(rows))

    def _take(self, name: str, field: Tensor | list[Any], rows: Sequence[int] | np.ndarray, index: Tensor) -> Any:
        if isinstance(field, Tensor):
            return field.index_select(0, index)
        chosen = [field[i] for i in rows]
        return pad_sequence(chosen, batch_first=True) if name in self._ragged else chosen

    def _lengths(self) -> np.ndarray:
        """(N,) int64: the entries of a row's ragged fields; 1 where there are none."""
        total = np.zeros(self._size, np.int64)
        for name in self._ragged:
            total += [len(item) for item in self._fields[name]]
        return np.maximum(total, 1)


def _index(rows: Sequence[int] | np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(rows, np.int64))  # several times faster than torch.tensor


def _is_vector(item: Any) -> bool:
    return isinstance(item, Tensor) and item.dim() == 1


def _size(fields: Mapping[str, Any], targets: Mapping[str, Tensor]) -> int:
    """The number of rows that all have. RecipeError naming two that differ."""
    for name, field in fields.items():
        if not isinstance(field, list) and not (isinstance(field, Tensor) and field.dim()):
            raise RecipeError(Problem("a field is a tensor (N, ...) or a list", f"fields.{name}", type(field).__name__))
    sizes = {**{f"fields.{n}": len(f) for n, f in fields.items()}, **{f"targets.{n}": len(t) for n, t in targets.items()}}
    if not fields:
        raise RecipeError(Problem("a data set needs a field", "fields"))
    first, size = next(iter(sizes.items()))
    problems = [Problem(f"has {n} rows, but {first} has {size}", name) for name, n in sizes.items() if n != size]
    if problems:
        raise RecipeError(*problems)
    if not size:
        raise RecipeError(Problem("a data set needs a row", first))
    return size


def _target(task: str, values: Any, missing: int | None) -> Tensor:
    """Whole numbers (and truth values) as int64 with `IGNORE`, others as floats with NaN, where there is no label."""
    target = values if isinstance(values, Tensor) else _numbers(task, values)
    if not target.dim() or target.is_complex():
        raise RecipeError(Problem("a target is a tensor (N, ...) of real numbers, or a list of them", f"targets.{task}"))
    target = target.detach()
    if target.is_floating_point():
        return target
    target = target.long()
    return target if missing is None else target.masked_fill(target == missing, IGNORE)


def _numbers(task: str, values: Any) -> Tensor:
    wanted = "a target is a tensor or a list of numbers; None is a missing one"
    if not isinstance(values, list | tuple):
        raise RecipeError(Problem(wanted, f"targets.{task}", type(values).__name__))
    strange = next((v for v in values if not (v is None or isinstance(v, int | float))), None)
    if strange is not None:
        raise RecipeError(Problem(wanted, f"targets.{task}", f"a list with {type(strange).__name__}"))
    gaps = [v is None or v != v for v in values]
    if all(gap or isinstance(v, int) for v, gap in zip(values, gaps, strict=True)):
        return torch.tensor([IGNORE if gap else v for v, gap in zip(values, gaps, strict=True)], dtype=torch.int64)
    return torch.tensor([math.nan if gap else v for v, gap in zip(values, gaps, strict=True)], dtype=torch.float32)


def _weights(task: str, values: Tensor | Sequence[float], items: Mapping[str, np.ndarray]) -> Tensor:
    """(N,) float32. RecipeError unless they are finite numbers from 0 on, one a row, for a row with a label above 0."""
    place = f"weights.{task}"
    if task not in items:
        rule = f"no target is called this (there are: {listed(items)})"
        raise RecipeError(Problem(rule, place, task, nearest(task, items)))
    try:
        found = torch.as_tensor(values, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(Problem(f"weights are a tensor (N,) or a list of numbers: {error}", place)) from error
    size = len(items[task])
    if found.shape != (size,):
        raise RecipeError(Problem(f"weights are one a row, and there are {size} rows", place, f"shape {tuple(found.shape)}"))
    wrong = (~(found.isfinite() & (found >= 0))).nonzero().flatten().tolist()
    if wrong:
        rule = "a weight is a finite number from 0 on"
        raise RecipeError(*(Problem(rule, f"{place} row {i}", str(found[i].item())) for i in wrong[:_SHOWN]))
    if items[task].any() and not (items[task] * found.numpy()).any():
        raise RecipeError(Problem("all weights of rows with a label are 0, so nothing would be learned", place))
    return found


def _items(target: Tensor) -> np.ndarray:
    flat = target.reshape(len(target), -1)
    found = (~flat.isnan()).any(1) if flat.is_floating_point() else (flat != IGNORE).sum(1)
    return found.long().numpy()
