"""Parquet: columns keep the types that the file declares. A place counts rows from 1."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, Rows, Source, refuse_columns, repeated
from manyheads.data.readers.source import content
from manyheads.errors import DataError, Problem, listed
from manyheads.types import Place, Row


@READERS.register("parquet")
def read_parquet(source: Source, spec: DataSpec) -> Rows:
    """Rows of a Parquet file; a file that is cut off or is none is a DataError."""
    refuse_columns(spec, "Parquet")
    data, fact = content(source)
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(Problem(f"this is no whole Parquet file: {reason}", source.name)) from error
    if twice := repeated(table.column_names):
        raise DataError(Problem(f"the columns {listed(twice)} stand more than once", source.name))
    rows = [Row(values, Place(source.name, number)) for number, values in enumerate(table.to_pylist(), 1)]
    return Rows(rows, (), (fact,))
