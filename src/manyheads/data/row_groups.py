"""Groups of rows: a column that the rows of one question or one document share, for scores of whole groups.

They are no part of an encoded example, so that other groups encode nothing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.label_column import require_column
from manyheads.data.labels import Found, kind_of, label_text
from manyheads.data.targets import KnownTarget
from manyheads.errors import DataError, shown
from manyheads.types import Row


@dataclass(frozen=True, slots=True)
class RowGroups:
    """The column of a task's groups, beside its labels. A row without a label needs no group."""

    target: KnownTarget
    column: str

    def require(self, rows: Sequence[Row]) -> None:
        """DataError with the nearest column, if no row has this one."""
        require_column(rows, self.column, f"the groups of task {self.target.task}")

    def check(self, row: Row) -> str:
        """A row's group, nothing where it has no label. DataError for what is no name of one."""
        if self.target.lacks(row):
            return ""
        value = row.values.get(self.column)
        if name := label_text(value):
            return name
        if value is None or value == "":
            rule = f"the row has a label and no group in column {shown(self.column)}"
        else:
            rule = f"a group in column {shown(self.column)}: expected a text or a whole number, not {kind_of(value)}"
        raise DataError(self.target.problem(row, rule, value))

    def read(self, rows: Sequence[Row]) -> np.ndarray:
        """(N,) texts. DataError with all that is wrong."""
        self.require(rows)
        problems = Found()
        found = [problems.collect(self.check, row) for row in rows]
        problems.check()
        return np.array(found, object)
