import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manyheads.errors import DataError, RecipeError


def stored(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_values_keep_their_types_and_rows_are_counted(read):
    table = pa.table({"text": ["007", None], "label": [1, 2], "score": [0.5, -1.0], "tags": [["O"], []]})
    found = read("a.parquet", stored(table))
    assert [dict(r.values) for r in found.rows] == [
        {"text": "007", "label": 1, "score": 0.5, "tags": ["O"]},
        {"text": None, "label": 2, "score": -1.0, "tags": []},
    ]
    assert [str(r.place) for r in found.rows] == ["a.parquet:1", "a.parquet:2"]


def test_a_file_cut_off_or_of_another_kind_is_refused(read):
    data = stored(pa.table({"text": ["one", "two"]}))
    for broken in (b"", b"PAR1", data[:-1], data[: len(data) // 2], b"text\none\n"):
        with pytest.raises(DataError, match=r"a\.parquet: this is no whole Parquet file"):
            read("a.parquet", broken)


def test_no_rows(read):
    with pytest.raises(DataError, match=r"a\.parquet: no rows"):
        read("a.parquet", stored(pa.table({"text": pa.array([], pa.string())})))


def test_doubled_columns_are_refused(read):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pytest.raises(DataError, match="the columns 'text' stand more than once"):
        read("a.parquet", stored(table))


def test_columns_are_the_files_own(read):
    with pytest.raises(RecipeError, match="names its own columns"):
        read("a.parquet", stored(pa.table({"text": ["one"]})), columns=["x"])


def test_text_with_nul_is_a_bad_row(read):
    found = read("a.parquet", stored(pa.table({"text": ["one", "t\0o"]})), bad_rows="skip")
    assert [r.values["text"] for r in found.rows] == ["one"]
    assert found.bad[0].place.line == 2
