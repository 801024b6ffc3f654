"""Recurrent layers, over rows of unequal length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.ports import Looks, Port, Ports
from manyheads.types import States

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
MATRICES = {"input": "weight_ih", "state": "weight_hh"}  # as torch calls them
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a layer, in torch's order
_EVEN = 0.6  # share of real words from which padded rows are faster than packed ones
_PARTS = {"lstm": ("hidden", "cell"), "gru": ("hidden",)}  # of a state


class Recurrent(nn.Module):
    """states (B, T, D) -> states (B, T, width), or twice the width where it is bidirectional: forward, then backward.

    LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014). What is padded gives zeros; a row's states do not hang
    on its company. `dropout` is between layers.

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
        directions = [getattr(self.cells, f"{kind}_l{last}{end}") for end in self._ends]  # (gates * width, D) each
        units = torch.cat([d.unflatten(0, (-1, self.cells.hidden_size)) for d in directions], 1)
        return [part.flatten(0, 1) for part in units.chunk(count, 1)]

    def forward(self, states: States) -> States:
        mask, lengths = states.mask, states.mask.sum(1).clamp(min=1)
        begun = None if states.carry is None else self._begin(states.carry, states.states)
        with torch.autocast(mask.device.type, enabled=False):  # not every processor has these cells in half precision
            read = states.states.float()
            hidden, ended = self._padded(read, lengths, begun) if self._is_even(states) else self._packed(read, lengths, begun)
        if states.carry is not None:
            self._keep(states.carry, ended)
        return States(hidden * mask.unsqueeze(-1), mask, states.words, carry=states.carry)

    def _is_even(self, states: States) -> bool:
        """Whether rows run padded: a processor is several times faster so, but for what it computes behind their ends.

        The state in which a padded row ends is not known, so that rows that carry one must be full.
        """
        real = float(states.mask.float().mean())
        return states.mask.device.type == "cpu" and (real == 1 if states.carry is not None else real >= _EVEN)

    def _packed(self, read: Tensor, lengths: Tensor, begun: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        packed = pack_padded_sequence(read, lengths.cpu(), batch_first=True, enforce_sorted=False)
        found, ended = self.cells(packed, begun if begun is None or len(begun) > 1 else begun[0])
        hidden, _ = pad_packed_sequence(found, batch_first=True, total_length=read.shape[1])
        return hidden, ended if isinstance(ended, tuple) else (ended,)

    def _padded(self, read: Tensor, lengths: Tensor, begun: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `_packed` a layer and a direction at a time; backward each row is turned over within its length."""
        cells, ends = self.cells, []
        turned = (lengths.unsqueeze(1) - 1 - torch.arange(read.shape[1], device=read.device)).clamp(min=0).unsqueeze(-1)
        zeros = (read.new_zeros(1, len(read), cells.hidden_size),) * len(self._parts)
        for layer in range(cells.num_layers):
            sides = []
            for end in self._ends:
                given = _turn(read, turned) if end else read
                weights = [getattr(cells, f"{name}_l{layer}{end}") for name in _WEIGHTS]
                first = zeros if begun is None else tuple(part[layer : layer + 1].contiguous() for part in begun)
                found, last = _run(given, first, weights, self.training)
                sides.append(_turn(found, turned) if end else found)
                ends.append(last)
            read = torch.cat(sides, -1) if len(sides) > 1 else sides[0]
            if layer + 1 < cells.num_layers:
                read = dropout(read, cells.dropout, self.training)
        return read, tuple(torch.cat(part) for part in zip(*ends, strict=True))

    @property
    def _ends(self) -> tuple[str, ...]:
        """What the names of a layer's weights end in, for each direction."""
        return ("", "_reverse") if self.cells.bidirectional else ("",)

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Keep in the slots what a checkpoint says they kept."""
        device = next(self.parameters()).device
        self.carried = {part: tensor.to(device, copy=True) for part, tensor in carried.items()}

    def _begin(self, carry: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """The state in which each row begins: that of its slot where it goes on, else zeros."""
        if self.cells.bidirectional:
            raise ValueError("what reads a text backward cannot go on behind it: rows that carry want `bidirectional: false`")
        if len(held := carry[carry != 0].abs()) > len(set(held.tolist())):
            raise ValueError("two rows carry in one slot: a chunk of a text and the next one cannot run as one")
        slots, going = carry.abs().sub(1).clamp(min=0), (carry > 0)[:, None]
        self._grow(int(slots.max()) + 1, like)
        return tuple(torch.where(going, self.carried[part][:, slots], 0).float() for part in self._parts)

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


def _run(read: Tensor, first: tuple[Tensor, ...], weights: list[Tensor], training: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction: (B, T, width), and the parts (1, B, width) of the state in which it ends."""
    if len(first) > 1:
        found, *ended = torch.lstm(read, first, weights, True, 1, 0.0, training, False, True)
        return found, tuple(ended)
    found, last = torch.gru(read, first[0], weights, True, 1, 0.0, training, False, True)
    return found, (last,)


def _turn(rows: Tensor, order: Tensor) -> Tensor:
    """(B, T, D) with the words of each row in the order (B, T, 1)."""
    return rows.gather(1, order.expand(-1, -1, rows.shape[-1]))
