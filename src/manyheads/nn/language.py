"""How likely the next word is, or the one before: only where it is asked for, and never for all words at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from manyheads.errors import Problem, RecipeError
from manyheads.nn.embedding import Embedding
from manyheads.ports import Port, Ports, Sight
from manyheads.types import IGNORE, KEPT, RowBlock, States

_NARROWER = 4  # clusters of rarer words have fewer weights a word
SCORES = 2**24  # scores that are held at one time, 64 MiB of single precision

Decoder: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(N, D) states and (N,) numbers of words -> (N,) the natural logarithm of each word's probability."""


@dataclass(frozen=True, slots=True)
class NextWords(RowBlock):
    """What a language head gives: scores of words that are still to be computed, where they are asked for.

    hidden   (B, T, S, D) float, for each side that words are told on
    decoder  what tells how likely words are
    """

    hidden: Tensor
    decoder: Decoder = field(metadata=KEPT)

    def log_likelihood(self, target: Tensor) -> Tensor:
        """(N,) float of the N words of a target (B, T, S) that are not `IGNORE`, in their order."""
        known = target != IGNORE
        return self.decoder(self.hidden[:, : target.shape[1]][known], target[known])


class LanguageHead(nn.Module):
    """states (B, T, D) -> `NextWords` of `words` words, whose side S is the next word, the one before, or both in this order.

    States that have seen the word to be told are refused: forward wants states of the past, backward such of the word alone.
    With `halves` each side reads the half of the states that has not seen it: the states of one bidirectional layer. Both sides
    have one decoder. `of` is the embedding whose table is also that of the output (Press and Wolf, EACL 2017; Inan et al.,
    ICLR 2017), behind a linear map where widths differ. `softmax: adaptive` is that of Grave et al. (ICML 2017), with words
    parted by frequency at the `cutoffs`.
    """

    def __init__(
        self,
        width: int,
        words: int,
        *,
        direction: str = "forward",
        halves: bool = False,
        softmax: str = "full",
        cutoffs: Sequence[int] = (),
        of: Embedding | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if direction == "both" and not halves:
            raise RecipeError(Problem("both sides are told by states that have a half for each", value=direction))
        seen: Sight = "halves" if halves else "past" if direction == "forward" else "word"
        self.ports = Ports((Port("states", width, seen),), Port("scores", words))
        self.direction, self.halves, self.tied = direction, halves, of is not None
        read = width // 2 if halves else width
        self.dropout = nn.Dropout(dropout)
        self.decoder: nn.Module
        if softmax == "adaptive":
            self.decoder = AdaptiveSoftmax(read, words, cutoffs)
        else:
            self.decoder = TiedSoftmax(read, of) if of is not None else FullSoftmax(read, words)

    def forward(self, states: States) -> NextWords:
        hidden = self.dropout(states.states)
        sides = hidden.unflatten(-1, (2, -1)) if self.halves else hidden.unsqueeze(2)
        if self.halves and self.direction != "both":
            sides = sides[:, :, :1] if self.direction == "forward" else sides[:, :, 1:]
        return NextWords(sides, self.decoder)


class FullSoftmax(nn.Module):
    """A linear map to a score a word. Padding, word 0, is never told."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, words)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return likelihoods(hidden, target, self.linear.weight, self.linear.bias, never=0)


class TiedSoftmax(nn.Module):
    """The scores are products with the vectors of an embedding, plus a bias a word.

    The table stays the embedding's alone: it is no parameter of this module, and saved and loaded with the embedding.
    """

    def __init__(self, width: int, of: Embedding) -> None:
        super().__init__()
        words, wide = of.table.weight.shape
        self._of = (of,)  # in a tuple, so that it is not registered as a part
        self.bias = nn.Parameter(torch.zeros(words))
        self.map = nn.Linear(width, wide, bias=False) if width != wide else nn.Identity()

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return likelihoods(self.map(hidden), target, self._of[0].table.weight, self.bias, never=0)


class AdaptiveSoftmax(nn.Module):
    """The softmax of torch that parts words by frequency: the `cutoffs` are where the clusters of rarer words begin."""

    def __init__(self, width: int, words: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        if problem := misplaced(width, words, cutoffs):
            raise RecipeError(problem)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, words, list(cutoffs), div_value=_NARROWER)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        if not len(target):
            return hidden.sum(-1)
        with torch.autocast(hidden.device.type, enabled=False):  # it mixes what autocast makes of its parts
            found: Tensor = self.softmax(hidden.float(), target).output
        return found


def misplaced(width: int, words: int, cutoffs: Sequence[int]) -> Problem | None:
    """What is wrong with the cutoffs of an adaptive softmax over so many words, behind states so wide."""
    if not cutoffs or not all(a < b for a, b in pairwise([0, *cutoffs, words])):
        return Problem(f"cutoffs rise, from 1 to less than the {words} words of the vocabulary", value=str([*cutoffs]))
    if width < _NARROWER ** len(cutoffs):
        rule = (
            f"each cluster is read from states {_NARROWER} times narrower than the one before, and nothing is left of {width}"
        )
        return Problem(rule, value=str([*cutoffs]), remedy="name fewer cutoffs, or widen the states")
    return None


class Unigrams:
    """A decoder that knows how often each word came, (V,), one more than counted, and no states."""

    def __init__(self, counts: Tensor) -> None:
        smoothed = counts.double() + 1
        self.logs = (smoothed / smoothed.sum()).log()

    def __call__(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.logs[target]


def likelihoods(hidden: Tensor, target: Tensor, weight: Tensor, bias: Tensor, never: int | None = None) -> Tensor:
    """(N,) log-likelihoods of words (N,), whose scores are a linear map of states (N, D); word `never` has probability 0.

    At most `SCORES` scores are held at a time; where there are more they are computed anew on the way back.
    """
    size = max(1, SCORES // len(weight))
    if len(target) <= size:
        return _log_likelihood(hidden, target, weight, bias, never)
    parts = zip(torch.split(hidden, size), torch.split(target, size), strict=True)
    recomputed = partial(checkpoint, _log_likelihood, use_reentrant=False, preserve_rng_state=False)
    found = [recomputed(*part, weight, bias, never) for part in parts]
    return torch.cat(found)


def _log_likelihood(hidden: Tensor, target: Tensor, weight: Tensor, bias: Tensor, never: int | None) -> Tensor:
    scores = F.linear(hidden, weight, bias)
    if never is not None:
        scores[:, never] = -torch.inf
    return -F.cross_entropy(scores, target, reduction="none")
