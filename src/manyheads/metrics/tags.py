"""Metrics of spans that tags spell: strict, in the task's own scheme."""

from __future__ import annotations

import math

from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from manyheads.metrics.base import Scored, metric

_SCHEMES = {"BIO": IOB2, "IOB1": IOB1, "BIOUL": BILOU, "IOBES": IOBES}


@metric("span_f1")
def span_f1(scored: Scored) -> float:
    """Micro F1 of spans: label and both ends must be right. seqeval's strict mode."""
    return _strict(scored, 2)


@metric("span_precision")
def span_precision(scored: Scored) -> float:
    """Share of predicted spans that are right."""
    return _strict(scored, 0)


@metric("span_recall")
def span_recall(scored: Scored) -> float:
    """Share of gold spans that were found."""
    return _strict(scored, 1)


def _strict(scored: Scored, which: int) -> float:
    if scored.scheme not in _SCHEMES:
        return math.nan
    gold, predicted = (_spelled(rows, scored.scheme) for rows in (scored.gold, scored.predicted))
    result = precision_recall_fscore_support(gold, predicted, average="micro", scheme=_SCHEMES[scored.scheme], zero_division=0)
    return float(result[which])


def _spelled(rows: object, scheme: str) -> list[list[str]]:
    """seqeval writes BILOU's last tag L and its single one U, as the scheme here does."""
    return [list(row) for row in rows]  # type: ignore[attr-defined]  # sentences of tags
