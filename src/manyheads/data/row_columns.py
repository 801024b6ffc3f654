"""Columns beside a task's labels: as how many rows each row counts in the loss, and which rows belong to one group.

They are no part of an encoded example, so that other weights or groups encode nothing anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from manyheads.data.label_column import LARGEST, number_of, require_column
from manyheads.data.labels import Found, kind_of, label_text
from manyheads.data.targets import KnownTarget
from manyheads.errors import DataError, Problem, shown
from manyheads.types import Row, Value

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowColumn(ABC, Generic[T]):
    """One value for each row that has a label, in a column of its own; a row without a label needs none."""

    target: KnownTarget
    column: str
    item: ClassVar[str]  # what a value is called
    hint: ClassVar[str]  # what to do about a row without one

    def require(self, rows: Sequence[Row]) -> None:
        """DataError with the nearest column, if no row has this one."""
        require_column(rows, self.column, f"the {self.item}s of task {self.target.task}")

    def check(self, row: Row) -> T | None:
        """A row's value, None where it has no label. DataError for what is no such value, and where there is none."""
        if self.target.lacks(row):
            return None
        value = row.values.get(self.column)
        if value is None or value == "":
            rule = f"the row has a label and no {self.item} in column {shown(self.column)}"
            raise DataError(self.target.problem(row, rule, value, self.hint))
        return self._value(row, value)

    @abstractmethod
    def _value(self, row: Row, value: Value) -> T: ...

    def _expected(self, row: Row, value: Value, kind: str, hint: str = "") -> DataError:
        rule = f"a {self.item} in column {shown(self.column)}: expected {kind}, not {kind_of(value)}"
        return DataError(self.target.problem(row, rule, value, hint))

    def _found(self, rows: Sequence[Row]) -> list[T | None]:
        """Of each row what `check` returns. DataError with all that is wrong."""
        self.require(rows)
        problems = Found()
        found = [problems.collect(self.check, row) for row in rows]
        problems.check()
        return found


class RowWeights(RowColumn[float]):
    """A numeric column that says as how many rows each row counts in the loss of a task."""

    item, hint = "weight", "give it one; 0 leaves the row out of the loss"

    def _value(self, row: Row, value: Value) -> float:
        number = number_of(value)
        if number is None:
            raise self._expected(row, value, "a number", "write it with digits and a point, such as 0.5")
        if not abs(number) <= LARGEST:
            raise DataError(self.target.problem(row, "a weight must be finite, in single precision too", value))
        if number < 0:
            raise DataError(self.target.problem(row, "a weight must be at least 0", value))
        return number

    def read(self, rows: Sequence[Row]) -> np.ndarray:
        """(N,) float32, 1 for a row without a label. DataError with all that is wrong, and where no weight is above 0."""
        found = self._found(rows)
        if not any(found):
            rule = f"task {self.target.task}: all weights in column {shown(self.column)} are 0, so nothing would be learned"
            raise DataError(Problem(rule, rows[0].place.path))
        return np.array([1 if weight is None else weight for weight in found], np.float32)


class RowGroups(RowColumn[str]):
    """A column that the rows of one question or one document share, for scores of whole groups."""

    item, hint = "group", ""

    def _value(self, row: Row, value: Value) -> str:
        name = label_text(value)
        if not name:
            raise self._expected(row, value, "a text or a whole number")
        return name

    def read(self, rows: Sequence[Row]) -> np.ndarray:
        """(N,) texts, nothing for a row without a label. DataError with all that is wrong."""
        return np.array([name or "" for name in self._found(rows)], object)
