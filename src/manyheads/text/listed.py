"""A file of words, one a line: the list of a vocabulary, or the words beside a .npy of their vectors."""

from __future__ import annotations

from pathlib import Path

from manyheads.errors import DataError, Problem


def listed_lines(path: Path) -> list[str]:
    r"""The lines, without a byte order mark. Only \n and \r\n end one: U+2028, U+0085 and the like may stand in a word.

    Raises OSError, and DataError for what is not UTF-8.
    """
    try:
        text = path.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        rule = f"a list of words is text in UTF-8: {error.reason} at byte {error.start + 1}"
        raise DataError(Problem(rule, f"{path}:{line}")) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]
