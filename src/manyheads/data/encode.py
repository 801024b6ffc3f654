"""Rows become examples: text to pieces, labels to targets. Nothing is padded yet."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any

from manyheads.data.inner_targets import HiddenTarget
from manyheads.data.label_column import require_column
from manyheads.data.labels import Found, kind_of
from manyheads.data.read import BadRow
from manyheads.data.row_columns import RowColumn
from manyheads.data.targets import KnownTarget, TaskTarget
from manyheads.errors import DataError, Problem, RecipeError, shown
from manyheads.text.masking import marks_of
from manyheads.text.tokenize import Pieces, Tokenizer
from manyheads.types import Example, Passage, Place, Row, Target, Value

_CHUNK = 1024  # rows that are pieces at one time


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The columns that are the input: a text, a text and its pair, or words; a text and a list of choices to go with it.

    With a `stride` the pair is read through windows that share so many pieces. Before choices a pair leads each of them. Of
    `towers` the text and its pair are sequences of their own.
    """

    text: str | None = None
    pair: str | None = None
    words: str | None = None
    choices: str | None = None
    stride: int | None = None
    towers: bool = False

    def __post_init__(self) -> None:
        if (self.text is None) == (self.words is None):
            raise RecipeError(Problem("the input is either a text column or a column of words", "data"))
        if self.pair is not None and self.text is None:
            raise RecipeError(Problem("a pair needs the column of its first text", "data.pair", self.pair))
        if self.choices is not None and self.text is None:
            raise RecipeError(Problem("choices need the column of the text that they go with", "data.choices", self.choices))

    @property
    def columns(self) -> tuple[str, ...]:
        """The named columns, in the order text, pair, words, choices."""
        return tuple(column for column in (self.text, self.pair, self.words, self.choices) if column is not None)

    @property
    def lists(self) -> tuple[str, ...]:
        """Those that hold lists of texts."""
        return tuple(column for column in (self.words, self.choices) if column is not None)

    @property
    def parts(self) -> bool:
        """Whether a row is several sequences."""
        return self.choices is not None or self.stride is not None or self.towers


def encode(
    rows: Sequence[Row],
    inputs: InputSpec,
    tokenizer: Tokenizer,
    targets: Mapping[str, TaskTarget],
    max_length: int,
    labelled: bool = True,
) -> Iterator[Example]:
    """One example a row, in order. With no targets no label is looked at; `labelled`: each label column must be there.

    All rows are checked before DataError tells what is wrong with any of them; from the first bad row on no more examples
    come.
    """
    _require_columns(rows, inputs, targets if labelled else {})
    problems, marks = Found(), marks_of(tokenizer)
    shares = {task: target.share for task, target in targets.items() if isinstance(target, HiddenTarget)}
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        columns = {c: [problems.collect(_input, row, c, inputs) for row in chunk] for c in inputs.columns}
        labels = {task: _labels(chunk, target, problems) for task, target in targets.items()}
        if problems.count:
            continue
        for i, sequences in enumerate(_tokenize(columns, inputs, tokenizer, max_length)):
            wanted: dict[str, Target] = {task: found[i] for task, found in labels.items()}
            if marks is not None:
                wanted |= {task: marks.hidden(sequences[0].ids, share) for task, share in shares.items()}
            passage = windows_of(chunk[i].values[inputs.pair], sequences) if inputs.pair and inputs.stride is not None else None
            yield _example(sequences, wanted, chunk[i].place, passage, inputs.parts)
    problems.check()


def _example(
    sequences: Sequence[Pieces], targets: Mapping[str, Target], place: Place, passage: Passage | None, parts: bool
) -> Example:
    """The pieces of a row's sequences, one after the other."""
    ids, types, words = (tuple(chain.from_iterable(getattr(s, name) for s in sequences)) for name in ("ids", "types", "words"))
    lengths = tuple(len(s.ids) for s in sequences) if parts else ()
    spelled = tuple(chain.from_iterable(s.spelled for s in sequences))
    return Example(ids, types, words, targets, place, sum(s.cut for s in sequences), lengths, passage, spelled)


def windows_of(text: Value, windows: Sequence[Pieces]) -> Passage:
    """The text that these windows are on, with the characters of each word of theirs."""
    return Passage(str(text), tuple(((0, 0), *(w.offsets[i] for i in w.words[1:])) for w in windows))


def with_choices(text: str, pair: str | None, choices: Sequence[str]) -> tuple[list[str], list[str]]:
    """First and second texts of a row of choices: the text before each, and what comes between in front of the choice."""
    return [text] * len(choices), [choice if pair is None else f"{pair} {choice}" for choice in choices]


def _labels(rows: Sequence[Row], target: TaskTarget, problems: Found) -> list[Target]:
    """The target of each row; a problem that will not be shown comes without the nearest label."""
    terse = target.terse
    return [problems.collect((terse if problems.full else target).target, row) for row in rows]


def sift(
    rows: Sequence[Row],
    inputs: InputSpec,
    targets: Mapping[str, KnownTarget],
    labelled: bool = True,
    beside: Collection[RowColumn[Any]] = (),
) -> tuple[list[Row], list[BadRow]]:
    """The rows whose input, labels, weights and groups hold, and the others, each with the first rule that it breaks.

    Of targets that were not fitted only what a label must be is checked. DataError for a column that no row has, as `encode`.
    """
    _require_columns(rows, inputs, targets if labelled else {})
    for column in beside:
        column.require(rows)
    good: list[Row] = []
    bad: list[BadRow] = []
    rules = [target.terse for target in targets.values()]  # what is kept of a problem has no hint
    for row in rows:
        try:
            for name in inputs.columns:
                _input(row, name, inputs)
            for target in rules:
                target.check(row)
            for column in beside:
                column.check(row)
        except DataError as error:
            bad.append(_bad(row, error.problems[0]))
        else:
            good.append(row)
    return good, bad


def _bad(row: Row, problem: Problem) -> BadRow:
    found = "" if problem.value is None else f"; found {shown(problem.value)}"
    return BadRow(row.place, problem.rule + found, json.dumps(row.values, default=str, ensure_ascii=False))


def _require_columns(rows: Sequence[Row], inputs: InputSpec, targets: Mapping[str, TaskTarget]) -> None:
    problems = Found()
    for column in inputs.columns:
        problems.collect(require_column, rows, column, "the input")
    for target in targets.values():
        problems.collect(target.require, rows)
    problems.check()


def _tokenize(
    columns: Mapping[str, Sequence[Any]], inputs: InputSpec, tokenizer: Tokenizer, max_length: int
) -> list[tuple[Pieces, ...]]:
    """Checked columns as pieces, those of each sequence of a row."""
    if inputs.words is not None:
        return [(pieces,) for pieces in tokenizer.encode_words(columns[inputs.words], max_length)]
    texts = columns[inputs.text or ""]
    pairs = columns[inputs.pair] if inputs.pair is not None else None
    if inputs.choices is not None:
        lists = columns[inputs.choices]
        both = [with_choices(*row) for row in zip(texts, pairs or repeat(None), lists, strict=pairs is not None)]
        firsts, seconds = (list(chain.from_iterable(side)) for side in zip(*both, strict=True))
        found = iter(tokenizer.encode_texts(firsts, seconds, max_length))
        return [tuple(islice(found, len(choices))) for choices in lists]
    if pairs is not None and inputs.towers:
        return list(zip(*(tokenizer.encode_texts(side, None, max_length) for side in (texts, pairs)), strict=True))
    if pairs is not None and inputs.stride is not None:
        return tokenizer.encode_windows(texts, pairs, max_length, inputs.stride)
    return [(pieces,) for pieces in tokenizer.encode_texts(texts, pairs, max_length)]


def _input(row: Row, column: str, inputs: InputSpec) -> Value:
    """The text, or the list of texts, in a column. DataError for anything else; empty text is a text."""
    if column not in row.values:
        raise DataError(Problem(f"the row has no column {shown(column)}", str(row.place)))
    value = row.values[column]
    if column not in inputs.lists:
        _check_text(value, row, f"column {shown(column)} must be text")
        return value
    item = "word" if column == inputs.words else "choice"
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(f"column {shown(column)} must be a list of {item}s", row, value)
    if not value:
        raise DataError(Problem(f"column {shown(column)} holds no {item}", str(row.place)))
    if item == "choice" and len(value) < 2:
        raise DataError(
            Problem(f"column {shown(column)} holds one choice; a row needs two or more", str(row.place), str(value[0]))
        )
    for number, text in enumerate(value, 1):
        _check_text(text, row, f"{item} {number} in column {shown(column)} must be text")
    return value


def _check_text(value: Value, row: Row, rule: str) -> None:
    if not isinstance(value, str):
        raise _wrong(rule, row, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(Problem(f"{rule}, without halves of surrogate pairs", str(row.place), value)) from None


def _wrong(rule: str, row: Row, value: Value) -> DataError:
    return DataError(Problem(f"{rule}, not {kind_of(value)}", str(row.place), None if value is None else str(value)))
