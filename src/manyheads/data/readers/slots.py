"""Intents and slots as SNIPS and ATIS are passed on: a folder with `seq.in`, `seq.out` and `label`, an utterance a line.

A row has `words`, `tags` (one a word) and `label`, as the file has it (several intents of ATIS are one text, parted by `#`).
"""

from __future__ import annotations

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source, refuse_columns
from manyheads.data.readers.decode import lines, read_text
from manyheads.data.readers.source import folder
from manyheads.errors import DataError, Problem
from manyheads.types import Place, Row

_FILES = ("seq.in", "seq.out", "label")


@READERS.register("slots")
def read_slots(source: Source, spec: DataSpec) -> Rows:
    """A row a line, placed in `seq.in`. Lines that are blank in all three files are skipped.

    Spaces part words and tags. A line with another number of tags than words, or with none, is a bad row. DataError where the
    files have different numbers of lines: nobody could say which belong together.
    """
    refuse_columns(spec, "a folder of slots")
    folder(source)
    files = [Source(f"{source.name}/{name}", source.base) for name in _FILES]
    texts, facts = zip(*(read_text(file, spec.encoding) for file in files), strict=True)
    columns = [lines(text) for text in texts]
    if len({len(column) for column in columns}) > 1:
        told = ", ".join(f"{name} has {len(column)}" for name, column in zip(_FILES, columns, strict=True))
        raise DataError(Problem(f"the files of a folder have as many lines as each other; {told}", source.name))
    rows: list[Row] = []
    bad: list[BadRow] = []
    for number, (text, marks, label) in enumerate(zip(*columns, strict=True), 1):
        words, tags = text.split(" "), marks.split(" ")
        words, tags = [word for word in words if word], [tag for tag in tags if tag]
        place = Place(files[0].name, number)
        if words and len(words) == len(tags):
            rows.append(Row({"words": words, "tags": tags, "label": label}, place))
        elif (text + marks + label).strip(" "):
            rule = f"as many tags as words are expected; the line has {len(words)} words here and {len(tags)} tags in seq.out"
            bad.append(BadRow(place, rule, text))
    return Rows(rows, tuple(bad), tuple(facts))
