"""States of one layer of an encoder, or of several mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from manyheads.ports import Port, Ports
from manyheads.types import States

_PORTS = Ports((Port("layers"),), Port("states"), same_width=True)


class Layer(nn.Module):
    """layers (B, T, D) -> states (B, T, D) of layer `index`: 0 the embeddings, 1 the first layer, -1 the last. No copy."""

    ports = _PORTS

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, states: States) -> States:
        return States(_layers(states)[self.index], states.mask, states.words)

    def extra_repr(self) -> str:
        return str(self.index)


class ScalarMix(nn.Module):
    """layers (B, T, D) -> states (B, T, D): gamma · Σ softmax(s)ⱼ hⱼ over the layers j, with learned s and gamma.

    A new one gives the mean. `layers` are numbers as of `Layer`; with `norm` each state is first brought to mean 0 and
    variance 1 over D. The mixing of ELMo (Peters et al., NAACL 2018).
    """

    ports = _PORTS

    def __init__(self, layers: Sequence[int], norm: bool = False) -> None:
        super().__init__()
        self.layers, self.norm = tuple(layers), norm
        self.scalars = nn.Parameter(torch.zeros(len(self.layers)))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, states: States) -> States:
        held = _layers(states)
        weights = self.gamma * self.scalars.softmax(0)
        mixed = weights[0] * self._normed(held[self.layers[0]])
        for weight, layer in zip(weights[1:], self.layers[1:], strict=True):  # in turn: a stack would copy all layers
            mixed = mixed + weight * self._normed(held[layer])
        return States(mixed, states.mask, states.words)

    def _normed(self, state: Tensor) -> Tensor:
        return layer_norm(state, state.shape[-1:]) if self.norm else state

    def extra_repr(self) -> str:
        return ", ".join([*map(str, self.layers), *(["norm"] if self.norm else [])])


def _layers(states: States) -> tuple[Tensor, ...]:
    """(B, T, D) of every layer, embeddings first."""
    if not states.below:
        raise ValueError(
            "all layers of an encoder are wanted, but these are the states of one; a Trunk with `layers` gives all"
        )
    return states.below if states.apart else (*states.below, states.states)
