"""How likely a model finds words: perplexity, and bits a word. Exact over any batching: the sums are those of all items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.metrics.metric import metric


@dataclass(frozen=True, slots=True)
class Counted:
    """The gold side of a likelihood: how many words were told. The predicted side is the sum of their log-likelihoods."""

    words: int


@metric("perplexity", needs="likelihoods", higher=False)
def perplexity(gold: Sequence[Counted], predicted: Sequence[float], labels: Sequence[Any]) -> float:
    """Exp of the mean negative log-likelihood of a word: as many words, equally likely, would leave it as uncertain."""
    return float(np.exp(nats(gold, predicted)))


@metric("bits_per_word", needs="likelihoods", higher=False)
def bits_per_word(gold: Sequence[Counted], predicted: Sequence[float], labels: Sequence[Any]) -> float:
    """Mean negative log-likelihood of a word, to the base of two."""
    return nats(gold, predicted) / math.log(2)


def nats(gold: Sequence[Counted], predicted: Sequence[float]) -> float:
    """Mean negative natural logarithm of a word's likelihood."""
    return -math.fsum(predicted) / sum(item.words for item in gold)
