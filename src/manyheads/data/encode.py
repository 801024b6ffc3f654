"""Rows become examples: text to pieces, labels to targets. Nothing is padded yet."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from manyheads.data.label_column import require_column
from manyheads.data.labels import Found, kind_of
from manyheads.data.read import BadRow
from manyheads.data.row_weights import RowWeights
from manyheads.data.targets import KnownTarget, TaskTarget
from manyheads.errors import DataError, Problem, RecipeError, shown
from manyheads.text.tokenize import Pieces, Tokenizer
from manyheads.types import Example, Row, Target, Value

_CHUNK = 1024  # rows that are pieces at one time


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The columns that are the input: a text, a text and its pair, or words."""

    text: str | None = None
    pair: str | None = None
    words: str | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.words is None):
            raise RecipeError(Problem("the input is either a text column or a column of words", "data"))
        if self.pair is not None and self.text is None:
            raise RecipeError(Problem("a pair needs the column of its first text", "data.pair", self.pair))

    @property
    def columns(self) -> tuple[str, ...]:
        """The named columns, in the order text, pair, words."""
        return tuple(column for column in (self.text, self.pair, self.words) if column is not None)


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
    problems = Found()
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        columns = [[problems.collect(_input, row, c, c == inputs.words) for row in chunk] for c in inputs.columns]
        labels = {task: _labels(chunk, target, problems) for task, target in targets.items()}
        if problems.count:
            continue
        for i, pieces in enumerate(_tokenize(columns, inputs, tokenizer, max_length)):
            wanted: dict[str, Target] = {task: found[i] for task, found in labels.items()}
            yield Example(pieces.ids, pieces.types, pieces.words, wanted, chunk[i].place, pieces.cut)
    problems.check()


def _labels(rows: Sequence[Row], target: TaskTarget, problems: Found) -> list[Target]:
    """The target of each row; a problem that will not be shown comes without the nearest label."""
    terse = target.terse
    return [problems.collect((terse if problems.full else target).target, row) for row in rows]


def sift(
    rows: Sequence[Row],
    inputs: InputSpec,
    targets: Mapping[str, KnownTarget],
    labelled: bool = True,
    weights: Collection[RowWeights] = (),
) -> tuple[list[Row], list[BadRow]]:
    """The rows whose input, labels and weights hold, and the others, each with the first rule that it breaks.

    Of targets that were not fitted only what a label must be is checked. DataError for a column that no row has, as `encode`.
    """
    _require_columns(rows, inputs, targets if labelled else {})
    for column in weights:
        column.require(rows)
    good: list[Row] = []
    bad: list[BadRow] = []
    rules = [target.terse for target in targets.values()]  # what is kept of a problem has no hint
    for row in rows:
        try:
            for name in inputs.columns:
                _input(row, name, name == inputs.words)
            for target in rules:
                target.check(row)
            for weight in weights:
                weight.weight(row)
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
    for task, target in targets.items():
        problems.collect(require_column, rows, target.column, f"task {task}")
    problems.check()


def _tokenize(columns: Sequence[Sequence[Value]], inputs: InputSpec, tokenizer: Tokenizer, max_length: int) -> list[Pieces]:
    """Checked columns as pieces."""
    if inputs.words is not None:
        return tokenizer.encode_words(columns[0], max_length)  # type: ignore[arg-type]  # `_input` made sure
    pairs = columns[1] if inputs.pair is not None else None
    return tokenizer.encode_texts(columns[0], pairs, max_length)  # type: ignore[arg-type]  # as above


def _input(row: Row, column: str, words: bool) -> Value:
    """The text, or the list of words, in a column. DataError for anything else; empty text is a text."""
    if column not in row.values:
        raise DataError(Problem(f"the row has no column {shown(column)}", str(row.place)))
    value = row.values[column]
    if not words:
        _check_text(value, row, f"column {shown(column)} must be text")
        return value
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(f"column {shown(column)} must be a list of words", row, value)
    if not value:
        raise DataError(Problem(f"column {shown(column)} holds no word", str(row.place)))
    for number, word in enumerate(value, 1):
        _check_text(word, row, f"word {number} in column {shown(column)} must be text")
    return value


def _check_text(value: Value, row: Row, rule: str) -> None:
    if not isinstance(value, str):
        raise _wrong(rule, row, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(Problem(f"{rule}, without halves of surrogate pairs", str(row.place), value)) from None


def _wrong(rule: str, row: Row, value: Value) -> DataError:
    return DataError(Problem(f"{rule}, not {kind_of(value)}", str(row.place), str(value)))
