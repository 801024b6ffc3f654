"""A linear-chain conditional random field over the words of a row (Lafferty et al., ICML 2001).

    p(tags | words) = exp(score(tags)) / sum of exp(score(path)) over all paths

    score(tags) = start[tag 1] + the emission of each word's tag + the transition of each pair of neighbours + end[last tag]

Everything runs for all rows and tags at once; only the words of a row come one after the other. Sums over paths are products of
matrices, scaled now and then (Rabiner 1989), or sums of logarithms where scores are too far apart for that. Gradients are the
posteriors of the forward-backward algorithm; no graph is unrolled. Products are in float64, logarithms in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from manyheads.types import IGNORE, RowBlock

_NEVER = -1e30  # the score of what may not be: its probability is 0.0, and gradients beside it stay finite, as -inf's do not
_TINY = 1e-280  # products down to here lose nothing in float64
_SCALED = 8  # words after which products are scaled


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
    scores = (lattice.emissions, lattice.transitions, lattice.start, lattice.end)
    found: Tensor = _Partition.apply(*scores, lattice.mask)  # type: ignore[no-untyped-call]  # torch has no types for it
    return found


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
    """The best path of each row, (B, W) int64 and 0 after its last word, and its score, (B,) (Viterbi, 1967).

    On the host: its steps are too small for a device, and for torch.
    """
    mask = lattice.mask
    if not mask.shape[1]:
        return mask.long(), lattice.emissions.sum((1, 2))
    lattice = _held(lattice, moves)
    scores = (_by_word(lattice).mT, lattice.transitions.permute(1, 2, 0), lattice.start.T, lattice.end.T, _last(mask))
    emissions, moved, start, end, last = (part.detach().cpu().contiguous().numpy() for part in scores)  # rows are the last axis
    rows, reached = np.arange(len(last)), [start + emissions[0]]
    for word in emissions[1:]:
        reached.append((reached[-1][:, None] + moved).max(0) + word)
    ended = np.stack(reached)[last, :, rows].T + end
    path = [ended.argmax(0)]
    for word in range(len(reached) - 2, -1, -1):
        before = (reached[word] + moved[:, path[-1], rows]).argmax(0)
        path.append(np.where(word < last, before, path[0]))
    best = torch.from_numpy(np.stack(path[::-1], 1)).to(mask.device)
    found = torch.from_numpy(ended.max(0)).to(mask.device)
    return best.masked_fill(~mask, 0), torch.where(mask[:, 0], found, 0)


def marginals(lattice: Lattice, moves: Moves | None = None) -> Tensor:
    """(B, W, C): the probability of each tag at each word, by the forward-backward algorithm; 0 after a row's last word."""
    lattice = _held(lattice, moves)
    if not lattice.mask.shape[1]:
        return lattice.emissions
    with torch.no_grad():
        return _sums(lattice).posteriors()[0].to(lattice.emissions.dtype)


class _Partition(torch.autograd.Function):
    """The log partition; its gradient is the probability of each tag and how often each move is expected."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, mask: Tensor) -> Tensor:
        ctx.sums = _sums(Lattice(emissions, mask, transitions, start, end))
        return torch.where(mask[:, 0], ctx.sums.total, 0).to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tags, moves = (part.to(grad.dtype) * grad[:, None, None] for part in ctx.sums.posteriors())
        return tags, moves, tags[:, 0], tags[torch.arange(len(grad)), _last(ctx.sums.mask)], None


def _sums(lattice: Lattice) -> _Products | _Logarithms:
    found = None if lattice.mask.device.type == "mps" else _Products.over(lattice)  # which has no float64
    return _Logarithms.over(lattice) if found is None else found


@dataclass(frozen=True, slots=True)
class _Products:
    """Sums over paths as products.

    shares    (W, B, 1, C) what the paths that have come to each tag add up to, up to a scale
    foreseen  (W, B, 1, C) the same before the word itself is read
    moved     (B, C, C) what a move counts
    ended     (B, C) the probability of each last tag
    """

    shares: Tensor
    foreseen: Tensor
    moved: Tensor
    ended: Tensor
    total: Tensor
    mask: Tensor

    @classmethod
    def over(cls, lattice: Lattice) -> Self | None:
        """None where scores are so far apart that a path would be lost."""
        emissions, steepest = _by_word(lattice).double(), lattice.transitions.double().amax((1, 2))
        start, end = lattice.start.double(), lattice.end.double()
        emissions = torch.cat([(emissions[:1] + start), emissions[1:]])
        peaks = emissions.amax(2)
        factors, moved = (
            (emissions - peaks.unsqueeze(2)).exp().unsqueeze(2),
            (lattice.transitions - steepest[:, None, None]).exp(),
        )
        share, one = factors[0], torch.ones_like(factors[0, :, :, :1])
        shares, foreseen, sizes = [share], [share], [one]
        for word, factor in enumerate(factors[1:].unbind(), 1):
            foreseen.append(torch.bmm(share, moved))
            share = foreseen[-1] * factor
            sizes.append(one if word % _SCALED else share.sum(2, keepdim=True))
            share = share if word % _SCALED else share / sizes[-1]
            shares.append(share)
        found, last, rows = torch.stack(shares), _last(lattice.mask), torch.arange(len(start), device=start.device)
        if not bool(((found[0] > _TINY) | (start < _NEVER / 2).unsqueeze(1)).all() & (found[1:] > _TINY).all()):
            return None
        scales = (torch.stack(sizes)[:, :, 0, 0].log() + peaks).cumsum(0)[last, rows] + last * steepest
        ended = found[last, rows, 0].log() + end
        return cls(found, torch.stack(foreseen), moved, ended.softmax(1), scales + ended.logsumexp(1), lattice.mask)

    def posteriors(self) -> tuple[Tensor, Tensor]:
        """(B, W, C) probabilities of tags, 0 after a row's last word, and (B, C, C) how often each move is expected."""
        found = _at(_last(self.mask), self.ended, len(self.shares)).unsqueeze(2)
        ratios, back = self.foreseen.reciprocal(), self.moved.mT
        for word in range(len(found) - 1, 0, -1):
            ratios[word] *= found[word]
            found[word - 1].addcmul_(self.shares[word - 1], torch.bmm(ratios[word], back))
        before, after = (part.squeeze(2).transpose(0, 1) for part in (self.shares[:-1], ratios[1:]))
        tags = torch.where(self.mask.unsqueeze(-1), found.squeeze(2).transpose(0, 1), 0)
        return tags, self.moved * torch.bmm(before.mT, after)


@dataclass(frozen=True, slots=True)
class _Logarithms:
    """Sums over paths as sums of logarithms: slower, and right for any scores.

    reached  (W, B, C) of the paths that have come to each tag
    ended    (B, C) the probability of each last tag
    """

    reached: Tensor
    transitions: Tensor
    ended: Tensor
    total: Tensor
    mask: Tensor

    @classmethod
    def over(cls, lattice: Lattice) -> Self:
        first, *others = _by_word(lattice).unbind()
        reached = [lattice.start + first]
        for emissions in others:
            reached.append((reached[-1].unsqueeze(2) + lattice.transitions).logsumexp(1) + emissions)
        found = torch.stack(reached)
        ended = found[_last(lattice.mask), torch.arange(len(lattice))] + lattice.end
        return cls(found, lattice.transitions, ended.softmax(1), ended.logsumexp(1), lattice.mask)

    def posteriors(self) -> tuple[Tensor, Tensor]:
        """As those of `_Products`."""
        found, moves = _at(_last(self.mask), self.ended, len(self.reached)), torch.zeros_like(self.transitions)
        for word in range(len(found) - 1, 0, -1):
            came = (self.reached[word - 1].unsqueeze(2) + self.transitions).softmax(1) * found[word].unsqueeze(1)
            found[word - 1] += came.sum(2)
            moves += came
        return torch.where(self.mask.unsqueeze(-1), found.transpose(0, 1), 0), moves


def _at(word: Tensor, values: Tensor, width: int) -> Tensor:
    """(W, B, C): the values (B, C) at each row's word (B,), else 0."""
    found = values.new_zeros(width, *values.shape)
    found[word, torch.arange(len(values))] = values
    return found


def _by_word(lattice: Lattice) -> Tensor:
    """(W, B, C): emissions, 0 after a row's last word."""
    return torch.where(lattice.mask.unsqueeze(-1), lattice.emissions, 0).transpose(0, 1)


def _last(mask: Tensor) -> Tensor:
    """(B,): each row's last word; the first of a row without words."""
    return (mask.sum(1) - 1).clamp(min=0)


def _wide(lattice: Lattice) -> Lattice:
    """In float32, or in float64 where it is that already."""
    dtype = torch.promote_types(lattice.emissions.dtype, torch.float32)
    return replace(lattice, **{name: t.to(dtype) for name, t in lattice.tensors() if t is not None and name != "mask"})


def _held(lattice: Lattice, moves: Moves | None) -> Lattice:
    return _wide(lattice) if moves is None else moves.hold(_wide(lattice))


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
