"""Targets that a row's own input tells: a right choice, an order, where an answer stands, the words beside or hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import pyarrow as pa

from manyheads.data.label_column import LARGEST, Labelled, number_of, require_column
from manyheads.data.labels import Found, is_blank, is_missing, kind_of, label_text
from manyheads.errors import DataError, Problem, nearest, shown
from manyheads.text.answers import misplaced
from manyheads.types import Row, Target, Value

_LISTS = "the cells of csv and tsv are texts; jsonl, json and Parquet hold lists"


@dataclass(frozen=True, slots=True)
class _Inner(Labelled):
    """A target that a row's own input tells, without labels to know."""

    @property
    def input(self) -> str:
        """The column that the label is about."""
        raise NotImplementedError

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself. DataError where a column is not there, no row has a label, or one does not fit its row."""
        problems = Found()
        require_column(rows, self.input, "the input")
        for row, _ in self.labelled(rows):
            problems.collect(self.check, row)
        problems.check()
        return self

    @property
    def terse(self) -> Self:
        return self

    def check(self, row: Row) -> None:
        """DataError for a label that does not fit the row."""
        self.target(row)

    def target(self, row: Row) -> Target:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ChoiceTarget(_Inner):
    """The right one of a row's choices: its number from 0, or its text; `choices` is the column of the choices.

    Text is looked for among the choices first, and then read as a number.
    """

    choices: str = field(kw_only=True)
    kind: ClassVar[str] = "choice"
    arrow: ClassVar[pa.DataType] = pa.int64()

    @property
    def input(self) -> str:
        return self.choices

    def candidates(self, row: Row) -> Sequence[Value]:
        """The row's choices. DataError for what is no list."""
        choices = row.values.get(self.choices)
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            rule = f"column {shown(self.choices)} must be a list of choices"
            raise DataError(self.problem(row, rule, choices, _LISTS if isinstance(choices, str) else ""))
        return choices

    def target(self, row: Row) -> Target:
        return self.index(row)

    def index(self, row: Row) -> int | None:
        """The number of the right choice, None where the label is missing."""
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        choices = self.candidates(row)
        if isinstance(value, str) and choices.count(value) == 1:
            return choices.index(value)
        name = label_text(value)
        if name in choices and not str(name).isdigit():
            rule = "several choices have this text; name the right one by its number, from 0"
            raise DataError(self.problem(row, rule, value))
        if name is None or not name.isascii() or not name.isdigit():
            hint = nearest(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else None
            rule = "the label is the number, from 0, or the text of one choice"
            raise DataError(replace(self.problem(row, rule, value), nearest=hint))
        if int(name) >= len(choices):
            raise DataError(self.problem(row, f"the row has {len(choices)} choices, numbered from 0", value))
        return int(name)


@dataclass(frozen=True, slots=True)
class RelevanceTarget(ChoiceTarget):
    """How relevant each of a row's candidates is, numbers from 0 on; or the one relevant candidate, as of a `ChoiceTarget`.

    Candidates that are all alike have no order: their row has no target.
    """

    kind: ClassVar[str] = "relevances"
    arrow: ClassVar[pa.DataType] = pa.list_(pa.float32())

    def fit(self, rows: Sequence[Row]) -> Self:
        """As of other targets; DataError where no row has two candidates that differ in relevance, too."""
        found = _Inner.fit(self, rows)  # slots make the class anew, which `super()` would miss
        if all(self.target(row) is None for row in rows):
            rule = f"task {self.task}: no row has two candidates that differ in relevance, so there is no order to learn"
            raise DataError(Problem(rule, rows[0].place.path))
        return found

    def target(self, row: Row) -> tuple[float, ...] | None:
        value = row.values.get(self.column)
        if isinstance(value, str) or not isinstance(value, Sequence):
            one = self.index(row)
            return None if one is None else tuple(float(i == one) for i in range(len(self.candidates(row))))
        candidates = self.candidates(row)
        if len(value) != len(candidates):
            raise DataError(self.problem(row, f"there are {len(candidates)} candidates and {len(value)} relevances", value))
        found = tuple(self._relevance(row, entry) for entry in value)
        return found if len(set(found)) > 1 else None

    def _relevance(self, row: Row, value: Value) -> float:
        number = number_of(value)
        if number is None or not 0 <= number <= LARGEST:
            raise DataError(self.problem(row, "a relevance is a finite number from 0 on", value))
        return number


NO_ANSWER: Mapping[str, Any] = {"start": -1, "stop": -1, "accepted": []}


@dataclass(frozen=True, slots=True)
class AnswerTarget(_Inner):
    """Answers that stand in the text of column `context`: texts, with the offset of each in column `starts`.

    The label column may also hold both, as the hub's data sets do: an object with `text` and `answer_start`. No answer at all
    says that there is none to be found; `null`, that none is known.
    """

    context: str = field(kw_only=True)
    starts: str = field(default="starts", kw_only=True)
    kind: ClassVar[str] = "answer"
    arrow: ClassVar[pa.DataType] = pa.struct({"start": pa.int32(), "stop": pa.int32(), "accepted": pa.list_(pa.string())})

    @property
    def input(self) -> str:
        return self.context

    def target(self, row: Row) -> dict[str, Any] | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        if isinstance(value, Mapping):
            both, where = (value.get("text"), value.get("answer_start")), "`answer_start`"
        else:
            both, where = (value, row.values.get(self.starts)), f"column {shown(self.starts)}"
        texts, starts = self._list(row, both[0], "answers"), self._list(row, both[1], f"their offsets, in {where},")
        if len(texts) != len(starts):
            raise DataError(self.problem(row, f"there are {len(texts)} answers and {len(starts)} offsets", value))
        found = [self._answer(row, *pair) for pair in zip(texts, starts, strict=True)]
        if not found:
            return dict(NO_ANSWER)
        (first, start), accepted = found[0], dict.fromkeys(text for text, _ in found)
        return {"start": start, "stop": start + len(first), "accepted": list(accepted)}

    def _answer(self, row: Row, text: Value, start: Value) -> tuple[str, int]:
        """An answer that stands where it is said to."""
        context = row.values.get(self.context)
        if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
            raise DataError(self.problem(row, "an answer is a text, and its offset a whole number", [text, start]))
        if not isinstance(context, str):
            raise DataError(self.problem(row, f"column {shown(self.context)} must be text; found {kind_of(context)}", context))
        if rule := misplaced(text, start, context):
            raise DataError(Problem(f"task {self.task}: {rule}", str(row.place)))
        return text, start

    def _list(self, row: Row, value: Any, what: str) -> Sequence[Any]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            rule = f"{what} come as a list; found {kind_of(value)}"
            raise DataError(self.problem(row, rule, value, _LISTS if isinstance(value, str) else ""))
        return value


DIRECTIONS: Mapping[str, int] = {"forward": 1, "backward": 2, "both": 3}  # as `manyheads.data.columns.Neighbours` counts sides


@dataclass(frozen=True, slots=True)
class NeighbourTarget(_Inner):
    """The word behind each word of a text, before it, or both; the column is that of the input.

    Only a row without a word lacks it, unless all rows are one text (`joined`), in which such a row is an end.
    """

    direction: str = field(default="forward", kw_only=True)
    joined: bool = field(default=False, kw_only=True)
    kind: ClassVar[str] = "neighbours"
    arrow: ClassVar[pa.DataType] = pa.uint8()

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself; what is no text is told when rows are encoded."""
        return self

    def target(self, row: Row) -> int | None:
        return None if is_blank(row.values.get(self.column)) and not self.joined else DIRECTIONS[self.direction]


@dataclass(frozen=True, slots=True)
class HiddenTarget(_Inner):
    """How many pieces of a text are hidden, of which `share` is the part; the column is that of the input.

    Pieces are known once a row is encoded, which counts them (`manyheads.data.encode`).
    """

    share: float = field(default=0.15, kw_only=True)
    kind: ClassVar[str] = "hidden"
    arrow: ClassVar[pa.DataType] = pa.uint16()

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself; what is no text is told when rows are encoded."""
        return self

    def target(self, row: Row) -> None:
        return None
