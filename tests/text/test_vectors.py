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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ragged 1 2", r"vectors\.txt:2: each line is a word and its vector of 3 numbers, as the first one; found '2 numbers'"),
        ("wide 1 2 3 4", r"vectors\.txt:2: each line is a word and its vector of 3 numbers.*found '4 numbers'"),
        ("film 1 x 3", r"vectors\.txt:2: a vector is of numbers; found 'x'"),
        ("film 1 nan 3", r"vectors\.txt:2: a vector has a number that is not finite; found 'film'"),
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
