"""Words of running text, and the piece at which each one is read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.text.words import first_pieces, words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Anna saw Rome.", ["Anna", "saw", "Rome", "."]),
        ("It's #1, @you!", ["It's", "#1", ",", "@you", "!"]),
        ("a state-of-the-art 3.5", ["a", "state-of-the-art", "3.5"]),
        ("U.S.A. now", ["U.S.A", ".", "now"]),
        ("don’t", ["don’t"]),
        ("「東京」", ["「", "東京", "」"]),
        ("...", [".", ".", "."]),
        ("# @ -", ["#", "@", "-"]),
        (" \t\n ", []),
        ("", []),
    ],
)
def test_words(text: str, wanted: list[str]) -> None:
    assert [text[a:b] for a, b in words(text)] == wanted


@given(st.text(max_size=60))
def test_words_come_in_order_and_leave_only_space_out(text: str) -> None:
    spans = words(text)
    assert all(a < b for a, b in spans)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    covered = {i for a, b in spans for i in range(a, b)}
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


SPECIAL = (0, 0)


def test_a_word_is_read_at_its_first_piece() -> None:
    assert first_pieces([(0, 5), (6, 9)], [SPECIAL, (0, 2), (2, 5), (6, 9), SPECIAL]) == [1, 3]


def test_words_that_were_cut_off_have_no_piece() -> None:
    assert first_pieces([(0, 5), (6, 9), (10, 12)], [SPECIAL, (0, 5), SPECIAL]) == [1, -1, -1]


def test_a_word_that_the_tokenizer_drops_has_no_piece() -> None:
    assert first_pieces([(0, 1), (2, 3), (4, 5)], [SPECIAL, (0, 1), (4, 5), SPECIAL]) == [1, -1, 2]


def test_a_piece_may_begin_with_the_space_before_its_word() -> None:
    assert first_pieces([(0, 5), (6, 11)], [SPECIAL, (0, 5), (5, 11), SPECIAL]) == [1, 2]


def test_words_may_share_a_piece() -> None:
    assert first_pieces([(0, 1), (1, 2), (2, 3)], [SPECIAL, (0, 3), SPECIAL]) == [1, 1, 1]


@given(st.lists(st.integers(1, 4), max_size=8), st.integers(0, 30), st.booleans())
def test_each_word_has_a_piece_of_its_own_or_none(sizes: list[int], kept: int, spaces: bool) -> None:
    """Pieces of one or two characters, with or without the space before; some of the last are cut off."""
    spans, pieces, at = [], [SPECIAL], 0
    for size in sizes:
        spans.append((at, at + size))
        pieces += [
            (start - (spaces and start == at and start > 0), min(start + 2, at + size)) for start in range(at, at + size, 2)
        ]
        at += size + 1
    pieces = pieces[: kept + 1]
    for (start, stop), piece in zip(spans, first_pieces(spans, pieces), strict=True):
        inside = [i for i, (a, b) in enumerate(pieces) if b > start and a < stop and a != b]
        assert piece == (inside[0] if inside else -1)


def test_the_pieces_of_real_text(bert_tiny: object) -> None:
    from pathlib import Path

    from manyheads.text.tokenize import Tokenizer

    text = "Unbelievable weather in Timbuktu, isn't it?"
    [pieces] = Tokenizer.load(Path(str(bert_tiny))).encode_texts([text], None, 64, offsets=True)
    spans = words(text)
    for (start, stop), piece in zip(spans, first_pieces(spans, pieces.offsets), strict=True):
        first, last = pieces.offsets[piece]
        assert start == first < last <= stop
