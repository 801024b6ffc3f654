"""csv and tsv: one record a row, every cell a string.

Tab-separated text is never quoted: a quote is a character. Comma-separated text follows RFC 4180: a field in quotes may hold
commas, line ends and doubled quotes. In both, lines without a character are skipped; a line of spaces is a record.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, FileFact, Rows, Source, repeated
from manyheads.data.readers.decode import ended_lines, line_at, lines, read_text
from manyheads.errors import DataError, Problem, listed
from manyheads.types import Place, Row

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_FORMATS = {",": "csv", "\t": "tsv"}
Record: TypeAlias = tuple[int, list[str], str]  # line on which it begins, cells, text as the file has it
_WHOLE_FIELD = re.compile(r'(?:"[^"]*+(?:""[^"]*+)*+"|(?!")[^,\r\n]*+)(?:,|\r\n|\r|\n)')


@READERS.register("tsv")
def read_tsv(source: Source, spec: DataSpec) -> Rows:
    """Rows of tab-separated text, with the header's names or `columns`."""
    text, fact = read_text(source, spec.encoding)
    records = ((number, line.split("\t"), line) for number, line in enumerate(lines(text), 1) if line)
    return _rows(records, "\t", source, spec, fact)


@READERS.register("csv")
def read_csv(source: Source, spec: DataSpec) -> Rows:
    """Rows of comma-separated text, with the header's names or `columns`."""
    text, fact = read_text(source, spec.encoding)
    return _rows(_csv_records(text, source.name), ",", source, spec, fact)


def _rows(records: Iterator[Record], separator: str, source: Source, spec: DataSpec, fact: FileFact) -> Rows:
    names = _header(records, separator, source.name) if spec.columns is None else spec.columns
    rows: list[Row] = []
    bad: list[BadRow] = []
    for line, cells, text in records:
        place = Place(source.name, line)
        if len(cells) == len(names):
            rows.append(Row(dict(zip(names, cells, strict=True)), place))
        else:
            bad.append(BadRow(place, f"a row of {len(names)} columns is expected, this one has {len(cells)}", text))
    return Rows(rows, tuple(bad), (fact,))


def _header(records: Iterable[Record], separator: str, name: str) -> list[str]:
    line, names, _ = next(iter(records), (0, [], ""))
    other = next((mark for mark in _SEPARATORS if len(names) == 1 and mark != separator and mark in names[0]), None)
    if other is not None:
        known = f"set `format: {_FORMATS[other]}`" if other in _FORMATS else "write it with commas (csv) or tabs (tsv)"
        remedy = f"its columns seem to be parted by {_SEPARATORS[other]}: {known}"
        rule = f"the header is one column, without {_SEPARATORS[separator]}"
        raise DataError(Problem(rule, f"{name}:{line}", names[0], remedy=remedy))
    if twice := repeated(names):
        raise DataError(Problem(f"the header names {listed(twice)} more than once", f"{name}:{line}", ", ".join(names)))
    return names


def _csv_records(text: str, name: str) -> Iterator[Record]:
    parts = ended_lines(text)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # the default refuses a field of 128 KiB
    reader = csv.reader(parts, strict=True)
    start = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(_broken_quote("".join(parts[start:]), start, name)) from error
        if cells is None:
            return
        if cells:
            yield start + 1, cells, "".join(parts[start : reader.line_num])
        start = reader.line_num


def _broken_quote(text: str, skipped: int, name: str) -> Problem:
    """`text` begins with the broken record, `skipped` lines down the file: find the field that does not end."""
    position = 0
    while found := _WHOLE_FIELD.match(text, position):
        position = found.end()
    return Problem(
        "the quoted field that begins on this line is not closed, or text follows its closing quote",
        f"{name}:{skipped + line_at(text, position)}",
        value=text[position : position + 80],
        remedy='inside quotes write a quote as ""; if quotes are plain characters here, use tabs and `format: tsv`',
    )
