"""Learned sharing: units that mix the states of several columns of layers, or those of several layers of one column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from manyheads.ports import Port, Ports
from manyheads.types import States

Start: TypeAlias = float | Literal["balanced"]


@dataclass(frozen=True, slots=True)
class Shares:
    """What a unit has learned: `weights` has a row for each of `sources`, with what flows from it to each of `results`."""

    sources: tuple[str, ...]
    results: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


class CrossStitch(nn.Module):
    """states (B, T, D) of K columns -> states (B, T, D) by the name of the column; or vectors (B, D) likewise.

    Each result is a sum over all that comes in, with learned weights: the cross-stitch unit of Misra et al. (CVPR 2016). With
    n `subspaces` each state is cut into n along D, and the weights are (K n, K n): the sluice network of Ruder et al.
    (AAAI 2019). The weight of a subspace for itself begins as `own`, and the others that flow into it share what is left of
    1; default .9, of several subspaces .95; `balanced`: all alike. Weights are not held between 0 and 1.

    A weight that is frozen at 0 is no connection: no gradient passes, so a frozen `own: 1` is K columns side by side.
    """

    def __init__(self, kind: str, width: int, columns: Sequence[str], *, subspaces: int = 1, own: Start | None = None) -> None:
        super().__init__()
        if width % subspaces:
            raise ValueError(f"a width of {width} cannot be cut into {subspaces} subspaces")
        port = Port(kind, width)
        self.ports = Ports((port,) * len(columns), Port("columns", parts=tuple((name, port) for name in columns)))
        self.columns, self.subspaces = tuple(columns), subspaces
        size = len(self.columns) * subspaces
        share = (0.9 if subspaces == 1 else 0.95) if own is None else own
        rows = [_first(size, i, share) for i in range(size)]
        self.weight = nn.Parameter(torch.stack(rows, 1).flatten())  # a vector, since matrices decay

    def table(self) -> Tensor:
        """(K n, K n): what flows from a row's subspace to a column's."""
        size = len(self.columns) * self.subspaces
        return self.weight.view(size, size)

    def shares(self) -> Shares:
        """By the names of the columns, with the number of each of their subspaces."""
        numbers = [f".{i}" for i in range(1, self.subspaces + 1)] if self.subspaces > 1 else [""]
        names = tuple(f"{column}{number}" for column in self.columns for number in numbers)
        return Shares(names, names, tuple(map(tuple, self.table().tolist())))

    def forward(self, *values: States | Tensor) -> dict[str, States | Tensor]:
        blocks = [block for value in values for block in _tensor(value).chunk(self.subspaces, -1)]
        frozen = not self.weight.requires_grad
        mixed = [_mix(weights, blocks, frozen) for weights in self.table().unbind(1)]
        found = [torch.cat(mixed[i : i + self.subspaces], -1) for i in range(0, len(mixed), self.subspaces)]
        return {name: _like(values[0], tensor) for name, tensor in zip(self.columns, found, strict=True)}

    def extra_repr(self) -> str:
        return ", ".join([*self.columns, *([f"subspaces={self.subspaces}"] if self.subspaces > 1 else [])])


class LayerStitch(nn.Module):
    """states (B, T, D) of several layers -> states (B, T, D), their sum with learned weights; or vectors likewise.

    The last one's weight begins as `top`, and the others share what is left of 1; `balanced`: all alike. The mixture over
    layers of a sluice network (Ruder et al., AAAI 2019). Its sibling `ScalarMix` reads the layers that an encoder gives at
    once, and its weights are a softmax; these are free, and may be negative.
    """

    def __init__(self, kind: str, width: int, layers: int, *, top: Start = 0.9) -> None:
        super().__init__()
        self.ports = Ports((Port(kind, width),) * layers, Port(kind, width))
        self.weight = nn.Parameter(_first(layers, layers - 1, top))

    def shares(self) -> Shares:
        """By the numbers of the layers, in the order of the step's inputs."""
        names = tuple(f"layer {i}" for i in range(1, len(self.weight) + 1))
        return Shares(names, ("sum",), tuple((weight,) for weight in self.weight.tolist()))

    def forward(self, *values: States | Tensor) -> States | Tensor:
        return _like(values[0], _mix(self.weight, [_tensor(value) for value in values], not self.weight.requires_grad))


def shares_of(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, Shares]:
    """What each unit among these modules has learned, by the module's name."""
    return {name: module.shares() for name, module in modules if isinstance(module, CrossStitch | LayerStitch)}


def _first(size: int, chief: int, share: Start) -> Tensor:
    """(size,) weights that sum to 1: `share` for the chief, the rest in equal parts; all for one that is alone."""
    if share == "balanced":
        return torch.full((size,), 1 / size)
    found = torch.full((size,), (1 - share) / max(size - 1, 1))
    found[chief] = share if size > 1 else 1
    return found


def _mix(weights: Tensor, tensors: Sequence[Tensor], frozen: bool) -> Tensor:
    """Σ wᵢ xᵢ, in turn: element by element, so a row does not depend on its company; frozen zeros are left out."""
    kept = weights.nonzero().flatten().tolist() if frozen else range(len(tensors))
    terms = [weights[i] * tensors[i] for i in kept]
    return sum(terms[1:], terms[0]) if terms else torch.zeros_like(tensors[0])


def _tensor(value: States | Tensor) -> Tensor:
    return value.states if isinstance(value, States) else value


def _like(value: States | Tensor, tensor: Tensor) -> States | Tensor:
    """`tensor` in the place of the states of `value`."""
    return States(tensor, value.mask, value.words) if isinstance(value, States) else tensor
