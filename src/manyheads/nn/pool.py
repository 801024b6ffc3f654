"""One vector a row from its states."""

from __future__ import annotations

from torch import Tensor, nn

from manyheads.ports import Port, Ports
from manyheads.types import States


class Pool(nn.Module):
    """states (B, T, D) -> (B, D): the mean or maximum over real pieces, or the first piece (`cls`)."""

    ports = Ports((Port("states"),), Port("vector"))

    def __init__(self, how: str = "mean") -> None:
        super().__init__()
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
