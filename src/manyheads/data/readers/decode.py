"""From bytes to text, strictly, and from text to lines."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

from manyheads.data.readers.contract import FileFact, Source
from manyheads.data.readers.source import content
from manyheads.errors import DataError, Problem, RecipeError, nearest

_MARKS = (  # utf-32 first: its little-endian mark begins with that of utf-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_NOT_TEXT = ((b"\x1f\x8b", "gzip"), (b"BZh91AY&SY", "bzip2"), (b"PK\x03\x04", "zip or Excel"), (b"PAR1", "Parquet"))
_COMMON = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "ascii", "shift_jis", "gb18030", "big5")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_text(source: Source, encoding: str) -> tuple[str, FileFact]:
    """The whole text of a file, without its byte order mark, and the fact of the file. Nothing else is changed.

    DataError for bytes that are not `encoding`: file, line, byte offset (after unpacking) and the encoding they may have.
    """
    data, fact = content(source)
    codec = _codec(encoding)
    for start, kind in _NOT_TEXT:
        if data.startswith(start):
            raise DataError(Problem(f"this is a {kind} file, not text", source.name, remedy="its name must end accordingly"))
    _check_mark(data, codec, source.name)
    try:
        return data.decode(codec).removeprefix("\ufeff"), fact
    except UnicodeDecodeError as error:
        raise DataError(_bad_byte(data, error, codec, source.name)) from error
    except UnicodeError as error:  # idna and the like say no more
        raise DataError(Problem(f"the file is not {codec}", source.name)) from error


def lines(text: str) -> list[str]:
    r"""The lines without their ends. Only \n, \r\n and a lone \r end a line: U+2028, U+0085 and the like are characters."""
    parts = text.split("\n") if "\r" not in text else _LINE_END.split(text)
    if not parts[-1]:
        parts.pop()
    return parts


def ended_lines(text: str) -> list[str]:
    """The lines with their ends, so that joining them gives the text back."""
    return _LINE.findall(text)


def line_at(text: str, offset: int) -> int:
    """The line, from 1, on which the character at `offset` stands."""
    return 1 + line_ends(text, 0, offset)


def line_ends(text: str, start: int, stop: int) -> int:
    """How many lines end between two offsets."""
    return len(_LINE_END.findall(text, start, stop))


def _codec(encoding: str) -> str:
    try:
        with suppress(UnicodeError):
            b"text".decode(encoding)  # refuses codecs such as rot13, which turn text into text
        return codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        close = nearest(encoding, _COMMON)
        raise RecipeError(Problem("no text encoding has this name", "encoding", value=encoding, nearest=close)) from error


def _check_mark(data: bytes, codec: str, name: str) -> None:
    """DataError if the first bytes say another encoding than the recipe does."""
    marked = next((known for mark, known in _MARKS if data.startswith(mark)), None)
    found = marked or _wide(data)
    if found is None or codec.startswith(("utf-16", "utf-32") if marked is None else found):
        return
    rule = f"the file begins with the byte order mark of {found}" if marked else f"every second byte is zero, as in {found}"
    raise DataError(Problem(f"{rule}, not {codec}", f"{name}:1", remedy=f"set `encoding: {found}`"))


def _wide(data: bytes) -> str | None:
    """utf-16 without a mark: text of western letters has a zero in every second byte."""
    head = data[:2000]
    low, high = head[::2].count(0), head[1::2].count(0)
    if len(head) < 4 or max(low, high) * 4 < len(head) or min(low, high):
        return None
    return "utf-16-be" if low else "utf-16-le"


def _bad_byte(data: bytes, error: UnicodeDecodeError, codec: str, name: str) -> Problem:
    before = data[: error.start].decode(codec, "replace")
    likely = _likely(data, codec)
    return Problem(
        f"byte 0x{data[error.start]:02x} at offset {error.start} is not {codec}",
        f"{name}:{line_at(before, len(before))}",
        remedy=f"the file may be {likely}: set `encoding: {likely}`, or repair the byte",
    )


def _likely(data: bytes, codec: str) -> str:
    guesses = [*(["utf-8"] if codec != "utf-8" else []), *(["cp1252"] if re.search(rb"[\x80-\x9f]", data) else [])]
    for guess in guesses:
        try:
            data.decode(guess)
        except UnicodeDecodeError:
            continue
        return guess
    return "latin-1"
