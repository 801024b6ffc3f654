"""What tasks share is held near where an earlier task left it, for data sets that come one after the other.

successive  δ·‖θ − θ'‖², θ' being the parameters at the end of the last pass of another data set (Hashimoto et al., EMNLP 2017)
ewc         λ/2·Σ F·(θ − θ')², F being the diagonal Fisher information of all passes before (Kirkpatrick et al., PNAS 2017;
            one anchor for all of them: Schwarz et al., ICML 2018). F is the mean square of the passes' own step gradients.

The penalty acts after the optimizer's step and implicitly, θ ← (θ + c·θ') / (1 + c), as AdamW's decay stands beside its
step: so no coefficient overshoots, and a huge one holds the parameters where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from manyheads.config.spec.selection import AnchorSpec
from manyheads.model import Model


class Anchor:
    """The anchor of a run. `see` takes in the gradients of a step as they are before a clip, `pull` acts after it."""

    def __init__(self, spec: AnchorSpec, model: Model) -> None:
        shared = model.graph.shared()
        self.spec = spec
        self.parameters = {f"{m}.{n}": p for m in shared for n, p in model.pool[m].named_parameters() if p.requires_grad}
        self.at: dict[str, Tensor] = {}
        self.fisher: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}
        self.steps = 0
        self.now = ""

    @torch.no_grad()
    def see(self, rows: Mapping[str, int]) -> None:
        """Gradients of a step on these data sets. Where they are others than before, a pass has ended: here is the anchor."""
        datasets = " ".join(sorted(rows))
        if self.now and datasets != self.now:
            self._drop_anchor()
        self.now = datasets
        if self.spec.type == "ewc":
            self.steps += 1
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    square = parameter.grad.square()
                    self.squares[name] = self.squares[name] + square if name in self.squares else square

    @torch.no_grad()
    def pull(self, rates: Mapping[Tensor, float]) -> None:
        """Draw the parameters towards the anchor, each with its own learning rate; one that has none stands still."""
        for name, at in self.at.items():
            parameter = self.parameters[name]
            if not parameter.requires_grad or parameter not in rates:
                continue
            force = rates[parameter] * self._stiffness(name, at)
            parameter.copy_((parameter + force * at) / (1 + force))

    def penalty(self) -> float:
        """The value of the penalty now."""
        total = 0.0
        for name, at in self.at.items():
            total += float((self._stiffness(name, at) / 2 * (self.parameters[name].detach() - at).square()).sum())
        return total

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """What a checkpoint keeps, by owner."""
        return {"anchor": self.at, "fisher": self.fisher, "squares": self.squares}

    def to_json(self) -> dict[str, Any]:
        return {"now": self.now, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.at, self.fisher, self.squares = (
            {n: t.to(self.parameters[n].device) for n, t in tensors.get(owner, {}).items()}
            for owner in ("anchor", "fisher", "squares")
        )
        self.now, self.steps = state["now"], state["steps"]

    def _stiffness(self, name: str, at: Tensor) -> Tensor:
        """Second derivative of the penalty, for each number of a parameter."""
        if self.spec.type == "successive":
            return torch.full_like(at, 2 * self.spec.strength)
        return self.spec.strength * self.fisher.get(name, torch.zeros_like(at))

    def _drop_anchor(self) -> None:
        self.at = {name: p.detach().clone() for name, p in self.parameters.items()}
        for name, total in self.squares.items():
            mean = total / self.steps
            self.fisher[name] = self.fisher[name] + mean if name in self.fisher else mean
        self.squares, self.steps = {}, 0
