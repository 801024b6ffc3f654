"""Vectors of words from a file: GloVe's text, word2vec's text, or .npy with the words beside it."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import numpy as np
import pyarrow.parquet as pq

from manyheads.errors import DataError, MissingExtraError, Problem, ResourceError, shown
from manyheads.packages import package_path
from manyheads.text.listed import listed_lines
from manyheads.text.words import without_capitals

GLOVE = "glove-50d"
_LONGEST = 2**20  # bytes of a line: ten times those of the widest vectors in use

_Line: TypeAlias = tuple[str, Callable[[], np.ndarray]]  # a word, and what reads its vector: most are not wanted


@dataclass(frozen=True, slots=True)
class Vectors:
    """What was wanted of a file: the width D of its vectors, words from its top, and (D,) float32 of each word found."""

    width: int
    top: tuple[str, ...]
    rows: dict[str, np.ndarray]


def read_vectors(name: str, base: Path, wanted: Collection[str], lower: bool, top: int, place: str) -> Vectors:
    """The vectors of the wanted words, and of `top` words from the beginning, in one pass over the file.

    `name` is `glove-50d` or a file, as named or relative to `base`. With `lower` the wanted words are folded, and one that the
    file has with capitals alone counts as it. Of a word that comes twice the first line holds.

    Numbers are read where they are wanted; that each line has as many of them as the first is seen of all.

    Raises MissingExtraError, ResourceError for a file that is not there, DataError, with its line, for one that is broken.
    """
    kept: list[str] = []
    found: dict[str, np.ndarray] = {}
    folded: dict[str, np.ndarray] = {}
    width, lines = _lines(name, base, place)
    for number, (word, row) in enumerate(lines):
        if number < top:
            kept.append(word)
        low = without_capitals(word) if lower else word
        if (number < top or word in wanted) and word not in found:
            found[word] = row()
        elif low != word and low in wanted and low not in folded:
            folded[low] = row()
    return Vectors(width, tuple(kept), {**folded, **found})


def find_vectors(name: str, base: Path) -> Path | None:
    """The file of vectors that a name means, beside `base` or as it stands; None where there is none."""
    return next((path for path in (base / name, Path(name)) if path.is_file()), None)


def _lines(name: str, base: Path, place: str) -> tuple[int, Iterator[_Line]]:
    """The width, and the words with their vectors."""
    if name == GLOVE:
        try:
            folder = package_path(GLOVE)
        except MissingExtraError as error:
            raise MissingExtraError(*(Problem(p.rule, place, name, remedy=p.remedy) for p in error.problems)) from error
        words = pq.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
        return _paired(words, folder / "glove_6B_50d_emb.npy")
    path = find_vectors(name, base)
    if path is None:
        rule = f"no vectors are found: there is neither such a file nor a package; the known package is {GLOVE!r}"
        raise ResourceError(Problem(rule, place, name))
    if path.suffix == ".npy":
        beside = path.with_suffix(".txt")
        if not beside.is_file():
            rule = "a .npy of vectors needs a .txt of its words beside it, one a line"
            raise ResourceError(Problem(rule, place, str(path), remedy=f"write {beside.name}"))
        return _paired(listed_lines(beside), path)
    return _text(path)


def _paired(words: list[str], path: Path) -> tuple[int, Iterator[_Line]]:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(Problem(f"is not a .npy file: {error}", str(path))) from error
    if rows.ndim != 2 or len(rows) != len(words) or rows.dtype.kind != "f" or not rows.shape[1]:
        rule = f"vectors are numbers (words, width), at least one a word, and the words beside them are {len(words):,}"
        raise DataError(Problem(rule, str(path), f"{rows.dtype} {rows.shape}"))
    made = (partial(_finite, partial(rows.__getitem__, i), f"{path}: row {i + 1}", word) for i, word in enumerate(words))
    return rows.shape[1], zip(words, made, strict=True)


def _text(path: Path) -> tuple[int, Iterator[_Line]]:
    """Lines of a word, which may hold spaces, and its numbers; a first line of two whole numbers, word2vec's, counts them."""
    first = next((line.split() for _, line in _read(path)), [])
    counted = len(first) == 2 and all(part.isdigit() for part in first)
    width = int(first[1]) if counted else len(first) - 1
    if width < 1:
        rule = "the first line is a word and its vector, or the numbers of words and of their vectors"
        raise DataError(Problem(rule, f"{path}:1"))
    if width == 1:
        rule = "a vector has more than one number; a list of words, with how often they come or without, has no vectors"
        remedy = "a list of words is the `file` of a `vocabulary`"
        raise DataError(Problem(rule, f"{path}:1", b" ".join(first).decode(errors="replace"), remedy=remedy))
    return width, _words(path, width, int(first[0]) if counted else None)


def _words(path: Path, width: int, count: int | None) -> Iterator[_Line]:
    """The lines behind the one that gives their `count`, if one does."""
    lines, number = _read(path), 0
    if count is not None:
        next(lines)
    for number, line in lines:
        place, parts = f"{path}:{number}", line.replace(b"\t", b" ").rstrip().rsplit(b" ", width)
        try:
            word = parts[0].decode()
        except UnicodeDecodeError:
            raise DataError(Problem("a word is text in UTF-8", place, repr(parts[0][:60]))) from None
        if len(parts) <= width or (b" " in parts[0] and _is_number(parts[0].rpartition(b" ")[2])):
            rule = f"each line is a word and its vector of {width} numbers, as the first one"
            found = line.split()
            raise DataError(Problem(rule, place, f"{len(found) - 1} numbers" if found else "an empty line"))
        yield word, partial(_finite, partial(_parsed, parts[1:], place), place, word)
    if count is not None and number - 1 != count:
        rule = f"the first line says how many words the file has, and it has {number - 1:,}"
        raise DataError(Problem(rule, f"{path}:1", str(count), remedy="bring the whole file, or mend its first line"))


def _read(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, from 1, unpacked, without a byte order mark."""
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), 1):
                if len(line) == _LONGEST:
                    raise DataError(Problem(f"a line of vectors has at most {_LONGEST:,} bytes", f"{path}:{number}"))
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(Problem(f"this .gz file is broken or cut off: {error}", str(path))) from error


def _parsed(numbers: list[bytes], place: str) -> np.ndarray:
    try:
        return np.array(list(map(float, numbers)))
    except ValueError:
        wrong = next(number for number in numbers if not _is_number(number))
        raise DataError(Problem("a vector is of numbers", place, wrong[:60].decode(errors="replace"))) from None


def _finite(row: Callable[[], np.ndarray], place: str, word: str) -> np.ndarray:
    given = row()
    with np.errstate(over="ignore"):  # what is too large for float32 is told below
        found = np.array(given, np.float32)
    wrong = given[~np.isfinite(found)]
    if len(wrong):
        rule = f"the vector of {shown(word)} has a number that is not finite in 32 bits"
        raise DataError(Problem(rule, place, f"{wrong[0]:g}"))
    return found


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
