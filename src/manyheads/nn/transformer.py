"""A small transformer, trained from scratch."""

from __future__ import annotations

import torch
from torch import nn

from manyheads.ports import Looks, Port, Ports
from manyheads.types import States


class Transformer(nn.Module):
    """states (B, T, D) -> states (B, T, D): attention (Vaswani et al. 2017), normed before each layer, with learned positions.

    `causal`: a word sees those before it and itself alone.
    """

    def __init__(
        self,
        width: int,
        *,
        layers: int = 2,
        heads: int = 4,
        inner: int | None = None,
        dropout: float = 0.1,
        causal: bool = False,
        max_length: int = 512,
    ) -> None:
        super().__init__()
        looks: Looks = "back" if causal else "around"
        self.ports = Ports((Port("states", width),), Port("states", width), looks=looks)
        self.causal = causal
        self.positions = nn.Embedding(max_length, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(width, heads, inner or 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, states: States) -> States:
        length = states.mask.shape[1]
        positions = self.positions(torch.arange(length, device=states.mask.device))
        hidden = nn.Transformer.generate_square_subsequent_mask(length, device=states.mask.device) if self.causal else None
        away = torch.zeros_like(states.mask, dtype=positions.dtype).masked_fill(~states.mask, float("-inf"))
        found = self.layers(states.states + positions, hidden, away, is_causal=self.causal)
        return States(found, states.mask, states.words)
