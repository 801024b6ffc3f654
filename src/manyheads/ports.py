"""What a module takes and gives, so that wiring is checked before a tensor exists."""

from __future__ import annotations

from dataclasses import dataclass

_LESS = {"layers": "states"}  # kinds that may be read as another


@dataclass(frozen=True, slots=True)
class Port:
    """What goes over a wire: `tokens`, `states` (B, T, D), `vector` (B, D), `scores` (B, C) or (B, W, C), or `any`.

    `layers` are states with those of the layers below, and may be read as states. `width` is D or C where it is known.
    `columns` are several results by name, `parts`; a step reads one of them, as `stitch.pos`.
    """

    kind: str = "any"
    width: int | None = None
    parts: tuple[tuple[str, Port], ...] = ()

    def fits(self, wanted: Port) -> bool:
        """True when this can be fed where `wanted` is expected."""
        same_kind = "any" in (self.kind, wanted.kind) or wanted.kind in (self.kind, _LESS.get(self.kind))
        return same_kind and (None in (self.width, wanted.width) or self.width == wanted.width)

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

    `same_width` says that what it gives is as wide as its first input.
    """

    takes: tuple[Port, ...] | None = None
    gives: Port = ANY
    same_width: bool = False
