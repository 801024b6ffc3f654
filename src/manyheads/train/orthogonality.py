"""A loss of parameters that keeps subspaces of recurrent modules apart: λ·Σ ‖AᵢAⱼᵀ‖² over pairs of subspaces i < j.

The rows of Aᵢ are what the units of subspace i read by, so the penalty is 0 where they are orthogonal to those of all others
(Ruder et al., AAAI 2019, after Bousmalis et al., NeurIPS 2016).
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from manyheads.config.spec.sharing import OrthogonalitySpec
from manyheads.model import Model
from manyheads.nn.recurrent import Recurrent


class Orthogonality:
    """The penalty of a run. It has no state: what it adds to a gradient follows from the weights."""

    def __init__(self, spec: OrthogonalitySpec, model: Model) -> None:
        self.spec = spec
        self.modules = [m for name, m in model.pool.items() if name in spec.modules and isinstance(m, Recurrent)]

    def penalty(self) -> Tensor:
        """Its value now, a scalar with its graph."""
        found = torch.zeros((), device=next((p.device for m in self.modules for p in m.parameters()), None))
        for module in self.modules:
            for matrix in dict.fromkeys(self.spec.matrices):
                for one, other in combinations(module.subspaces(self.spec.subspaces, matrix), 2):
                    found = found + (one @ other.T).square().sum()
        return self.spec.strength * found

    def add(self) -> float | None:
        """Its gradient to that of the step, where modules have one, and its value; None where none of them learns."""
        learning = {p: p.grad for module in self.modules for p in module.parameters() if p.grad is not None}
        if not learning:
            return None
        with torch.enable_grad():
            value = self.penalty()
            gradients = torch.autograd.grad(value, list(learning), materialize_grads=True)
        for held, gradient in zip(learning.values(), gradients, strict=True):
            held += gradient
        return value.item()
