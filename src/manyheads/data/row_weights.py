"""Weights of rows: a numeric column that says as how many rows each row counts in the loss of a task.

They are no part of an encoded example, so that other weights encode nothing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.label_column import LARGEST, number_of, require_column
from manyheads.data.labels import Found, kind_of
from manyheads.data.targets import KnownTarget
from manyheads.errors import DataError, Problem, shown
from manyheads.types import Row


@dataclass(frozen=True, slots=True)
class RowWeights:
    """The column of a task's weights, beside its labels. A row without a label needs no weight."""

    target: KnownTarget
    column: str

    def require(self, rows: Sequence[Row]) -> None:
        """DataError with the nearest column, if no row has this one."""
        require_column(rows, self.column, f"the weights of task {self.target.task}")

    def check(self, row: Row) -> float | None:
        """A row's weight, None where it has no label. DataError for what is no finite number from 0 on."""
        if self.target.lacks(row):
            return None
        value = row.values.get(self.column)
        if value is None or value == "":
            rule = f"the row has a label and no weight in column {shown(self.column)}"
            raise DataError(self.target.problem(row, rule, value, "give it one; 0 leaves the row out of the loss"))
        number = number_of(value)
        if number is None:
            rule = f"a weight in column {shown(self.column)}: expected a number, not {kind_of(value)}"
            raise DataError(self.target.problem(row, rule, value, "write it with digits and a point, such as 0.5"))
        if not abs(number) <= LARGEST:
            raise DataError(self.target.problem(row, "a weight must be finite, in single precision too", value))
        if number < 0:
            raise DataError(self.target.problem(row, "a weight must be at least 0", value))
        return number

    def read(self, rows: Sequence[Row]) -> np.ndarray:
        """(N,) float32, 1 for a row without a label. DataError with all that is wrong, and where no weight is above 0."""
        self.require(rows)
        problems = Found()
        found = [problems.collect(self.check, row) for row in rows]
        problems.check()
        if not any(found):
            rule = f"task {self.target.task}: all weights in column {shown(self.column)} are 0, so nothing would be learned"
            raise DataError(Problem(rule, rows[0].place.path))
        return np.array([1 if weight is None else weight for weight in found], np.float32)
