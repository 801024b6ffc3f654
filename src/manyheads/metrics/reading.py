"""Exact match and F1 of answers read out of a text, as SQuAD's scorer counts them (Rajpurkar et al. 2016, 2018), from 0 to 1.

Answers are compared in lower case, without punctuation, articles and extra spaces. Of several accepted answers the one
that is nearest counts. A question that cannot be answered has no accepted answer, and the right answer is the empty text.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from manyheads.metrics.classification import f_score
from manyheads.metrics.metric import metric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answers to a question that count as right; none where it cannot be answered."""

    texts: tuple[str, ...]


@metric("exact_match", needs="answers")
def exact_match(gold: Sequence[Accepted], predicted: Sequence[str], labels: Sequence[Any]) -> float:
    """Share of questions whose answer is one of the accepted ones."""
    return _mean(gold, predicted, lambda wanted, found: float(wanted == found))


@metric("answer_f1", needs="answers")
def answer_f1(gold: Sequence[Accepted], predicted: Sequence[str], labels: Sequence[Any]) -> float:
    """Mean over questions of the F1 of the words that the answer shares with the nearest accepted one."""
    return _mean(gold, predicted, _overlap)


def normal(answer: str) -> str:
    """An answer as it is compared.

    >>> normal("The  Norman-Conquest, of 1066.")
    'normanconquest of 1066'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def _mean(gold: Sequence[Accepted], predicted: Sequence[str], score: Callable[[str, str], float]) -> float:
    total = 0.0
    for accepted, found in zip(gold, predicted, strict=True):
        wanted = [text for text in map(normal, accepted.texts) if text] or [""]
        total += max(score(text, normal(found)) for text in wanted)
    return total / len(gold)


def _overlap(wanted: str, found: str) -> float:
    if not wanted or not found:
        return float(wanted == found)
    ours, theirs = wanted.split(), found.split()
    return f_score((Counter(ours) & Counter(theirs)).total(), len(ours), len(theirs))
