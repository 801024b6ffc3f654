import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError

cell = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff"), max_size=12)
tsv_cell = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff\t\r\n"), max_size=12)


def values(rows):
    return [list(row.values.values()) for row in rows.rows]


def test_header_names_the_columns_and_rows_keep_their_lines(read):
    found = read("a.tsv", "text\tlabel\ngood\t1\nbad\t0\n")
    assert [dict(r.values) for r in found.rows] == [{"text": "good", "label": "1"}, {"text": "bad", "label": "0"}]
    assert [str(r.place) for r in found.rows] == ["a.tsv:2", "a.tsv:3"]
    assert found.bad == ()


def test_columns_stand_in_for_a_header(read):
    found = read("a.csv", "good,1\nbad,0\n", columns=["text", "label"])
    assert values(found) == [["good", "1"], ["bad", "0"]]
    assert found.rows[0].place.line == 1


@pytest.mark.parametrize(
    "cells", ["007", "1e5", "True", "01", "NA", "NaN", "null", "None", "", " 1 ", "1,5", "-0", "2024-01-01"]
)
def test_cells_are_never_cast_or_trimmed(read, cells):
    assert values(read("a.tsv", f"x\ty\n{cells}\tb\n")) == [[cells, "b"]]


@pytest.mark.parametrize("text", ['"', 'say "hi', '"quoted"', '""', 'a"b"c', '"open'])
def test_a_quote_in_tsv_is_a_character(read, text):
    assert values(read("a.tsv", f"text\tlabel\n{text}\t1\nnext\t0\n")) == [[text, "1"], ["next", "0"]]


@given(
    st.lists(st.lists(tsv_cell, min_size=2, max_size=2), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_tsv_gives_back_what_was_joined(read, table, end, final):
    text = end.join("\t".join(row) for row in [["x", "y"], *table]) + (end if final else "")
    if text.strip("xy\t\r\n"):
        assert values(read("a.tsv", text)) == table


@given(st.lists(st.lists(cell, min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_csv_gives_back_what_the_csv_module_wrote(read, table, end):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["x", "y"], *table])
    assert values(read("a.csv", text.getvalue())) == table


@given(st.text(st.sampled_from('ab,"\n\r '), min_size=1, max_size=20))
def test_csv_agrees_with_the_csv_module_or_is_refused_with_it(read, text):
    try:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)
        expected = [r for r in csv.reader(lines, strict=True) if r]
    except csv.Error:
        expected = None
    try:
        found = read("a.csv", "x,y\n" + text, bad_rows="skip")
        rows = {r.place.line: list(r.values.values()) for r in found.rows}
    except DataError as error:
        assert expected is None or "no rows" in str(error)  # noqa: PT017  # either answer is right for some texts
        return
    got = [[c.replace("\r\n", "\n").replace("\r", "\n") for c in row] for row in rows.values()]
    assert expected is not None
    assert got == [r for r in expected if len(r) == 2]
    assert len(found.bad) == len(expected) - len(got)


def test_csv_fields_may_hold_commas_quotes_and_line_ends_unchanged(read):
    found = read("a.csv", 'text,label\n"a, ""b""\r\nc",1\nplain,0\n')
    assert values(found) == [['a, "b"\r\nc', "1"], ["plain", "0"]]
    assert [r.place.line for r in found.rows] == [2, 4]


def test_a_quote_inside_a_plain_csv_field_is_a_character(read):
    assert values(read("a.csv", 'text,label\n5" disk,1\n')) == [['5" disk', "1"]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('t,l\na,1\n"open,2\nb,3\n', 3),
        ('t,l\n"open,2\nb,"x"\n', 2),
        ('t,l\n"two\nlines","open\nhere\n', 3),
        ('t,l\na,1\n"closed" then text,2\n', 3),
        ('t,l\r"fine",1\r"open,2\r', 3),
        ('"t,l\na,1\n', 1),
    ],
)
def test_an_unbalanced_quote_is_found_where_its_field_begins(read, text, line):
    for policy in ("error", "skip"):  # the rest of the file is lost, so there is nothing to skip
        with pytest.raises(DataError, match="the quoted field that begins on this line") as caught:
            read("a.csv", text, bad_rows=policy)
        assert caught.value.problems[0].place == f"a.csv:{line}"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_ragged_rows_are_bad_rows_with_both_counts(read, name):
    part = "," if name == "a.csv" else "\t"
    text = "\n".join(part.join(r) for r in (["a", "b"], ["1"], ["2", "2"], ["3", "3", "3"]))
    with pytest.raises(DataError) as caught:
        read(name, text)
    assert [p.place for p in caught.value.problems] == [f"{name}:2", f"{name}:4"]
    assert "2 columns is expected, this one has 1" in str(caught.value)
    skipped = read(name, text, bad_rows="skip")
    assert values(skipped) == [["2", "2"]]
    assert [(b.place.line, b.sample.rstrip("\n")) for b in skipped.bad] == [(2, "1"), (4, part.join("333"))]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_empty_lines_are_skipped_and_lines_of_spaces_are_records(read, name):
    found = read(name, "\n\ntext\n\na\n\n \n")
    assert values(found) == [["a"], [" "]]
    assert [r.place.line for r in found.rows] == [5, 7]


def test_a_doubled_header_is_refused(read):
    with pytest.raises(DataError, match="the header names 'b' more than once") as caught:
        read("a.csv", "a,b,b\n1,2,3\n")
    assert str(caught.value) == "a.csv:1: the header names 'b' more than once; found 'a, b, b'"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "text;label\n1;2\n",
            "a.csv:1: the header is one column, without commas; found 'text;label'\n"
            "    its columns seem to be parted by semicolons: write it with commas (csv) or tabs (tsv)",
        ),
        ("a.csv", "\ntext\tlabel\n1\t2\n", "a.csv:2: the header is one column"),
        ("a.csv", "text\tlabel\n", "parted by tabs: set `format: tsv`"),
        ("a.tsv", "text,label\n1,2\n", "parted by commas: set `format: csv`"),
        ("a.tsv", "text|label\n1|2\n", "parted by bars"),
    ],
)
def test_a_header_with_another_separator_says_which(read, name, text, message):
    for policy in ("error", "skip"):
        with pytest.raises(DataError) as caught:
            read(name, text, bad_rows=policy)
        assert message in str(caught.value)


def test_a_semicolon_among_commas_is_a_character(read):
    assert values(read("a.csv", "a;b,c\n1;2,3\n")) == [["1;2", "3"]]
    assert values(read("a.csv", "a;b\n", columns=["x"])) == [["a;b"]]


@pytest.mark.parametrize("columns", [[], ["a", "a"]])
def test_columns_must_be_distinct_names(read, columns):
    with pytest.raises(RecipeError, match="names each column once"):
        read("a.csv", "1,2\n", columns=columns)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("text", ["", "\n", "\n\r\n\n", "text", "label\n", "\ufeff", "\ufefftext\n"])
def test_nothing_but_a_header_is_no_rows(read, name, text):
    with pytest.raises(DataError, match=f"{name}: no rows"):
        read(name, text)


def test_a_field_of_a_megabyte_is_read_whole(read):
    long = "x" * 1_000_000
    assert values(read("a.csv", f'text,label\n"{long}",1\n')) == [[long, "1"]]
    assert values(read("a.tsv", f"text\tlabel\n{long}\t1\n")) == [[long, "1"]]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "columns", "count"),
    [
        ("SST-2/train.tsv", None, 67_349),
        ("SST-2/dev.tsv", None, 872),
        ("CoLA/train.tsv", ["source", "label", "star", "sentence"], 8_551),
        ("CoLA/dev.tsv", ["source", "label", "star", "sentence"], 1_043),
        ("MRPC/train.tsv", None, 3_668),
        ("STS-B/train.tsv", None, 5_749),
    ],
)
def test_public_sets_have_the_published_number_of_rows(public_data, name, columns, count):
    found = read_rows(DataSpec(train=f"glue/{name}", columns=columns), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert not any(column.startswith("\ufeff") for column in found.rows[0].values)
