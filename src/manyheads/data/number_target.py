"""Targets that are numbers: a number as it is, or the cosine that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import pyarrow as pa

from manyheads.data.label_column import LARGEST, NUMBER, Drift, Labelled, number_of
from manyheads.data.labels import Found, is_missing
from manyheads.errors import DataError
from manyheads.types import Row


@dataclass(frozen=True, slots=True)
class NumberTarget(Labelled):
    """A number a row, from `low` to `high`. Text must spell it with a point: `3.5`, `-2`, `1e-3`."""

    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = "number"
    arrow: ClassVar[pa.DataType] = pa.float64()

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself, once `rows` have labels of one type. DataError where they do not."""
        drift, problems = Drift(self), Found()
        for row, value in self.labelled(rows):
            problems.collect(drift.see, row, value)
        problems.check()
        return self

    @property
    def terse(self) -> Self:
        return self

    def check(self, row: Row) -> None:
        """DataError for a label that is no such number."""
        self.target(row)

    def target(self, row: Row) -> float | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        number = number_of(value)
        if number is None:
            comma = isinstance(value, str) and NUMBER.fullmatch(value.replace(",", ".", 1))
            remedy = "write a point, not a comma" if comma else 'texts that mean "no label" are declared under `missing`'
            raise DataError(self.problem(row, "a number is wanted", value, remedy))
        if not abs(number) <= LARGEST:
            raise DataError(self.problem(row, "a number must be finite, in single precision too", value))
        if self.low is not None and number < self.low:
            raise DataError(self.problem(row, f"a number must be at least {self.low}", value))
        if self.high is not None and number > self.high:
            raise DataError(self.problem(row, f"a number must be at most {self.high}", value))
        return number


@dataclass(frozen=True, slots=True)
class LikenessTarget(NumberTarget):
    """How alike two texts are, a number from `low` to `high`; the target is the cosine it means, from `bottom` to 1.

    `bare`: rows need not have the column, and those that do not have it are pairs that belong together: their target is 1.
    """

    bottom: float = field(default=0.0, kw_only=True)
    bare: bool = field(default=False, kw_only=True)
    kind: ClassVar[str] = "likeness"

    def require(self, rows: Sequence[Row]) -> None:
        if not self.bare:
            Labelled.require(self, rows)  # slots make the class anew, which `super()` would miss

    def lacks(self, row: Row) -> bool:
        return Labelled.lacks(self, row) and not (self.bare and self.column not in row.values)

    def fit(self, rows: Sequence[Row]) -> Self:
        found = [row for row in rows if self.column in row.values] if self.bare else rows
        return NumberTarget.fit(self, found) if found else self

    def target(self, row: Row) -> float | None:
        if self.bare and self.column not in row.values:
            return 1.0
        number = NumberTarget.target(self, row)
        return None if number is None else self.cosine(number)

    def cosine(self, label: float) -> float:
        """What a label stands for.

        >>> LikenessTarget("sts", "score", low=0, high=5, bottom=-1).cosine(2.5)
        0.0
        """
        low, high = self.low or 0.0, 1.0 if self.high is None else self.high
        return self.bottom + (1 - self.bottom) * (label - low) / (high - low)
