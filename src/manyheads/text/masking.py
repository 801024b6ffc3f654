"""Which pieces of a text are hidden, so that a model tells them from the others: how many in each row, and which never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manyheads.text.tokenize import Tokenizer

_MASKS = ("[MASK]", "<mask>")  # as BERT and all that follow it, and as RoBERTa and all that follow it, call the piece


@dataclass(frozen=True, slots=True)
class Marks:
    """Numbers of the special pieces of a tokenizer, which are never hidden, and of that among them which hides others."""

    special: frozenset[int]
    mask: int

    def hidden(self, ids: Sequence[int], share: float) -> int:
        """How many pieces of a row are hidden; none where some are already, since nobody knows what they were."""
        return 0 if self.mask in ids else places(sum(i not in self.special for i in ids), share)


def marks_of(tokenizer: Tokenizer) -> Marks | None:
    """The marks of a pretrained encoder's tokenizer; None where it has no piece that hides others."""
    special = tokenizer.special
    found = [number for name, number in special.items() if name in _MASKS]
    return Marks(frozenset(special.values()), found[0]) if found else None


def places(pieces: int, share: float) -> int:
    """How many of so many pieces are hidden: their share, at least one where there is any.

    >>> [places(n, 0.15) for n in (0, 1, 10, 20)]
    [0, 1, 2, 3]
    """
    return max(1, round(share * pieces)) if pieces else 0
