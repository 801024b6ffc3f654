"""CoNLL columns: a word a line, a blank line after each sentence. A row is a sentence; each column is a list of strings.

Where a line holds a tab, tabs alone part its columns; else runs of spaces do (a no-break space is part of a word). A line of
spaces and tabs is blank. The first line of a word fixes how many columns the file has; a sentence with a line of another
number, or with an empty column, is a bad row at that line. `-DOCSTART-` lines are no words.

Before the first word of a sentence, a line that begins with "# " is a comment unless it has the columns of a word, parted in
the same way. In files like CoNLL-U (most sentences number their words 1, 2, 3 in the first of three or more columns), lines of
ranges (`1-2`) and of empty nodes (`1.1`) are left out, and a sentence that counts otherwise is a bad row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, FileFact, Rows, Source
from manyheads.data.readers.decode import lines, read_text
from manyheads.errors import DataError, Problem
from manyheads.types import Place, Row

_SPACES = re.compile(" +")
NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # the number of a range or of an empty node
_DOCUMENT = "-DOCSTART-"


@dataclass(slots=True)
class _Sentence:
    """The words of a sentence, with the line of each, and the first fault that was met."""

    words: list[list[str]] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    fault: tuple[int, str] | None = None


@READERS.register("conll")
def read_conll(source: Source, spec: DataSpec) -> Rows:
    """A row a sentence: the columns that `columns` names from the left, or `words` (the first) and `tags` (the last)."""
    text, fact = read_text(source, spec.encoding)
    parts = lines(text)
    first = _first_word(parts)
    if first is None:
        return Rows([], (), (fact,))
    sentences = list(_sentences(parts, parts[first]))
    width = len(_cells(parts[first]))
    numbered = width >= 3 and 2 * sum(counts(s.words) for s in sentences) > len(sentences)
    if numbered:
        for sentence in sentences:
            _leave_words(sentence)
    names = _names(spec, width, numbered, Place(source.name, first + 1))
    return _rows(sentences, names, parts, source, fact)


def _rows(sentences: list[_Sentence], names: dict[str, int], parts: list[str], source: Source, fact: FileFact) -> Rows:
    rows: list[Row] = []
    bad: list[BadRow] = []
    for sentence in sentences:
        if sentence.fault:
            line, rule = sentence.fault
            sample = "\n".join(parts[sentence.at[0] - 1 : sentence.at[-1]])
            bad.append(BadRow(Place(source.name, line), rule, sample))
        else:
            values = {name: [word[column] for word in sentence.words] for name, column in names.items()}
            rows.append(Row(values, Place(source.name, sentence.at[0])))
    return Rows(rows, tuple(bad), (fact,))


def _sentences(parts: Sequence[str], model: str) -> Iterator[_Sentence]:
    """The file in sentences. `model` is the line of a word that the others must look like."""
    tabs, width = "\t" in model, len(_cells(model))
    sentence = _Sentence()
    for number, line in enumerate([*parts, ""], 1):
        if not line.strip(" \t") or _is_document(line):
            if sentence.words:
                yield sentence
            sentence = _Sentence()
            continue
        cells = _cells(line)
        if not sentence.words and line.startswith("# ") and (("\t" in line) != tabs or len(cells) != width):
            continue
        sentence.words.append(cells)
        sentence.at.append(number)
        if sentence.fault is None and (rule := _fault(cells, width)):
            sentence.fault = (number, rule)


def _fault(cells: list[str], width: int) -> str:
    if len(cells) != width:
        return f"a line of {width} columns is expected, this one has {len(cells)}"
    return f"column {cells.index('') + 1} is empty" if "" in cells else ""


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else _SPACES.split(line.strip(" "))


def _first_word(parts: Sequence[str]) -> int | None:
    """Index of the first line that is surely a word."""
    for index, line in enumerate(parts):
        if line.strip(" \t") and not line.startswith("# ") and not _is_document(line):
            return index
    return None


def _is_document(line: str) -> bool:
    return line.startswith(_DOCUMENT) and _cells(line)[0] == _DOCUMENT


def counts(words: Sequence[Sequence[str]]) -> bool:
    """Whether the first cells number the words 1, 2, 3; ranges and empty nodes do not count."""
    ids = [cells[0] for cells in words if not NO_WORD.fullmatch(cells[0])]
    return bool(ids) and ids == [str(number) for number in range(1, len(ids) + 1)]


def _leave_words(sentence: _Sentence) -> None:
    if sentence.fault is None and not counts(sentence.words):
        sentence.fault = (sentence.at[0], "the first column does not number the words 1, 2, 3 as in the file's other sentences")
    if sentence.fault is None:
        sentence.words = [cells for cells in sentence.words if not NO_WORD.fullmatch(cells[0])]


def _names(spec: DataSpec, width: int, numbered: bool, place: Place) -> dict[str, int]:
    """Column name to its index."""
    if spec.columns is None:
        if numbered:
            remedy = "for CoNLL-U set `format: conllu`; else name them from the left, say `columns: [id, words, tags]`"
            raise DataError(Problem("the first column numbers the words; the columns need names", str(place), remedy=remedy))
        return {"words": 0, "tags": width - 1} if width > 1 else {"words": 0}
    if len(spec.columns) > width:
        rule = f"`columns` names {len(spec.columns)} columns, the file has {width}"
        raise DataError(Problem(rule, str(place), ", ".join(spec.columns)))
    return {name: column for column, name in enumerate(spec.columns)}
