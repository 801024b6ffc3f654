"""One sub-folder a label, one text a file: columns `text` (the whole file) and `label` (the sub-folder's name).

Rows are sorted by label, then by file name. Names that begin with a dot are no data. A file beside the sub-folders, or a
folder inside one, is a bad row.
"""

from __future__ import annotations

import os
from pathlib import Path

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, FileFact, Rows, Source, refuse_columns
from manyheads.data.readers.decode import read_text
from manyheads.data.readers.source import folder, unopened
from manyheads.types import Place, Row


@READERS.register("folders")
def read_folders(source: Source, spec: DataSpec) -> Rows:
    """A row and a fact a file; a row's place is line 1 of its file."""
    refuse_columns(spec, "a folder of texts")
    folder(source)
    rows: list[Row] = []
    bad: list[BadRow] = []
    files: list[FileFact] = []
    for label in _inside(source, bad):
        if not label.path.is_dir():
            bad.append(_bad(label, "this stands beside the labels' folders, not in one of them"))
            continue
        for file in _inside(label, bad):
            if file.path.is_dir():
                bad.append(_bad(file, "a label's folder holds files, not folders"))
                continue
            text, fact = read_text(file, spec.encoding)
            rows.append(Row({"text": text, "label": label.path.name}, Place(file.name, 1)))
            files.append(fact)
    return Rows(rows, tuple(bad), tuple(files))


def _inside(source: Source, bad: list[BadRow]) -> list[Source]:
    """What a folder holds, sorted, under names that continue the folder's own; names that are not text go to `bad`."""
    try:
        names = sorted(name for name in os.listdir(source.path) if not name.startswith("."))
    except OSError as error:
        raise unopened(error, source) from error
    good = []
    for name in names:
        shown = name.encode("utf-8", "backslashreplace").decode()
        if shown == name:
            good.append(Source(str(Path(source.name) / name), source.base))
        else:  # bytes that are no utf-8 come from the system as lone surrogates, which no record could hold
            bad.append(_bad(Source(str(Path(source.name) / shown), source.base), "this file name is not utf-8"))
    return good


def _bad(source: Source, rule: str) -> BadRow:
    return BadRow(Place(source.name, 1), rule, source.path.name)
