"""Convolutions over words or letters, and the strongest of what each finds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyheads.ports import Port, Ports
from manyheads.types import States


class Convolution(nn.Module):
    """states (B, T, D) -> vector (B, filters · kernels): the strongest of each convolution over the words of a row, after ReLU.

    The sentence classifier of Kim (EMNLP 2014).
    """

    def __init__(self, width_in: int, filters: int = 100, kernels: Sequence[int] = (3, 4, 5), *, dropout: float = 0.0) -> None:
        super().__init__()
        self.ports = Ports((Port("states", width_in),), Port("vector", filters * len(kernels)))
        self.convolutions = convolutions(width_in, filters, kernels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: States) -> Tensor:
        read = states.states * states.mask.unsqueeze(-1)
        found: Tensor = self.dropout(strongest(self.convolutions, read, states.mask.sum(1)))
        return found


def convolutions(width_in: int, filters: int, kernels: Sequence[int]) -> nn.ModuleList:
    """One for each width of `kernels`; of each every window counts that has a place of the row in it."""
    return nn.ModuleList(nn.Conv1d(width_in, filters, kernel, padding=kernel - 1) for kernel in kernels)


def strongest(convolutions: nn.ModuleList, read: Tensor, lengths: Tensor) -> Tensor:
    """(N, filters · kernels): of (N, T, D), zeros behind the lengths (N,), what each filter finds at most, at least 0.

    Windows behind the end of a row do not count, so that its company does not matter.
    """
    found = []
    for convolve in convolutions:
        hidden: Tensor = convolve(read.transpose(1, 2))
        width = hidden.shape[-1] - read.shape[1]
        ends = lengths.unsqueeze(1) + width * (lengths > 0).unsqueeze(1)
        inside = torch.arange(hidden.shape[-1], device=lengths.device) < ends
        found.append(hidden.relu().masked_fill(~inside.unsqueeze(1), 0).amax(-1))
    return torch.cat(found, -1)
