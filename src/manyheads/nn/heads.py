"""Heads: the last module of a path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manyheads.ports import Port, Ports
from manyheads.types import States


class RowHead(nn.Module):
    """vector (B, D) -> scores (B, C): dropout, then one linear map."""

    def __init__(self, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.ports = Ports((Port("vector", width),), Port("scores", classes))
        self.dropout = nn.Dropout(dropout)
        self.linear = _small(nn.Linear(width, classes))

    def forward(self, vector: Tensor) -> Tensor:
        scores: Tensor = self.linear(self.dropout(vector))
        return scores


class WordHead(nn.Module):
    """states (B, T, D) -> scores (B, W, C): each word is read at its first piece; words without a piece get zeros."""

    def __init__(self, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.ports = Ports((Port("states", width),), Port("scores", classes))
        self.dropout = nn.Dropout(dropout)
        self.linear = _small(nn.Linear(width, classes))

    def forward(self, states: States) -> Tensor:
        if states.words is None:
            raise ValueError("words are wanted, but these tokens carry no word positions; the data set needs `words`")
        at = states.words.clamp(min=0).unsqueeze(-1).expand(-1, -1, states.states.shape[-1])
        scores: Tensor = self.linear(self.dropout(torch.gather(states.states, 1, at)))
        return scores * (states.words >= 0).unsqueeze(-1)


def _small(linear: nn.Linear) -> nn.Linear:
    """The initialisation that BERT's heads have: normal of deviation 0.02, no bias."""
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear
