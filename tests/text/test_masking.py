"""How many pieces of a row are hidden, and which never."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.text.masking import Marks, marks_of, places
from manyheads.text.tokenize import Tokenizer


@given(st.integers(0, 2000), st.floats(0.01, 1))
def test_a_share_and_at_least_one_of_any(pieces: int, share: float) -> None:
    found = places(pieces, share)
    assert (found > 0) == (pieces > 0)
    assert found <= pieces
    assert abs(found - share * pieces) <= 1


def test_the_marks_of_a_tokenizer(masked_tiny: Path, tiny: Path) -> None:
    tokenizer = Tokenizer.load(masked_tiny)
    marks = marks_of(tokenizer)
    assert marks is not None
    assert tokenizer.piece(marks.mask) == "[MASK]"
    assert {tokenizer.piece(i) for i in marks.special} == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert marks_of(Tokenizer.load(tiny)) is None


@pytest.mark.parametrize(("ids", "found"), [((), 0), ((2, 3), 0), ((2, 9, 9, 9, 3), 2), ((2, 9, 4, 9, 9, 3), 0), ((9,), 1)])
def test_special_pieces_are_never_hidden_and_nothing_of_a_row_that_has_the_mask(ids: tuple[int, ...], found: int) -> None:
    assert Marks(frozenset((2, 3, 4)), 4).hidden(ids, 0.5) == found
