"""Slots by offsets, as PyText has them: tab-separated rows with a text and `from:to:label,from:to:label` in characters of it.

A row has the columns of the file and, made of `text` and `slots`, `words` (what spaces part) and `tags` (one a word, BIO).
"""

from __future__ import annotations

import re
from dataclasses import replace

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source
from manyheads.data.readers.delimited import read_tsv
from manyheads.errors import DataError, Problem, listed, shown
from manyheads.types import Row

_WORD = re.compile(r"\S+")
_SLOT = re.compile(r"(\d+):(\d+):([^,]+)")


@READERS.register("offsets")
def read_offsets(source: Source, spec: DataSpec) -> Rows:
    """A row a line. A slot takes the words that it has a character of.

    Bad rows: no words, a slot that is spelled otherwise, has no word, or shares one with another. DataError without columns
    `text` and `slots`.
    """
    found = read_tsv(source, spec)
    if found.rows and (absent := [name for name in ("text", "slots") if name not in found.rows[0].values]):
        remedy = "name the columns of a file without a header: `columns: [label, slots, text]`"
        rule = f"slots by offsets need the columns {listed(('text', 'slots'))}; there is no {listed(absent)}"
        raise DataError(Problem(rule, str(found.rows[0].place), ", ".join(found.rows[0].values), remedy=remedy))
    rows: list[Row] = []
    bad = list(found.bad)
    for row in found.rows:
        text, slots = str(row.values["text"]), str(row.values["slots"])
        made = _tagged(text, slots)
        if isinstance(made, str):
            bad.append(BadRow(row.place, made, f"{slots}\t{text}"))
        else:
            words, tags = made
            rows.append(replace(row, values={**row.values, "words": words, "tags": tags}))
    return Rows(rows, tuple(sorted(bad, key=lambda b: b.place.line)), found.files)


def _tagged(text: str, slots: str) -> tuple[list[str], list[str]] | str:
    """Words and their tags, or the rule that the row breaks.

    >>> _tagged("wake me at six", "11:14:time")
    (['wake', 'me', 'at', 'six'], ['O', 'O', 'O', 'B-time'])
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    if not spans:
        return "a text without words has no tags"
    tags = ["O"] * len(spans)
    for part in (part.strip() for part in slots.split(",")):
        slot = _SLOT.fullmatch(part)
        if part and slot is None:
            return f"a slot is from:to:label, not {shown(part)}"
        if slot is not None:
            inside = [i for i, (start, stop) in enumerate(spans) if start < int(slot[2]) and int(slot[1]) < stop]
            if not inside:
                return f"the slot {shown(part)} has no word of the text"
            if any(tags[i] != "O" for i in inside):
                return f"the slot {shown(part)} shares a word with one before"
            tags[inside[0] : inside[-1] + 1] = [f"{'I' if i > inside[0] else 'B'}-{slot[3]}" for i in inside]
    return [text[start:stop] for start, stop in spans], tags
