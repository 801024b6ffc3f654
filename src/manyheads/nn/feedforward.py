"""A linear map, a function, dropout."""

from __future__ import annotations

from torch import Tensor, nn

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Port, Ports
from manyheads.types import States

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class FeedForward(nn.Module):
    """vector (B, D) -> (B, width), or states (B, T, D) -> states (B, T, width): the kind that goes in comes out."""

    def __init__(self, kind: str, width_in: int, width: int, activation: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            rule = f"an activation is one of {listed(ACTIVATIONS)}"
            raise RecipeError(Problem(rule, value=activation, nearest=nearest(activation, ACTIVATIONS)))
        self.ports = Ports((Port(kind, width_in),), Port(kind, width), looks="here")
        self.layers = nn.Sequential(nn.Linear(width_in, width), ACTIVATIONS[activation](), nn.Dropout(dropout))

    def forward(self, value: Tensor | States) -> Tensor | States:
        if isinstance(value, States):
            return States(self.layers(value.states), value.mask, value.words, carry=value.carry)
        result: Tensor = self.layers(value)
        return result
