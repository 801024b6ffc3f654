"""Lower rates when the selection stops getting better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyheads.config.spec.selection import PlateauSpec


class Plateau:
    """Counts evaluations without gain; `scale` multiplies every learning rate. The state is two numbers."""

    def __init__(self, spec: PlateauSpec) -> None:
        self.spec = spec
        self.scale, self.waited = 1.0, 0

    def see(self, better: bool) -> bool:
        """Take in an evaluation; True when the rates drop now. They never drop below `floor` of their peaks."""
        self.waited = 0 if better else self.waited + 1
        if self.waited < self.spec.patience or self.scale <= self.spec.floor:
            return False
        self.scale, self.waited = max(self.scale * self.spec.factor, self.spec.floor), 0
        return True

    def to_json(self) -> dict[str, Any]:
        return {"scale": self.scale, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.scale, self.waited = state["scale"], state["waited"]
