"""Heads: the last module of a path."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from manyheads.nn.crf import Lattice
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
        words = _words(states)
        at = words.clamp(min=0).unsqueeze(-1).expand(-1, -1, states.states.shape[-1])
        scores: Tensor = self.linear(self.dropout(torch.gather(states.states, 1, at)))
        return scores * (words >= 0).unsqueeze(-1)


class SpanHead(nn.Module):
    """states (B, T, D) -> scores (B, W, C): a word head whose words without a piece score -inf, so that none is chosen."""

    def __init__(self, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = WordHead(width, classes, dropout)
        self.ports = self.words.ports

    def forward(self, states: States) -> Tensor:
        scores: Tensor = self.words(states)
        return scores.masked_fill((_words(states) < 0).unsqueeze(-1), -math.inf)


class CrfHead(nn.Module):
    """states (B, T, D) -> `Lattice` of C tags: a word head, and scores learned for tags as neighbours, which begin at 0.

    The words of a row after its last piece are not in the chain; one without a piece between others is told by these alone.
    """

    def __init__(self, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = WordHead(width, classes, dropout)
        self.ports = self.words.ports
        self.transitions = nn.Parameter(torch.zeros(classes, classes))
        self.start, self.end = (nn.Parameter(torch.zeros(classes)) for _ in range(2))

    def forward(self, states: States) -> Lattice:
        mask = (_words(states) >= 0).flip(1).cummax(1).values.flip(1)
        chain = (weights.expand(len(mask), *weights.shape) for weights in (self.transitions, self.start, self.end))
        return Lattice(self.words(states), mask, *chain)


def _words(states: States) -> Tensor:
    if states.words is None:
        raise ValueError("words are wanted, but these tokens carry no word positions; the data set needs `words`")
    return states.words


def _small(linear: nn.Linear) -> nn.Linear:
    """The initialisation that BERT's heads have: normal of deviation 0.02, no bias."""
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear
