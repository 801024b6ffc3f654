"""Vectors of words from files of every form, and what is said of broken ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from manyheads.errors import DataError, MissingExtraError, ResourceError
from manyheads.packages import package_path
from manyheads.text.vectors import Vectors, read_vectors

LINES = ["the 1 2 3", "New York 4 5 6", "Film 7 8 9", "film 1 0 0", "film 9 9 9"]


def read(path: Path, *wanted: str, lower: bool = True, top: int = 0) -> Vectors:
    return read_vectors(path.name, path.parent, set(wanted), lower, top, "modules.words.vectors")


def rows(found: Vectors) -> dict[str, list[float]]:
    return {word: row.tolist() for word, row in found.rows.items()}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_text_of_glove(text: Path) -> None:
    found = read(text, "film", "new york", "rome")
    assert (found.width, found.top) == (3, ())
    assert rows(found) == {"new york": [4, 5, 6], "film": [1, 0, 0]}
    assert rows(read(text, "New York", "Film", lower=False)) == {"New York": [4, 5, 6], "Film": [7, 8, 9]}


def test_words_from_the_top(text: Path) -> None:
    found = read(text, top=2)
    assert found.top == ("the", "New York")
    assert rows(found) == {"the": [1, 2, 3], "New York": [4, 5, 6]}


def test_text_of_word2vec_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "vectors.gz"
    with gzip.open(path, "wt") as file:
        file.write("\n".join(["5 3", *LINES]))
    assert rows(read(path, "the")) == {"the": [1, 2, 3]}


def test_numbers_beside_words(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises(ResourceError, match=r"a \.npy of vectors needs a \.txt"):
        read(path, "b")
    (tmp_path / "vectors.txt").write_text("a\nb\n")
    assert rows(read(path, "b")) == {"b": [3, 4, 5]}
    (tmp_path / "vectors.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match="the words beside them are 3"):
        read(path, "b")
    np.save(path, np.zeros((3, 0), np.float32))
    with pytest.raises(DataError, match=r"at least one a word.*found 'float32 \(3, 0\)'"):
        read(path, "b")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"vectors\.npy: is not a \.npy file"):
        read(path, "b")


def test_words_beside_numbers_are_lines_whatever_letters_they_have(tmp_path: Path) -> None:
    path, words = tmp_path / "vectors.npy", tmp_path / "vectors.txt"
    np.save(path, np.array([[1, 2], [3, 4], [5, 1e39]]))
    words.write_bytes("\ufeffa\r\nb\u2028c\u0085\r\nd".encode())
    assert rows(read(path, "a", "b\u2028c\u0085")) == {"a": [1, 2], "b\u2028c\u0085": [3, 4]}
    with pytest.raises(DataError, match=r"vectors\.npy: row 3: the vector of 'd' has a number .*; found '1e\+39'"):
        read(path, "d")
    words.write_bytes(b"a\ncaf\xe9\nd\n")
    with pytest.raises(DataError, match=r"vectors\.txt:2: a list of words is text in UTF-8"):
        read(path, "a")


def test_tabs_are_spaces_and_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("\ufeffthe\t1\t2\t3\nNew York\t4 5 6 \r\n")
    assert rows(read(path, "the", "new york")) == {"the": [1, 2, 3], "new york": [4, 5, 6]}
    path.write_text("\ufeff1 3\nthe 1 2 3\n")
    assert rows(read(path, "the")) == {"the": [1, 2, 3]}


@pytest.mark.parametrize("said", [4, 6])
def test_a_file_has_as_many_words_as_it_says(tmp_path: Path, said: int) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join([f"{said} 3", *LINES]) + "\n")
    with pytest.raises(DataError, match=rf"vectors\.txt:1: the first line says how many .* it has 5; found '{said}'"):
        read(path, "the")


def test_what_cannot_be_unpacked(tmp_path: Path) -> None:
    path, told = tmp_path / "vectors.gz", r"vectors\.gz: this \.gz file is broken or cut off"
    whole = gzip.compress("\n".join(f"word{i} {i} 1 {i * i}" for i in range(5000)).encode())
    for content in (whole[:-20], whole[:3000] + b"\xff" * 99 + whole[3099:], b"the 1 2 3\n", whole[:-2] + b"\x00\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=told):
            read(path, "word1")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ragged 1 2", r"vectors\.txt:2: each line is a word and its vector of 3 numbers, as the first one; found '2 numbers'"),
        ("wide 1 2 3 4", r"vectors\.txt:2: each line is a word and its vector of 3 numbers.*found '4 numbers'"),
        ("film 1 x 3", r"vectors\.txt:2: a vector is of numbers; found 'x'"),
        ("film 1 nan 3", r"vectors\.txt:2: the vector of 'film' has a number that is not finite in 32 bits; found 'nan'"),
        ("film 1 -1e39 3", r"vectors\.txt:2: the vector of 'film' has a number that is not finite in 32 bits; found '-1e\+39'"),
        ("", r"vectors\.txt:2: each line is a word and its vector of 3 numbers.*found 'an empty line'"),
        ("a" * 2**20 + " 1 2 3", r"vectors\.txt:2: a line of vectors has at most 1,048,576 bytes"),
    ],
)
def test_broken_lines_are_told_where_they_stand(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(f"the 1 2 3\n{line}\n")
    with pytest.raises(DataError, match=told):
        read(path, "film")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"the 1 2\n\xff 1 2\n")
    with pytest.raises(DataError, match=r"vectors\.txt:2: a word is text in UTF-8"):
        read(path, "film")


@pytest.mark.parametrize("content", ["", "\n", "alone\n"])
def test_a_file_without_vectors(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(DataError, match="the first line is a word and its vector"):
        read(path, "film")


@pytest.mark.parametrize("content", ["the 5000\nof 4000\n", "2 1\nthe 1\nof 2\n"])
def test_a_list_of_words_with_counts_is_none_of_vectors(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"vectors\.txt:1: a vector has more than one number.*(\n.*)`file` of a `vocabulary`"):
        read(path, "the")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="neither such a file nor a package; the known package is 'glove-50d'"):
        read(tmp_path / "glove.txt", "film")


def test_the_packaged_vectors() -> None:
    try:
        folder = package_path("glove-50d")
    except MissingExtraError as error:
        pytest.skip(str(error))
    found = read_vectors("glove-50d", Path(), {"film", "qqqzzz"}, True, 2, "x")
    assert (found.width, found.top) == (50, ("the", ","))
    assert np.array_equal(found.rows["the"], np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")[0])
    assert sorted(found.rows) == [",", "film", "the"]
