"""One vector a row from its states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Port, Ports
from manyheads.types import States

_HOW = ("mean", "cls", "max")


class Pool(nn.Module):
    """states (B, T, D) -> (B, D): the mean or maximum over real pieces, or the first piece (`cls`)."""

    ports = Ports((Port("states"),), Port("vector"), same_width=True)

    def __init__(self, how: str = "mean") -> None:
        super().__init__()
        if how not in _HOW:
            raise RecipeError(Problem(f"how to pool is one of {listed(_HOW)}", value=how, nearest=nearest(how, _HOW)))
        self.how = how

    def forward(self, states: States) -> Tensor:
        hidden, mask = states.states, states.mask.unsqueeze(-1)
        if self.how == "cls":
            return hidden[:, 0]
        if self.how == "max":
            return hidden.masked_fill(~mask, float("-inf")).amax(1)
        weights = mask.to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def extra_repr(self) -> str:
        return self.how


class AttentionPool(nn.Module):
    """states (B, T, D) -> (B, D): a mean over real pieces, each weighed by how it answers a learned query.

    The weights are softmax(q · tanh(W h + b)) over the pieces h of a row: the attention over words of hierarchical attention
    networks (Yang et al., NAACL 2016).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ports = Ports((Port("states", width),), Port("vector", width))
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, states: States) -> Tensor:
        hidden, mask = states.states, states.mask
        scores = self.query(torch.tanh(self.key(hidden))).squeeze(-1)
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1) * mask  # a row without pieces: zeros
        vector: Tensor = (weights.to(hidden.dtype).unsqueeze(1) @ hidden).squeeze(1)
        return vector
