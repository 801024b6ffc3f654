"""Words of a running text: for vocabularies of words, and for tasks that tag words when they are asked about plain text.

Always by the engine of the `tokenizers` library: what Python's `re` takes for a letter is not the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tokenizers
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split

_PATTERNS = {"words": r"[@#]?\w+(?:[-'’.]\w+)*|[^\w\s]", "spaces": r"\S+"}
SPLITS: Mapping[str, Split] = {n: Split(tokenizers.Regex(p), "removed", invert=True) for n, p in _PATTERNS.items()}
"""`words`: letters and digits with inner marks, a @name, a #tag, or one other sign. `spaces`: what spaces part."""

LOWERCASE = Lowercase()


def words(text: str, split: Split = SPLITS["words"]) -> list[tuple[int, int]]:
    """Characters (from, to) of each word.

    >>> [("It's #1, @you!")[a:b] for a, b in words("It's #1, @you!")]
    ["It's", '#1', ',', '@you', '!']
    """
    return [span for _, span in split.pre_tokenize_str(text)]


def without_capitals(text: str) -> str:
    """Without capitals, letter by letter, as a tokenizer folds them: `str.lower` looks at what stands beside a letter, too."""
    return text.lower() if text.isascii() else LOWERCASE.normalize_str(text)


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
