import pytest

from manyheads.errors import DataError, RecipeError


def texts(rows, column="text"):
    return [row.values[column] for row in rows.rows]


def test_a_row_a_line_nothing_trimmed(read):
    found = read("a.txt", " one \n\ttwo\nthree")
    assert texts(found) == [" one ", "\ttwo", "three"]
    assert [r.place.line for r in found.rows] == [1, 2, 3]


def test_an_empty_line_is_an_empty_text(read):
    assert texts(read("a.txt", "one\n\nthree\n")) == ["one", "", "three"]


@pytest.mark.parametrize("text", ["", "\n", "\n \n\t\r\n"])
def test_blank_lines_alone_are_no_rows(read, text):
    with pytest.raises(DataError, match=r"a\.txt: no rows"):
        read("a.txt", text)


def test_one_name_in_columns_renames_text(read):
    assert texts(read("a.txt", "one\n", columns=["sentence"]), "sentence") == ["one"]


def test_more_names_need_another_format(read):
    with pytest.raises(RecipeError, match="plain lines have one column") as caught:
        read("a.txt", "one\n", columns=["words", "tags"])
    assert "conll" in caught.value.problems[0].remedy
