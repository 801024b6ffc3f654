"""A column of labels: which rows have one, what their names are, and values that are no labels or of several types."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from manyheads.data.labels import Found, LabelMap, is_missing, kind_of, label_text
from manyheads.data.read import columns_of
from manyheads.errors import DataError, Problem, RecipeError, listed, nearest, shown
from manyheads.types import Row, Value

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = 3.4028234663852886e38  # of float32; what is larger would train as infinity


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label column of a task, and the texts in it that mean "no label"."""

    task: str
    column: str
    missing: tuple[str, ...] = field(default=(), kw_only=True)
    kind: ClassVar[str]

    def require(self, rows: Sequence[Row]) -> None:
        """DataError with the columns that there are, if no row has the label column."""
        require_column(rows, self.column, f"task {self.task}")

    def lacks(self, row: Row) -> bool:
        """Whether the row has no label."""
        return is_missing(row.values.get(self.column), self.missing)

    def labelled(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Value]]:
        """The rows that have a label, with it. DataError where the column is not there or no row has a label."""
        self.require(rows)
        empty = True
        for row in rows:
            value = row.values.get(self.column)
            if not is_missing(value, self.missing):
                empty = False
                yield row, value
        if empty:
            raise DataError(Problem(f"task {self.task}: no row has a label in column {shown(self.column)}", rows[0].place.path))

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All of the target, for `target_from_json`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"kind": self.kind, **{n: v.to_json() if isinstance(v, LabelMap) else v for n, v in values.items()}}

    def problem(self, row: Row, rule: str, value: Value, remedy: str = "") -> Problem:
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        return Problem(f"task {self.task}: {rule}", str(row.place), text, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Named(Labelled):
    """A target whose labels have names; `labels` is None until they are declared or fitted."""

    labels: LabelMap | None = field(default=None, kw_only=True)

    @property
    def always(self) -> tuple[str, ...]:
        """Labels that there are whether or not a row has them."""
        return ()

    def parts(self, row: Row, value: Value) -> Sequence[Value]:
        """The single labels of a row."""
        return (value,)

    def name(self, row: Row, part: Value) -> str:
        """The name of one label, known or not. DataError for what is no label, or an empty one."""
        name = label_text(part)
        if name is None:
            raise DataError(self.problem(row, "a label is text, a whole number, true or false", part))
        if not name:
            remedy = 'if it means "no label", set `missing: [""]`'
            raise DataError(self.problem(row, "a label is empty", part, remedy))
        return name

    def check(self, row: Row) -> None:
        """DataError for a label that breaks a rule; before `fit` that is what can be told from the row alone."""
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return
        for part in self.parts(row, value):
            self.name(row, part)
            if self.labels is not None:
                self.index(row, part)

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target with the labels of `rows`, or with the declared ones, sorted. Span tags always have `O`, which leads.

        DataError for values that are no labels, for values of several types, and where no row has a label.
        """
        names, problems = _Names(self), Found()
        for row, value in self.labelled(rows):
            problems.collect(names.add, row, value)
        problems.check()
        known = names.found if self.labels is None else {*self.labels.names}
        return replace(self, labels=LabelMap.fit({*known, *self.always}, "O" if self.kind == "tags" else None))

    @property
    def terse(self) -> Self:
        return self if self.labels is None else replace(self, labels=replace(self.labels, hints=False))

    @property
    def known(self) -> LabelMap:
        """The labels. RecipeError before there are any."""
        if self.labels is None:
            raise RecipeError(Problem("the labels are not known yet: declare them, or call `fit` first", self.task))
        return self.labels

    def index(self, row: Row, part: Value, where: str = "") -> int:
        """Index of one label. DataError if it is no label, or not a known one."""
        name = label_text(part)
        if name is None:
            raise DataError(self.problem(row, f"a label is text, a whole number, true or false{where}", part))
        return self.known.index(name, str(row.place), f"task {self.task}: the label is not in the schema{where}")


def require_column(rows: Sequence[Row], column: str, who: str) -> None:
    """DataError with the columns that there are, if no row has `column`."""
    if not any(column in row.values for row in rows):
        there = columns_of(rows)
        place = rows[0].place.path if rows else ""
        raise DataError(Problem(f"{who}: no such column (there are: {listed(there)})", place, column, nearest(column, there)))


def number_of(value: Value) -> float | None:
    """The number, infinite where it is too large to be one; None for what is no number."""
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else math.inf


class Drift:
    """Notices labels of one column that are of several types."""

    def __init__(self, target: Labelled) -> None:
        self.target = target
        self.seen: dict[str, Row] = {}

    def see(self, row: Row, value: Value) -> None:
        """DataError at the first value of each further type."""
        kind = kind_of(value)
        if kind in self.seen:
            return
        self.seen[kind] = row
        if len(self.seen) > 1:
            before, place = next((k, str(r.place)) for k, r in self.seen.items())
            rule = f"labels in column {shown(self.target.column)} are {before} at {place} and {kind} here"
            raise DataError(self.target.problem(row, rule, value, "write all labels of a column as one type"))


class _Names:
    """Names of labels, each checked when it is first seen."""

    def __init__(self, target: Named) -> None:
        self.target = target
        self.drift = Drift(target)
        self.seen: set[tuple[type, Value]] = set()
        self.found: set[str] = set()

    def add(self, row: Row, value: Value) -> None:
        problems = Found(limit=sys.maxsize)
        for part in self.target.parts(row, value):
            scalar = isinstance(part, str | int | float)
            if scalar and (type(part), part) in self.seen:
                continue
            problems.collect(self._check, row, part)
            if scalar:
                self.seen.add((type(part), part))
        problems.check()

    def _check(self, row: Row, part: Value) -> None:
        self.found.add(self.target.name(row, part))
        self.drift.see(row, part)
