"""A linear-chain conditional random field over the words of a row (Lafferty et al., ICML 2001).

    p(tags | words) = exp(score(tags)) / sum of exp(score(path)) over all paths

    score(tags) = start[tag 1] + the emission of each word's tag + the transition of each pair of neighbours + end[last tag]

Everything runs for all rows and tags at once; only the words of a row come one after the other. Half precision is computed in
float32, as sums of many logarithms need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from manyheads.types import IGNORE, RowBlock

_NEVER = -1e30  # the score of what may not be: its probability is 0.0, and gradients beside it stay finite, as -inf's do not


@dataclass(frozen=True, slots=True)
class Lattice(RowBlock):
    """The scores of all paths through each row. What a head with a chain gives.

    emissions    (B, W, C) float
    mask         (B, W) bool, True on the words of the chain, which come first in their row; False after them
    transitions  (B, C, C) float, from a tag to the next
    start, end   (B, C) float
    """

    emissions: Tensor
    mask: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor

    def narrow(self, width: int) -> Self:
        """The first `width` words."""
        return replace(self, emissions=self.emissions[:, :width], mask=self.mask[:, :width])


@dataclass(frozen=True, slots=True)
class Moves:
    """What a chain may do: tags (C, C) that may follow one another, tags (C,) that may begin it, tags (C,) that may end it."""

    between: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, between: Sequence[Sequence[bool]], first: Sequence[bool], last: Sequence[bool]) -> Self:
        return cls(torch.tensor(between), torch.tensor(first), torch.tensor(last))

    def hold(self, lattice: Lattice, rows: Tensor | None = None) -> Lattice:
        """The lattice without the paths that move otherwise; of `rows` (B,) bool only where True."""
        device = lattice.emissions.device
        every = torch.ones(len(lattice), dtype=torch.bool, device=device) if rows is None else rows
        between = ~self.between.to(device) & every[:, None, None]
        first, last = (~allowed.to(device) & every[:, None] for allowed in (self.first, self.last))
        return replace(
            lattice,
            transitions=lattice.transitions.masked_fill(between, _NEVER),
            start=lattice.start.masked_fill(first, _NEVER),
            end=lattice.end.masked_fill(last, _NEVER),
        )


def log_partition(lattice: Lattice) -> Tensor:
    """(B,): the logarithm of the sum over all paths of exp(score); 0 for a row without words."""
    if not lattice.mask.shape[1]:
        return lattice.emissions.sum((1, 2))
    lattice = _wide(lattice)
    return _closed(_forward(lattice)[-1], lattice)


def score(lattice: Lattice, path: Tensor) -> Tensor:
    """(B,): the score of one path a row. `path` (B, W) int64; what it says after a row's last word is not read."""
    if not lattice.mask.shape[1]:
        return lattice.emissions.sum((1, 2))
    lattice = _wide(lattice)
    mask = lattice.mask
    tags = path.masked_fill(~mask, 0)
    emitted = lattice.emissions.gather(2, tags.unsqueeze(-1)).squeeze(-1)
    rows = torch.arange(len(tags), device=tags.device).unsqueeze(-1)
    moved = lattice.transitions[rows, tags[:, :-1], tags[:, 1:]]
    last = tags.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0))
    ends = (lattice.start.gather(1, tags[:, :1]) + lattice.end.gather(1, last)).squeeze(-1)
    inside = torch.where(mask, emitted, 0).sum(1) + torch.where(mask[:, 1:], moved, 0).sum(1)
    return torch.where(mask[:, 0], inside + ends, 0)


def log_likelihood(lattice: Lattice, target: Tensor, moves: Moves | None = None) -> Tensor:
    """(B,): log p(tags | words) of each row. `target` (B, W) int64; a word of `IGNORE` may have any tag.

    What `moves` forbids has no probability. A row whose own tags no allowed path has (an error in the data, a span that was
    cut off) is taken without `moves`. A row that says nothing has 0, and no gradient.
    """
    known = (target != IGNORE) & lattice.mask
    says = known.any(1)
    lattice = _wide(lattice)
    lattice = replace(
        lattice, emissions=torch.where(says[:, None, None], lattice.emissions, 0), mask=lattice.mask & says[:, None]
    )
    if moves is not None:
        lattice = moves.hold(lattice, _fits(lattice, target, known, moves))
    return _supervised(lattice, target, known) - log_partition(lattice)


def viterbi(lattice: Lattice, moves: Moves | None = None) -> tuple[Tensor, Tensor]:
    """The best path of each row, (B, W) int64 and 0 after its last word, and its score, (B,) (Viterbi, 1967)."""
    mask = lattice.mask
    if not mask.shape[1]:
        return mask.long(), lattice.emissions.sum((1, 2))
    lattice = _held(lattice, moves)
    (first, _), *others = _words(lattice)
    best = lattice.start + first
    stay = torch.arange(best.shape[1], device=best.device).expand_as(best)
    came = []
    for emissions, inside in others:
        value, tag = (best.unsqueeze(-1) + lattice.transitions).max(1)
        best = torch.where(inside, value + emissions, best)
        came.append(torch.where(inside, tag, stay))
    found, last = (best + lattice.end).max(1)
    path = [last]
    for tag in reversed(came):
        path.append(tag.gather(1, path[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(path[::-1], 1).masked_fill(~mask, 0), torch.where(mask[:, 0], found, 0)


def marginals(lattice: Lattice, moves: Moves | None = None) -> Tensor:
    """(B, W, C): the probability of each tag at each word, by the forward-backward algorithm; 0 after a row's last word."""
    lattice = _held(lattice, moves)
    if not lattice.mask.shape[1]:
        return lattice.emissions
    before = _forward(lattice)
    total = _closed(before[-1], lattice)
    after = [lattice.end]
    for emissions, inside in _words(lattice)[:0:-1]:
        pulled = (lattice.transitions + (emissions + after[-1]).unsqueeze(1)).logsumexp(2)
        after.append(torch.where(inside, pulled, after[-1]))
    found = torch.stack(before, 1) + torch.stack(after[::-1], 1) - total[:, None, None]
    return torch.where(lattice.mask.unsqueeze(-1), found.exp(), 0)


def _wide(lattice: Lattice) -> Lattice:
    """In float32, or in float64 where it is that already."""
    dtype = torch.promote_types(lattice.emissions.dtype, torch.float32)
    return replace(lattice, **{name: t.to(dtype) for name, t in lattice.tensors() if t is not None and name != "mask"})


def _held(lattice: Lattice, moves: Moves | None) -> Lattice:
    return _wide(lattice) if moves is None else moves.hold(_wide(lattice))


def _words(lattice: Lattice) -> list[tuple[Tensor, Tensor]]:
    """For each word, emissions (B, C) and whether it is in the chain, (B, 1) bool."""
    return list(zip(lattice.emissions.unbind(1), lattice.mask.unsqueeze(-1).unbind(1), strict=True))


def _forward(lattice: Lattice) -> list[Tensor]:
    """W of (B, C): the logarithm of the sum over the paths that have come to each tag; after the last word it stays."""
    (first, _), *others = _words(lattice)
    reached = [lattice.start + first]
    for emissions, inside in others:
        moved = (reached[-1].unsqueeze(-1) + lattice.transitions).logsumexp(1) + emissions
        reached.append(torch.where(inside, moved, reached[-1]))
    return reached


def _closed(reached: Tensor, lattice: Lattice) -> Tensor:
    return torch.where(lattice.mask[:, 0], (reached + lattice.end).logsumexp(1), 0)


def _supervised(lattice: Lattice, target: Tensor, known: Tensor) -> Tensor:
    """(B,): the score of the target's path; where tags are missing, the log partition over the paths that agree with it."""
    if bool((known == lattice.mask).all()):
        return score(lattice, target)
    tags = torch.arange(lattice.emissions.shape[-1], device=target.device)
    other = known.unsqueeze(-1) & (target.unsqueeze(-1) != tags)
    return log_partition(replace(lattice, emissions=lattice.emissions.masked_fill(other, _NEVER)))


def _fits(lattice: Lattice, target: Tensor, known: Tensor, moves: Moves) -> Tensor:
    """(B,) bool: whether a path that `moves` allows agrees with the target."""
    zeros = {
        name: torch.zeros_like(t, requires_grad=False) for name, t in lattice.tensors() if t is not None and name != "mask"
    }
    return _supervised(moves.hold(replace(lattice, **zeros)), target, known) > _NEVER / 2
