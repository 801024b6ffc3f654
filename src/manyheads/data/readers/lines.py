"""Plain text: one text a line, in the column `text` (or the one name in `columns`). An empty line is an empty text."""

from __future__ import annotations

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, Rows, Source
from manyheads.data.readers.decode import lines, read_text
from manyheads.errors import Problem, RecipeError
from manyheads.types import Place, Row


@READERS.register("lines")
def read_lines(source: Source, spec: DataSpec) -> Rows:
    """A row a line, nothing trimmed; a file of nothing but blank lines has no rows."""
    names = spec.columns or ["text"]
    if len(names) != 1:
        remedy = "set `format: tsv`, `csv` or `conll` for a file with columns"
        raise RecipeError(Problem("plain lines have one column", "columns", value=", ".join(names), remedy=remedy))
    text, fact = read_text(source, spec.encoding)
    texts = lines(text) if text.strip() else []
    return Rows([Row({names[0]: line}, Place(source.name, number)) for number, line in enumerate(texts, 1)], (), (fact,))
