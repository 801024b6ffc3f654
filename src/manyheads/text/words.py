"""Words of a running text, for tasks that tag words when they are asked about plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

PATTERN = r"[@#]?\w+(?:[-'’.]\w+)*|[^\w\s]"
_WORD = re.compile(PATTERN)


def words(text: str) -> list[tuple[int, int]]:
    """Characters (from, to) of each word: letters and digits with inner marks, a @name, a #tag, or one other sign.

    >>> [("It's #1, @you!")[a:b] for a, b in words("It's #1, @you!")]
    ["It's", '#1', ',', '@you', '!']
    """
    return [match.span() for match in _WORD.finditer(text)]


def first_pieces(word_spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """For each word the position of the first piece that has a character of it; -1 when it was cut off.

    `offsets` are the pieces' characters (from, to); special pieces, whose span is empty, belong to no word. A piece may
    begin before its word, with the space that some tokenizers keep, and words may share one, such as `...`.
    """
    found, piece = [], 0
    for start, stop in word_spans:
        while piece < len(offsets) and (offsets[piece][1] <= start or offsets[piece][0] == offsets[piece][1]):
            piece += 1
        inside = piece < len(offsets) and offsets[piece][0] < stop
        found.append(piece if inside else -1)
    return found
