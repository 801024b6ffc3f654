"""What a reader sees as one character may be several code points; offsets should not fall between them."""

from __future__ import annotations

from unicodedata import category

_ZWJ, _ZWNJ = "\u200d", "\u200c"


def splits_grapheme(text: str, offset: int) -> bool:
    r"""Whether `offset` lies inside a grapheme cluster: before a mark of the letter before it, or inside an emoji or \r\n.

    The main rules of UAX #29, by what `unicodedata` knows; syllables of Hangul letters and Indic conjuncts are not seen.

    >>> splits_grapheme("cafe\u0301", 4), splits_grapheme("café", 3)
    (True, False)
    """
    if not 0 < offset < len(text):
        return False
    before, after = text[offset - 1], text[offset]
    if category(before) in ("Cc", "Zl", "Zp"):
        return before == "\r" and after == "\n"
    if _continues(after):
        return True
    if before == _ZWJ:  # it joins two emoji; in words it binds nothing to its right
        return _emoji(after) and _emoji(_base(text, offset - 1))
    return _flag(after) and _flags_before(text, offset) % 2 == 1


def _continues(character: str) -> bool:
    """Marks, joiners, tones of skin and tags go with what stands before them."""
    joiner = character in (_ZWJ, _ZWNJ)
    tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    tag = "\U000e0020" <= character <= "\U000e007f"
    return joiner or tone or tag or category(character)[0] == "M"


def _base(text: str, offset: int) -> str:
    """The character that marks before `offset` go with."""
    while offset > 1 and text[offset - 1] != _ZWJ and _continues(text[offset - 1]):
        offset -= 1
    return text[max(offset, 1) - 1]


def _emoji(character: str) -> bool:
    return category(character) == "So" and not _flag(character)


def _flag(character: str) -> bool:
    """Half of a flag: two letters of a country make one."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flags_before(text: str, offset: int) -> int:
    count = 0
    while count < offset and _flag(text[offset - 1 - count]):
        count += 1
    return count
