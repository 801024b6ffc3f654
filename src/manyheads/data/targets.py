"""Labels become numbers: one class for each kind of target.

    kind         a row's label                                    its target                 in a batch
    class        text, a whole number, true or false              index of the label         (B,) int64
                 probabilities of labels, where they are soft     those of all labels        (B, C) float32
    binary       as class, of two labels                          that of the second label   (B, 1) float32
    multilabel   text with a separator, or a list of labels       0 or 1 for each label      (B, C) float32
    number       a number, or text that spells one                the number                 (B,) float32
    likeness     a number, or none where all pairs are alike      the cosine that it means   (B,) float32
    tags         a list of tags, one a word                       index for each word        (B, W) int64
    choice       number or text of the right choice               number from 0              (B,) int64
    relevances   relevances, or the one relevant choice           one for each choice        (B, P) float32
    answer       answers with their offsets in a text             characters of the first    (B, P, 2) int64, words of windows
    neighbours   none: the words of the text itself               which sides are told       (B, T, 1 or 2) int64, words
    hidden       none                                             how many pieces are hidden (B, M) int64, 0 for each of them

A target is frozen: `fit` gives one that knows the labels of the training rows, or keeps those that were declared. A missing
label (null, an absent key, a declared text) has the target None; whatever else does not fit is a DataError at its line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self, TypeAlias, cast

import pyarrow as pa

from manyheads.data.inner_targets import AnswerTarget, ChoiceTarget, HiddenTarget, NeighbourTarget, RelevanceTarget
from manyheads.data.label_column import Named
from manyheads.data.labels import Found, LabelMap, is_missing, kind_of
from manyheads.data.number_target import LikenessTarget, NumberTarget
from manyheads.data.soft import is_soft, probabilities
from manyheads.errors import ArtefactError, DataError, Problem, RecipeError, listed, nearest, shown
from manyheads.text.tags import Scheme, spans
from manyheads.types import IGNORE, Row, Target, Value


class TaskTarget(Protocol):
    """What encoding and the cache know of a target."""

    @property
    def column(self) -> str:
        """The label column."""
        ...

    @property
    def arrow(self) -> pa.DataType:
        """How the cache holds it: int64, float64, a list of int8 or float32 of fixed size (labels), of int32, of float32."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a row's target."""
        ...

    def require(self, rows: Sequence[Row]) -> None:
        """DataError where the rows must have the label column and none has it."""
        ...

    def target(self, row: Row) -> Target:
        """The target of a row, None where its label is missing. DataError for a label that breaks a rule."""
        ...

    @property
    def terse(self) -> Self:
        """The same without hints in its errors, which take long: for problems that are only counted."""
        ...


@dataclass(frozen=True, slots=True)
class ClassTarget(Named):
    """One label a row; the target is its index.

    `soft`: a label may also say how likely each label is (`manyheads.data.soft`); the target is then a probability for each
    label, of one label by itself 1. `order` has the declared labels as the recipe has them, for probabilities in a list.
    """

    soft: bool = field(default=False, kw_only=True)
    order: tuple[str, ...] = field(default=(), kw_only=True)
    kind: ClassVar[str] = "class"

    @property
    def arrow(self) -> pa.DataType:
        return pa.list_(pa.float32(), len(self.known)) if self.soft else pa.int64()

    def target(self, row: Row) -> int | tuple[float, ...] | None:
        if self.soft:
            return self.shares(row)
        value = row.values.get(self.column)
        return None if is_missing(value, self.missing) else self.index(row, value)

    def shares(self, row: Row) -> tuple[float, ...] | None:
        """How likely each label is: soft labels as they are, 1 for the label of a row that has one. As `target` otherwise."""
        value = row.values.get(self.column)
        if is_missing(value, self.missing):
            return None
        problems = Found(limit=sys.maxsize)
        given = self._given(row, value)
        held = {problems.collect(self.index, row, part): share for part, share in given}
        problems.check()
        return tuple(held.get(i, 0.0) for i in range(len(self.known)))

    def parts(self, row: Row, value: Value) -> Sequence[Value]:
        return [part for part, _ in self._given(row, value)]

    def _given(self, row: Row, value: Value) -> Sequence[tuple[Value, float]]:
        """The labels that a row names, with their probabilities. DataError where these break a rule."""
        if not is_soft(value):
            return [(value, 1.0)]
        if not self.soft:
            remedy = "where labels have probabilities, set `soft_labels: true`"
            raise DataError(self.problem(row, "a label is text, a whole number, true or false", value, remedy))
        try:
            return list(probabilities(value, self.order).items())
        except ValueError as error:
            raise DataError(self.problem(row, str(error), value)) from None


@dataclass(frozen=True, slots=True)
class BinaryTarget(ClassTarget):
    """One of two labels a row; the target is how likely the second is, 0 or 1 unless labels are soft.

    `positive` is the second label; None: the second of the sorted ones.
    """

    positive: str | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = "binary"

    @property
    def arrow(self) -> pa.DataType:
        return pa.list_(pa.float32(), 1)

    def target(self, row: Row) -> tuple[float, ...] | None:
        shares = self.shares(row)
        return None if shares is None else shares[1:]

    def fit(self, rows: Sequence[Row]) -> Self:
        """As of other targets; the positive label comes second.

        DataError with the first row of a third label, and for one label alone; RecipeError for a positive label that is not
        among the two.
        """
        found = ClassTarget.fit(self, rows)  # slots make the class anew, which `super()` would miss
        names = found.known.names
        if len(names) != 2:
            raise DataError(self._not_two(rows, names))
        if self.positive not in (None, *names):
            place = f"tasks.{self.task}.positive"
            rule = f"no label is called this; there are {listed(names)}"
            raise RecipeError(Problem(rule, place, self.positive, nearest(str(self.positive), names)))
        return replace(found, labels=LabelMap(names[::-1] if self.positive == names[0] else names))

    def _not_two(self, rows: Sequence[Row], names: Sequence[str]) -> Problem:
        seen: list[str] = []
        for row, value in self.labelled(rows):
            for part in self.parts(row, value):
                name = self.name(row, part)
                if name not in seen and len(seen) == 2:
                    rule = f"a binary task has two labels, here {listed(seen)}, and this is a third"
                    return self.problem(row, rule, name, "correct the row, or write `type: classification`")
                seen += [name] if name not in seen else []
        rule = f"task {self.task}: a binary task has two labels, and the training rows have only {listed(names)}"
        return Problem(rule, rows[0].place.path, remedy="name both under `labels`")


@dataclass(frozen=True, slots=True)
class MultilabelTarget(Named):
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
class TagTarget(Named):
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
        name = Named.name(self, row, part)  # slots make the class anew, which `super()` would miss
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


KnownTarget: TypeAlias = (
    ClassTarget | MultilabelTarget | NumberTarget | TagTarget | ChoiceTarget | AnswerTarget | NeighbourTarget | HiddenTarget
)
_ALL: tuple[type[KnownTarget], ...] = (
    BinaryTarget, ClassTarget, MultilabelTarget, NumberTarget, LikenessTarget, TagTarget, ChoiceTarget, RelevanceTarget,
    AnswerTarget, NeighbourTarget, HiddenTarget,
)  # fmt: skip
_KINDS = {made.kind: made for made in _ALL}


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
    if name in ("missing", "order"):
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return tuple(value)
    elif name in ("low", "high", "bottom"):
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
    elif name == "share":
        if isinstance(value, float) and 0 < value <= 1:
            return value
    elif isinstance(value, bool if name in ("soft", "bare", "joined") else str) or (name == "positive" and value is None):
        return value
    raise ArtefactError(Problem("a target has a field of another type", name, repr(value)))
