"""Recurrent layers, over rows that are packed by length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Looks, Port, Ports
from manyheads.types import States

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
MATRICES = {"input": "weight_ih", "state": "weight_hh"}  # as torch calls them
_PARTS = {"lstm": ("hidden", "cell"), "gru": ("hidden",)}  # of a state


class Recurrent(nn.Module):
    """states (B, T, D) -> states (B, T, width), or twice the width where it is bidirectional: forward, then backward.

    LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014). Rows are packed by length: what is padded is not
    computed, so that a row's states do not depend on its company. `dropout` is between layers.

    Rows that `carry` go on from the state in which the row before them in their slot ended, without its gradient (truncated
    back-propagation through time: Williams and Peng 1990).
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
        looks: Looks = "back" if not bidirectional else "halves" if layers == 1 else "around"
        self.ports = Ports((Port("states", width_in),), Port("states", gives), looks=looks)
        self.carried: dict[str, Tensor] = {}
        """The state that each slot keeps, by part: (layers, slots, width). No weights: neither averaged nor in an artefact."""
        self._parts = _PARTS[cell]
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
        if states.carry is None:
            found, _ = self.cells(packed)
        else:
            found, ended = self.cells(packed, self._begin(states.carry, states.states))
            self._keep(states.carry, ended if isinstance(ended, tuple) else (ended,))
        hidden, _ = pad_packed_sequence(found, batch_first=True, total_length=states.mask.shape[1])
        return States(hidden, states.mask, states.words, carry=states.carry)

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Keep in the slots what a checkpoint says they kept."""
        device = next(self.parameters()).device
        self.carried = {part: tensor.to(device, copy=True) for part, tensor in carried.items()}

    def _begin(self, carry: Tensor, like: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The state in which each row begins: that of its slot where it goes on, else zeros."""
        if self.cells.bidirectional:
            raise ValueError("what reads a text backward cannot go on behind it: rows that carry want `bidirectional: false`")
        if len(held := carry[carry != 0].abs()) > len(set(held.tolist())):
            raise ValueError("two rows carry in one slot: a chunk of a text and the next one cannot run as one")
        slots, going = carry.abs().sub(1).clamp(min=0), (carry > 0)[:, None]
        self._grow(int(slots.max()) + 1, like)
        begun = tuple(torch.where(going, self.carried[part][:, slots], 0).to(like.dtype) for part in self._parts)
        return begun if len(begun) > 1 else begun[0]

    def _keep(self, carry: Tensor, ended: tuple[Tensor, ...]) -> None:
        kept = carry != 0
        slots = carry[kept].abs() - 1
        for part, state in zip(self._parts, ended, strict=True):
            self.carried[part][:, slots] = state.detach()[:, kept].to(self.carried[part].dtype)

    def _grow(self, slots: int, like: Tensor) -> None:
        """Room for so many slots, also for what is trained later when an evaluation comes first."""
        with torch.inference_mode(False):
            for part in self._parts:
                old = self.carried.get(part)
                if old is None or old.shape[1] < slots or old.device != like.device:
                    more = torch.zeros(self.cells.num_layers, slots, self.cells.hidden_size, device=like.device)
                    if old is not None:
                        more = torch.cat([old.to(like.device), more[:, old.shape[1] :]], 1)
                    self.carried[part] = more
