"""The states that recurrent modules carry through a text in chunks, as a checkpoint keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from manyheads.model import Model
from manyheads.nn.recurrent import Recurrent

_OWNER = "carried:"


def carried(model: Model) -> dict[str, Mapping[str, Tensor]]:
    """By owner, for each module that carries a state, its parts: (layers, slots, width)."""
    return {_OWNER + name: module.carried for name, module in _carrying(model) if module.carried}


def carry_on(model: Model, kept: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Continue from what a checkpoint kept."""
    for name, module in _carrying(model):
        module.restore(kept.get(_OWNER + name, {}))


def _carrying(model: Model) -> Iterator[tuple[str, Recurrent]]:
    return ((name, module) for name, module in model.pool.items() if isinstance(module, Recurrent))
