"""Recurrent layers, over rows that are packed by length."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Port, Ports
from manyheads.types import States

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
MATRICES = {"input": "weight_ih", "state": "weight_hh"}  # as torch calls them


class Recurrent(nn.Module):
    """states (B, T, D) -> states (B, T, width), or twice the width where it is bidirectional: forward, then backward.

    LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014). Rows are packed by length: what is padded is not
    computed, so that a row's states do not depend on its company. `dropout` is between layers.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise RecipeError(Problem(f"a cell is one of {listed(CELLS)}", value=cell, nearest=nearest(cell, CELLS)))
        gives = width * (2 if bidirectional else 1)
        self.ports = Ports((Port("states", width_in),), Port("states", gives))
        made = CELLS[cell]
        self.cells = made(width_in, width, layers, batch_first=True, bidirectional=bidirectional, dropout=dropout)

    def subspaces(self, count: int, matrix: Literal["input", "state"]) -> list[Tensor]:
        """(rows, D) for each of `count` parts of the states: how their units' gates read the input, or the last state.

        Of the last layer, all gates of a unit together; of two directions the forward units come first, as in the states.
        """
        kind, last = MATRICES[matrix], self.cells.num_layers - 1
        ends = ("", "_reverse") if self.cells.bidirectional else ("",)
        directions = [getattr(self.cells, f"{kind}_l{last}{end}") for end in ends]  # (gates * width, D) each
        units = torch.cat([d.unflatten(0, (-1, self.cells.hidden_size)) for d in directions], 1)
        return [part.flatten(0, 1) for part in units.chunk(count, 1)]

    def forward(self, states: States) -> States:
        lengths = states.mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(states.states, lengths, batch_first=True, enforce_sorted=False)
        found, _ = self.cells(packed)
        hidden, _ = pad_packed_sequence(found, batch_first=True, total_length=states.mask.shape[1])
        return States(hidden, states.mask, states.words)
