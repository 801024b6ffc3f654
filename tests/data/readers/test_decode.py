import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data.readers.decode import ended_lines, line_at, lines
from manyheads.errors import DataError, RecipeError

any_text = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"))
NOT_ENDS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]


def texts(rows):
    return [row.values["text"] for row in rows.rows]


@given(any_text)
def test_lines_are_those_of_universal_newlines(text):
    whole = text.replace("\r\n", "\n").replace("\r", "\n")
    expected = whole.split("\n")[:-1] if whole.endswith("\n") or not whole else whole.split("\n")
    assert lines(text) == expected
    assert "".join(ended_lines(text)) == text
    assert [line.rstrip("\r\n") for line in ended_lines(text)] == expected
    assert line_at(text, len(text)) == whole.count("\n") + 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("final", [True, False])
def test_every_line_end_gives_the_same_rows(read, end, final):
    assert texts(read("a.txt", end.join(["one", "two"]) + end * final)) == ["one", "two"]


@pytest.mark.parametrize("mark", NOT_ENDS)
@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "{}"), ("a.tsv", "text\n{}"), ("a.csv", "text\n{}"), ("a.jsonl", '{{"text":"{}"}}')]
)
def test_other_separators_are_characters(read, mark, name, text):
    if name == "a.jsonl" and mark < " ":
        return  # JSON strings hold no raw control characters
    assert texts(read(name, text.format(f"one{mark}two"))) == [f"one{mark}two"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text\none"),
        ("a.tsv", "text\none"),
        ("a.jsonl", '{"text":"one"}'),
        ("a.json", '[{"text":"one"}]'),
        ("a.txt", "one"),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "spec"), [("utf-8-sig", {}), ("utf-16", {"encoding": "utf-16"}), ("utf-32", {"encoding": "utf-32"})]
)
def test_a_byte_order_mark_is_stripped(read, name, text, encoding, spec):
    assert texts(read(name, text.encode(encoding), **spec)) == ["one"]


def test_a_conll_byte_order_mark_is_stripped(read):
    assert read("a.conll", b"\xef\xbb\xbfone\tO\n").rows[0].values["words"] == ["one"]


@pytest.mark.parametrize(("offset", "line"), [(0, 1), (4, 1), (6, 2), (11, 3)])
def test_one_bad_byte_is_located(read, offset, line):
    data = bytearray(b"text\r\none\rtwo")
    data[offset : offset + 1] = b"\xe9"
    with pytest.raises(DataError) as caught:
        read("a.tsv", bytes(data))
    (problem,) = caught.value.problems
    assert problem.place == f"a.tsv:{line}"
    assert problem.rule == f"byte 0xe9 at offset {offset} is not utf-8"
    assert "`encoding: latin-1`" in problem.remedy


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_rows_or_one_located_error(read, data):
    try:
        found = read("a.txt", data, bad_rows="skip")
    except DataError as error:
        assert all(p.place.startswith("a.txt") for p in error.problems)  # noqa: PT017  # both answers are right
    else:
        assert "\n".join(texts(found)) in data.decode().replace("\r\n", "\n").replace("\r", "\n") or found.bad


@pytest.mark.parametrize(
    ("data", "encoding", "likely"),
    [
        ("naïve".encode("latin-1"), "utf-8", "latin-1"),
        ("“naïve”".encode("cp1252"), "utf-8", "cp1252"),
        ("naïve".encode(), "ascii", "utf-8"),
        (b"\xe9\x81\x20", "utf-8", "latin-1"),
    ],
)
def test_the_likely_encoding_is_named_and_reads_the_file(read, data, encoding, likely):
    with pytest.raises(DataError, match=f"encoding: {likely}"):
        read("a.txt", data, encoding=encoding)
    assert texts(read("a.txt", data, encoding=likely)) == [data.decode(likely)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_recognised_with_and_without_a_mark(read, encoding):
    data = "text\nsome words\n".encode(encoding)
    wanted = encoding if encoding != "utf-32" else "utf-32"
    with pytest.raises(DataError, match=f"set `encoding: {wanted}`"):
        read("a.tsv", data)
    assert texts(read("a.tsv", data, encoding=wanted)) == ["some words"]


def test_a_mark_that_contradicts_the_recipe_is_refused(read):
    with pytest.raises(DataError, match=r"byte order mark of utf-8, not iso8859-1"):
        read("a.txt", codecs.BOM_UTF8 + b"one", encoding="latin-1")


@pytest.mark.parametrize("encoding", ["utf9", "hex", "rot13", "", "a\0b"])
def test_an_unknown_encoding_is_a_recipe_error(read, encoding):
    with pytest.raises(RecipeError, match="no text encoding has this name"):
        read("a.txt", "one", encoding=encoding)


def test_the_nearest_encoding_is_named(read):
    with pytest.raises(RecipeError, match="did you mean 'latin-1'"):
        read("a.txt", "one", encoding="lattin-1")


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "zip or Excel"), (b"PAR1", "Parquet"), (b"BZh91AY&SY", "bzip2")],
)
def test_a_wrong_file_name_ending_is_named(read, start, kind):
    with pytest.raises(DataError, match=f"this is a {kind} file, not text"):
        read("a.csv", start + b"rest")


@pytest.mark.parametrize("text", ["\u202eright to left", "e\u0301", "a\u200db", "\ufffd", "naïve\u00a0x", "\U0001f600" * 1000])
def test_unusual_text_stays_as_it_is(read, text):
    assert texts(read("a.txt", text)) == [text]


def test_a_codec_that_tells_no_offset_still_ends_in_a_data_error(read):
    with pytest.raises(DataError, match=r"a\.txt: the file is not undefined"):
        read("a.txt", "one", encoding="undefined")
