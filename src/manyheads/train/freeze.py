"""Modules that stand still for some of the steps, or for all."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn import Parameter

from manyheads.config.spec.module import ModuleBase
from manyheads.model import Model


class Freezing:
    """Frozen modules have no gradient, so no decay either, and no dropout; gradients pass through them to what comes before.

    What is frozen follows from the number of steps that are done, so a run that continues needs no state. A weight that a
    frozen module shares with another one stands still as well, and what had no gradient before keeps none.
    """

    def __init__(self, model: Model, modules: Mapping[str, ModuleBase]) -> None:
        self.model = model
        self.modules = {name: spec for name, spec in modules.items() if name in model.pool}
        self.still: frozenset[str] = frozenset()
        self.held: list[Parameter] = []

    def apply(self, done: int) -> bool:
        """Freeze what is frozen after `done` steps, and that alone; True when this is another set than before."""
        still = frozenset(name for name, spec in self.modules.items() if is_frozen(spec, done))
        if still == self.still:
            return False
        self.release()
        self.still = still
        held = {p for name in still for p in self.model.pool[name].parameters() if p.requires_grad}
        self.held = list(held)
        for parameter in self.held:
            parameter.requires_grad_(False)
        self.settle()
        return True

    def settle(self) -> None:
        """Frozen modules into evaluation mode, after somebody put the whole model into training mode."""
        for name in self.still:
            self.model.pool[name].eval()

    def release(self) -> None:
        """Give back all gradients that were taken."""
        for parameter in self.held:
            parameter.requires_grad_(True)
        for name in self.still:
            self.model.pool[name].train(self.model.training)
        self.still, self.held = frozenset(), []


def is_frozen(module: ModuleBase, done: int) -> bool:
    """Whether a module stands still once `done` optimizer steps are taken."""
    late = module.unfreeze_at is not None and done < module.unfreeze_at
    early = module.freeze_at is not None and done >= module.freeze_at
    return module.freeze or late or early
