"""Labels become numbers: one class for each kind of target.

    kind         a row's label                                    its target                 in a batch
    class        text, a whole number, true or false              index of the label         (B,) int64
    multilabel   text with a separator, or a list of labels       0 or 1 for each label      (B, C) float32
    number       a number, or text that spells one                the number                 (B,) float32
    tags         a list of tags, one a word                       index for each word        (B, W) int64
    choice       number or text of the right choice               number from 0              (B,) int64
    answer       answers with their offsets in a text             characters of the first    (B, P, 2) int64, words of windows

A target is frozen: `fit` gives one that knows the labels of the training rows, or keeps those that were declared. A missing
label (null, an absent key, a declared text) has the target None; whatever else does not fit is a DataError at its line.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self, TypeAlias, cast

import pyarrow as pa

from manyheads.data.labels import Found, LabelMap, is_missing, kind_of, label_text
from manyheads.data.read import columns_of
from manyheads.errors import ArtefactError, DataError, Problem, RecipeError, listed, nearest, shown
from manyheads.text.answers import misplaced
from manyheads.text.tags import Scheme, spans
from manyheads.types import IGNORE, Row, Target, Value

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = 3.4028234663852886e38  # of float32; what is larger would train as infinity


class TaskTarget(Protocol):
    """What encoding and the cache know of a target."""

    @property
    def column(self) -> str:
        """The label column."""
        ...

    @property
    def arrow(self) -> pa.DataType:
        """How the cache holds it: int64, float64, a list of int8 of fixed size (multilabel) or a list of int32 (tags)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a row's target."""
        ...

    def target(self, row: Row) -> Target:
        """The target of a row, None where its label is missing. DataError for a label that breaks a rule."""
        ...

    @property
    def terse(self) -> Self:
        """The same without hints in its errors, which take long: for problems that are only counted."""
        ...


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A label column of a task, and the texts in it that mean "no label"."""

    task: str
    column: str
    missing: tuple[str, ...] = field(default=(), kw_only=True)
    kind: ClassVar[str]

    def labelled(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Value]]:
        """The rows that have a label, with it. DataError where the column is not there or no row has a label."""
        require_column(rows, self.column, f"task {self.task}")
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
class _Named(_Labelled):
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


@dataclass(frozen=True, slots=True)
class ClassTarget(_Named):
    """One label a row; the target is its index."""

    kind: ClassVar[str] = "class"
    arrow: ClassVar[pa.DataType] = pa.int64()

    def target(self, row: Row) -> int | None:
        value = row.values.get(self.column)
        return None if is_missing(value, self.missing) else self.index(row, value)


@dataclass(frozen=True, slots=True)
class MultilabelTarget(_Named):
    """Any number of labels a row, as text with a separator or as a list; the target is 0 or 1 for each known label.

    Empty text and an empty list say that no label holds, unless the recipe declares them missing.
    """

    separator: str = field(default="|", kw_only=True)
    kind: ClassVar[str] = "multilabel"

    def target(self, row: Row) -> tuple[int, ...] | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        problems = Found(limit=sys.maxsize)
        held = {problems.collect(self.index, row, part) for part in self.parts(row, value)}
        problems.check()
        return tuple(int(i in held) for i in range(len(self.known)))

    def parts(self, row: Row, value: Value) -> Sequence[Value]:
        if isinstance(value, str):
            return value.split(self.separator) if value else ()
        return value if isinstance(value, Sequence) else (value,)

    @property
    def arrow(self) -> pa.DataType:
        return pa.list_(pa.int8(), len(self.known))


@dataclass(frozen=True, slots=True)
class NumberTarget(_Labelled):
    """A number a row, from `low` to `high`. Text must spell it with a point: `3.5`, `-2`, `1e-3`."""

    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = "number"
    arrow: ClassVar[pa.DataType] = pa.float64()

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself, once `rows` have labels of one type. DataError where they do not."""
        drift, problems = _Drift(self), Found()
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
            comma = isinstance(value, str) and _NUMBER.fullmatch(value.replace(",", ".", 1))
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
class TagTarget(_Named):
    """One tag a word; the target has an index for each word, `IGNORE` for a word whose tag is missing.

    `words` is the column of the words, which the tags must be as long as. `scheme` says what a tag may be; `none`: anything.
    """

    words: str = field(kw_only=True)
    scheme: str = field(default="BIO", kw_only=True)
    kind: ClassVar[str] = "tags"
    arrow: ClassVar[pa.DataType] = pa.list_(pa.int32())

    def target(self, row: Row) -> tuple[int, ...] | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        problems, found = Found(limit=sys.maxsize), []
        for number, tag in enumerate(self._tags(row, value), 1):
            scored = not is_missing(tag, self.missing)
            index = problems.collect(self.index, row, tag, f" (word {number})") if scored else None
            found.append(IGNORE if index is None else index)
        problems.check()
        return tuple(found) if any(index != IGNORE for index in found) else None

    @property
    def always(self) -> tuple[str, ...]:
        """What a tagger says of a word that was cut off."""
        return ("O",) if self.scheme != "none" else ()

    def name(self, row: Row, part: Value) -> str:
        name = _Named.name(self, row, part)  # slots make the class anew, which `super()` would miss
        if self.scheme != "none":
            try:
                spans([name], cast(Scheme, self.scheme))
            except DataError as error:
                raise DataError(self.problem(row, error.problems[0].rule, part)) from None
        return name

    def parts(self, row: Row, value: Value) -> Sequence[Value]:
        return [tag for tag in self._tags(row, value) if not is_missing(tag, self.missing)]

    def _tags(self, row: Row, value: Value) -> Sequence[Value]:
        words = row.values.get(self.words)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise DataError(self.problem(row, f"tags are a list, one a word; found {kind_of(value)}", value))
        if isinstance(words, str) or not isinstance(words, Sequence):
            raise DataError(self.problem(row, f"column {shown(self.words)} must be a list of words", words))
        if len(value) != len(words):
            raise DataError(self.problem(row, f"there are {len(words)} words and {len(value)} tags", value))
        return value


@dataclass(frozen=True, slots=True)
class _Inner(_Labelled):
    """A target that a row's own input tells, without labels to know."""

    def fit(self, rows: Sequence[Row]) -> Self:
        """The target itself. DataError where no row has a label, or one does not fit its row."""
        problems = Found()
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

    def target(self, row: Row) -> int | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        choices = row.values.get(self.choices)
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            raise DataError(self.problem(row, f"column {shown(self.choices)} must be a list of choices", choices))
        if isinstance(value, str) and choices.count(value) == 1:
            return choices.index(value)
        name = label_text(value)
        if name is None or not name.isascii() or not name.isdigit():
            hint = nearest(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else None
            rule = "the label is the number, from 0, or the text of one choice"
            raise DataError(replace(self.problem(row, rule, value), nearest=hint))
        if int(name) >= len(choices):
            raise DataError(self.problem(row, f"the row has {len(choices)} choices, numbered from 0", value))
        return int(name)


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

    def target(self, row: Row) -> dict[str, Any] | None:
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        both = (
            (value.get("text"), value.get("answer_start"))
            if isinstance(value, Mapping)
            else (value, row.values.get(self.starts))
        )
        texts, starts = self._list(row, both[0], "answers"), self._list(row, both[1], "their offsets")
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
        if rule := misplaced(text, start, context if isinstance(context, str) else ""):
            raise DataError(Problem(f"task {self.task}: {rule}", str(row.place)))
        return text, start

    def _list(self, row: Row, value: Any, what: str) -> Sequence[Any]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise DataError(self.problem(row, f"{what} come as a list; found {kind_of(value)}", value))
        return value


KnownTarget: TypeAlias = ClassTarget | MultilabelTarget | NumberTarget | TagTarget | ChoiceTarget | AnswerTarget
_KINDS: dict[str, type[KnownTarget]] = {
    c.kind: c for c in (ClassTarget, MultilabelTarget, NumberTarget, TagTarget, ChoiceTarget, AnswerTarget)
}


def target_from_json(data: object) -> KnownTarget:
    """The target that `to_json` wrote. ArtefactError for another kind, key or type."""
    kind = _KINDS.get(str(data.get("kind"))) if isinstance(data, Mapping) else None
    if kind is None or not isinstance(data, Mapping):
        raise ArtefactError(Problem(f"a target's kind is one of {listed(_KINDS)}", "kind", repr(data)))
    names = {f.name for f in fields(kind)}
    if set(data) != {"kind", *names}:
        rule = f"a target of kind {kind.kind} has the keys {listed(sorted(names))}"
        raise ArtefactError(Problem(rule, value=", ".join(map(str, data))))
    return kind(**{name: _field(name, data[name]) for name in names})


def _field(name: str, value: Any) -> Any:
    """A field of a target as its JSON has it."""
    if name == "labels":
        return None if value is None else LabelMap.from_json(value)
    if name == "missing" and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (number or value is None) if name in ("low", "high") else (isinstance(value, str) and name != "missing"):
        return value
    raise ArtefactError(Problem("a target has a field of another type", name, repr(value)))


def require_column(rows: Sequence[Row], column: str, who: str) -> None:
    """DataError with the columns that there are, if no row has `column`."""
    if not any(column in row.values for row in rows):
        there = columns_of(rows)
        place = rows[0].place.path if rows else ""
        raise DataError(Problem(f"{who}: no such column (there are: {listed(there)})", place, column, nearest(column, there)))


def number_of(value: Value) -> float | None:
    """The number, infinite where it is too large to be one; None for what is no number."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else math.inf


class _Drift:
    """Notices labels of one column that are of several types."""

    def __init__(self, target: _Labelled) -> None:
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

    def __init__(self, target: _Named) -> None:
        self.target = target
        self.drift = _Drift(target)
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
