"""Strict scores of spans, over all sentences and types: a span counts when its type and both borders are right.

What spells a span is up to seqeval's strict schemes: ill-formed tags, such as an I after an O in BIO, spell none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from manyheads.errors import DataError, Problem, RecipeError, nearest
from manyheads.metrics.classification import f_score, ratio
from manyheads.metrics.metric import metric

Spans: TypeAlias = Sequence[set[tuple[str, int, int]]]
Tags: TypeAlias = Sequence[str | None]

_SCHEMES = {"BIO": (IOB2, "BI"), "IOB1": (IOB1, "BI"), "BIOUL": (BILOU, "BIUL"), "IOBES": (IOBES, "IBES")}


def extract(gold: Sequence[Tags], predicted: Sequence[Tags], scheme: str) -> tuple[Spans, Spans]:
    """The spans of each sentence, gold and predicted. A word without a gold tag counts as O on both sides.

    Raises DataError for a tag that the scheme does not know.
    """
    if scheme not in _SCHEMES:
        raise RecipeError(Problem("no such tagging scheme", value=scheme, nearest=nearest(scheme, _SCHEMES)))
    kept = [["O" if g is None else p or "O" for g, p in zip(*pair, strict=True)] for pair in zip(gold, predicted, strict=True)]
    return _spans([[tag or "O" for tag in tags] for tags in gold], scheme), _spans(kept, scheme)


def _spans(sentences: list[list[str]], scheme: str) -> Spans:
    kind, prefixes = _SCHEMES[scheme]
    strange = {t for tags in sentences for t in tags if t != "O" and not (t[:1] in prefixes and t[1:2] == "-" and t[2:])}
    if strange:
        rule = f"the scheme {scheme} has the tags O and {', '.join(p + '-type' for p in prefixes)}"
        raise DataError(*(Problem(rule, value=tag) for tag in sorted(strange)[:20]))
    found = Entities(sentences, kind).entities
    return [{(span.tag, span.start, span.end) for span in spans} for spans in found]


@metric("span_precision", needs="tags")
def span_precision(gold: Spans, predicted: Spans, labels: Sequence[str]) -> float:
    """Share of the predicted spans that are right; 0 when there are none."""
    right, _, found = _counts(gold, predicted)
    return ratio(right, found)


@metric("span_recall", needs="tags")
def span_recall(gold: Spans, predicted: Spans, labels: Sequence[str]) -> float:
    """Share of the gold spans that were found; 0 when there are none."""
    right, wanted, _ = _counts(gold, predicted)
    return ratio(right, wanted)


@metric("span_f1", needs="tags")
def span_f1(gold: Spans, predicted: Spans, labels: Sequence[str]) -> float:
    """Harmonic mean of span precision and recall; 0 when there are no spans."""
    return f_score(*_counts(gold, predicted))


def _counts(gold: Spans, predicted: Spans) -> tuple[int, int, int]:
    """Right, gold and predicted spans."""
    right = sum(len(g & p) for g, p in zip(gold, predicted, strict=True))
    return right, sum(map(len, gold)), sum(map(len, predicted))
