"""Spans from tags and back, in four schemes, and the moves that a scheme forbids.

    scheme   of one word   first      between    last       starts a span
    BIO      B             B          I          I          always with B (IOB2)
    IOB1     I             I          I          I          with B only right after a span of the same label
    BIOUL    U             B          I          L
    IOBES    S             B          I          E

A tag is `O`, or a letter of the scheme, a hyphen and a label that is not empty (and may hold hyphens). Reading is strict, as in
seqeval's strict mode (2018, by Hiroki Nakayama): what does not follow the scheme is no span, rather than a guess at one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from manyheads.errors import DataError, Problem, listed

Scheme: TypeAlias = Literal["BIO", "IOB1", "BIOUL", "IOBES"]

_LETTERS: dict[Scheme, str] = {"BIO": "BI", "IOB1": "BI", "BIOUL": "BIUL", "IOBES": "BISE"}
_ROLES = {"U": "S", "L": "E"}  # BIOUL is read with the letters of IOBES


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Words `start` to `stop` (exclusive) and their label."""

    label: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Tag:
    role: str  # O, B, I, S or E
    label: str


_OUTSIDE = _Tag("O", "")


def spans(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """The spans of one sentence, from left to right. DataError for a tag that the scheme does not have.

    >>> spans(["B-PER", "I-PER", "O", "I-LOC"], "BIO")
    [Span(label='PER', start=0, stop=2)]
    """
    read = _read(tags, scheme)
    found = []
    start = 0
    while start < len(read):
        before = read[start - 1] if start else _OUTSIDE
        if not _starts(before, read[start], scheme):
            start += 1
            continue
        stop = start + 1
        while stop < len(read) and _continues(read[stop - 1], read[stop]):
            stop += 1
        if _ends(read[stop - 1], read[stop] if stop < len(read) else _OUTSIDE, scheme):
            found.append(Span(read[start].label, start, stop))
        start = stop
    return found


def tags(spans: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """One tag for each of `length` words. DataError for spans that are empty, overlap or reach outside.

    >>> tags([Span("PER", 0, 2), Span("LOC", 3, 4)], 4, "BIOUL")
    ['B-PER', 'L-PER', 'O', 'U-LOC']
    """
    written = ["O"] * length
    free, last = 0, ""
    for span in sorted(spans, key=lambda span: (span.start, span.stop)):
        if not (free <= span.start < span.stop <= length and span.label):
            raise DataError(Problem(f"spans need a label, a word, and words of their own among {length}", value=str(span)))
        touches = free == span.start and last == span.label
        for word, letter in enumerate(_letters(span.stop - span.start, touches, scheme), span.start):
            written[word] = f"{letter}-{span.label}"
        free, last = span.stop, span.label
    return written


def invalid_moves(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """The positions that a tag may not stand in after the one before it; `len(tags)` where the last tag may not end a sentence.

    There is none exactly when writing the spans of `tags` gives `tags` again.

    >>> invalid_moves(["O", "I-PER", "B-LOC", "I-PER"], "BIO")
    [1, 3]
    """
    path = [_OUTSIDE, *_read(tags, scheme), _OUTSIDE]
    return [i for i, (before, now) in enumerate(pairwise(path)) if not _may_follow(before, now, scheme)]


def legal_moves(labels: Sequence[str], scheme: Scheme) -> tuple[list[list[bool]], list[bool], list[bool]]:
    """Which label may follow which (before, then after), which may begin a sentence and which may end it.

    Sentences that keep to it, and no others, have no `invalid_moves`.

    >>> legal_moves(["O", "B-PER", "I-PER"], "BIO")
    ([[True, True, False], [True, True, True], [True, True, True]], [True, True, False], [True, True, True])
    """
    read = _read(labels, scheme)
    between = [[_may_follow(before, now, scheme) for now in read] for before in read]
    return between, [_may_follow(_OUTSIDE, now, scheme) for now in read], [_may_follow(tag, _OUTSIDE, scheme) for tag in read]


def _read(tags: Sequence[str], scheme: Scheme) -> list[_Tag]:
    read = []
    for tag in tags:
        letter, _, label = tag.partition("-")
        if tag != "O" and not (letter and letter in _LETTERS[scheme] and len(letter) == 1 and label):
            known = listed(["O", *(f"{known}-…" for known in _LETTERS[scheme])])
            raise DataError(Problem(f"{scheme} has the tags {known}", value=tag))
        read.append(_OUTSIDE if tag == "O" else _Tag(_ROLES.get(letter, letter), label))
    return read


def _starts(before: _Tag, now: _Tag, scheme: Scheme) -> bool:
    if scheme != "IOB1":
        return now.role in ("B", "S")
    if now.role == "I":
        return before.role != "I" or before.label != now.label
    return now.role == "B" and before.label == now.label


def _continues(before: _Tag, now: _Tag) -> bool:
    return before.role in ("B", "I") and now.role in ("I", "E") and before.label == now.label


def _ends(last: _Tag, after: _Tag, scheme: Scheme) -> bool:
    if scheme in ("BIOUL", "IOBES"):
        return last.role in ("S", "E")
    # seqeval drops an IOB1 span of one B before a B of another label: that second B has nothing to be parted from
    return not (scheme == "IOB1" and last.role == after.role == "B" and last.label != after.label)


def _may_follow(before: _Tag, now: _Tag, scheme: Scheme) -> bool:
    if scheme == "IOB1":
        return now.role != "B" or before.label == now.label
    if now.role in ("I", "E"):
        return _continues(before, now)
    return scheme == "BIO" or before.role not in ("B", "I")


def _letters(width: int, touches: bool, scheme: Scheme) -> str:
    if scheme == "BIO":
        return "B" + "I" * (width - 1)
    if scheme == "IOB1":
        return ("B" if touches else "I") + "I" * (width - 1)
    single, last = _LETTERS[scheme][2], _LETTERS[scheme][3]
    return single if width == 1 else "B" + "I" * (width - 2) + last
