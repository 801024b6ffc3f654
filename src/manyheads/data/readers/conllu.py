"""CoNLL-U, the format of Universal Dependencies (Nivre et al., 2020): ten columns a word, comments before a sentence.

A row a sentence: `form`, `lemma`, `upos`, `xpos`, `feats`, `head`, `deprel`, `deps` and `misc`, each a list of strings with an
entry a word, and `sent_id` and `text` of its comments, None where there is none. Words are those that number 1, 2, 3: lines of
ranges (`1-2`, of which 1 and 2 are the words) and of empty nodes (`1.1`) are left out. `_` stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.conll import NO_WORD, counts
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source, refuse_columns
from manyheads.data.readers.decode import lines, read_text
from manyheads.types import Place, Row, Value

Line: TypeAlias = tuple[int, str]  # number and text

_COLUMNS = ("form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # behind the number
_COMMENT = re.compile(r"#\s*(sent_id|text)\s*=\s?(.*)")


@READERS.register("conllu")
def read_conllu(source: Source, spec: DataSpec) -> Rows:
    """A row a sentence, placed at its first word. A sentence with a line that breaks the format is a bad row at that line."""
    refuse_columns(spec, "CoNLL-U")
    text, fact = read_text(source, spec.encoding)
    rows: list[Row] = []
    bad: list[BadRow] = []
    for comments, words in _sentences(lines(text)):
        cells = [line.split("\t") for _, line in words]
        if fault := _fault(cells):
            index, rule = fault
            bad.append(BadRow(Place(source.name, words[index][0]), rule, "\n".join(line for _, line in words)))
        else:
            rows.append(Row(_values(comments, cells), Place(source.name, words[0][0])))
    return Rows(rows, tuple(bad), (fact,))


def _sentences(parts: Sequence[str]) -> Iterator[tuple[list[str], list[Line]]]:
    """Comments and other lines of each sentence. Comments that no word follows are of none."""
    comments: list[str] = []
    words: list[Line] = []
    for number, line in enumerate([*parts, ""], 1):
        if line.startswith("#"):
            comments.append(line)
        elif line.strip(" \t"):
            words.append((number, line))
        else:
            if words:
                yield comments, words
            comments, words = [], []


def _fault(cells: Sequence[Sequence[str]]) -> tuple[int, str] | None:
    """The first line that breaks the format, and the rule."""
    for index, line in enumerate(cells):
        if len(line) != 1 + len(_COLUMNS):
            return index, f"a line of CoNLL-U has 10 columns parted by tabs, this one has {len(line)}"
        if "" in line:
            return index, f"column {line.index('') + 1} is empty"
    return None if counts(cells) else (0, "the first column does not number the words 1, 2, 3")


def _values(comments: Sequence[str], cells: Sequence[Sequence[str]]) -> dict[str, Value]:
    told: dict[str, Value] = {"sent_id": None, "text": None}
    for comment in comments:
        if found := _COMMENT.fullmatch(comment):
            told[found[1]] = found[2]
    words = [line[1:] for line in cells if not NO_WORD.fullmatch(line[0])]
    return {**told, **{name: [word[i] for word in words] for i, name in enumerate(_COLUMNS)}}
