"""What a module takes and gives, so that wiring is checked before a tensor exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

_LESS = {"layers": "states"}  # kinds that may be read as another

Sight: TypeAlias = Literal["word", "past", "halves", "all"]
"""What the state of a word has seen: that word alone; it and those before it; the same in its first half, and in its second
half the word and those after it; or anything at all, which is what is assumed where nothing is said."""

Looks: TypeAlias = Literal["here", "back", "halves", "around"]
"""Where a module looks for the state of a word: at that word alone; back from it; back for the first half of the state and
ahead for the second; or anywhere, which is what is assumed where nothing is said."""

SEEN: dict[Sight, str] = {
    "word": "their own word alone",
    "past": "no word behind their own",
    "halves": "no word behind their own in the first half, and none before it in the second",
    "all": "words on both sides (or do not say what)",
}
_WITHIN: Mapping[Sight, Collection[str]] = {
    "word": ("word",),
    "past": ("word", "past"),
    "halves": ("word", "halves"),
    "all": tuple(SEEN),
}


@dataclass(frozen=True, slots=True)
class Port:
    """What goes over a wire: `tokens`, `states` (B, T, D), `vector` (B, D), `scores` (B, C) or (B, W, C), or `any`.

    `layers` are states with those of the layers below, and may be read as states. `width` is D or C where it is known.
    `columns` are several results by name, `parts`; a step reads one of them, as `stitch.pos`.
    `sight` is what states have seen; of what is taken, the most that they may have seen.
    """

    kind: str = "any"
    width: int | None = None
    sight: Sight = "all"
    parts: tuple[tuple[str, Port], ...] = ()

    def fits(self, wanted: Port) -> bool:
        """True when this can be fed where `wanted` is expected."""
        same_kind = "any" in (self.kind, wanted.kind) or wanted.kind in (self.kind, _LESS.get(self.kind))
        return same_kind and (None in (self.width, wanted.width) or self.width == wanted.width) and not self.peeks(wanted)

    def peeks(self, wanted: Port) -> bool:
        """True when this has, or may have, seen more than `wanted` may."""
        return self.sight not in _WITHIN[wanted.sight]

    def part(self, name: str) -> Port | None:
        """What goes over the wire that is called so; None where there is no such wire."""
        return dict(self.parts).get(name) if self.parts else ANY

    def __str__(self) -> str:
        if self.parts:
            return f"{len(self.parts)} results ({', '.join(name for name, _ in self.parts)})"
        return self.kind if self.width is None else f"{self.kind} of width {self.width}"


ANY = Port()


@dataclass(frozen=True, slots=True)
class Ports:
    """What a module takes, an entry an input (None: any number of anything), and what it gives.

    `same_width` says that what it gives is as wide as its first input, `looks` where it looks for the state of a word.
    """

    takes: tuple[Port, ...] | None = None
    gives: Port = ANY
    same_width: bool = False
    looks: Looks = "around"


def sight(looks: Looks, inputs: Sequence[Sight]) -> Sight:
    """What states have seen that a module makes of inputs which have seen this much.

    The halves of states are known apart only right behind the module that made them: whatever is made of both has seen all.
    And one that looks ahead, at states which have seen what was before them, has seen everything.

    >>> sight("back", ["word", "past"]), sight("halves", ["word"]), sight("halves", ["past"]), sight("here", ["halves"])
    ('past', 'halves', 'all', 'all')
    """
    seen = set(inputs)
    if seen == {"word"}:
        of_words: dict[Looks, Sight] = {"here": "word", "back": "past", "halves": "halves", "around": "all"}
        return of_words[looks]
    return "past" if seen and seen <= {"word", "past"} and looks in ("here", "back") else "all"
