"""Items as they come from a task, as lists of plain values, and what must hold for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from manyheads.errors import DataError, Problem, nearest
from manyheads.metrics.metric import Undefined

Items: TypeAlias = list[Any]
_SHOWN = 20  # problems that one error lists


def plain(items: Iterable[Any]) -> Items:
    """A list of Python values, so that numpy's numbers hash, compare and pickle as plain ones."""
    plain = items.tolist() if isinstance(items, np.ndarray) else list(items)
    return [item.item() if isinstance(item, np.generic) else item for item in plain]


def parts(item: Any) -> Iterable[Any]:
    """The labels in an item: those of a sentence or a set, else the item itself."""
    return item if isinstance(item, list | tuple | set | frozenset) else (item,)


def words(gold: Items, predicted: Items) -> tuple[Items, Items]:
    """Sentences laid out word by word; a sentence that is None as a whole stays one item. Other items stay as they are."""
    flat: tuple[Items, Items] = ([], [])
    for pair in zip(gold, predicted, strict=True):
        width = next((len(item) for item in pair if isinstance(item, list)), 0)
        for items, item in zip(flat, pair, strict=True):
            if isinstance(item, list):
                items += item
            elif width:
                items += [item] * width
            else:
                items.append(item)
    return flat


def sentences(gold: Items, predicted: Items) -> tuple[Items, Items]:
    """Sentences without the words that have no tag on one of the sides; those that have no other words are left out."""
    pairs = [[(g, p) for g, p in zip(*pair, strict=True) if None not in (g, p)] for pair in zip(gold, predicted, strict=True)]
    kept = [found for found in pairs if found]
    if not kept:
        raise Undefined("no word has a label")
    return [[g for g, _ in found] for found in kept], [[p for _, p in found] for found in kept]


def grouped(items: Items, groups: Sequence[str]) -> list[Items]:
    """The items of each group, in the order in which groups are first met."""
    found: dict[str, Items] = {}
    for item, group in zip(items, groups, strict=True):
        found.setdefault(group, []).append(item)
    return list(found.values())


def ordered(gold: Items, predicted: Items) -> tuple[np.ndarray, np.ndarray]:
    """Numbers sorted by (gold, predicted): sums of floats then do not depend on how items came in."""
    g, p = np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    kept = ~np.isnan(g)
    if not kept.any():
        raise Undefined("no item has a number")
    g, p = g[kept], p[kept]
    order = np.lexsort((p, g))
    if not np.isfinite(p).all():
        raise Undefined("a predicted number is not finite")
    return g[order], p[order]


def check_lengths(gold: Items, predicted: Items, rows: list[list[float]] | None) -> None:
    """ValueError unless there is a prediction, and a row of probabilities if any, for each item and each word."""
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold items and {len(predicted)} predicted ones")
    if rows is not None and len(rows) != len(gold):
        raise ValueError(f"{len(gold)} gold items and {len(rows)} rows of probabilities")
    for g, p in zip(gold, predicted, strict=True):
        if isinstance(g, list) and isinstance(p, list) and len(g) != len(p):
            raise ValueError(f"a sentence has {len(g)} gold tags and {len(p)} predicted ones")


def check_labels(items: Iterable[Any], labels: Sequence[Any]) -> None:
    """DataError for labels in `items` that are not among `labels`."""
    strange = {label for item in items for label in parts(item) if label is not None}.difference(labels)
    if not strange:
        return
    names = [str(label) for label in labels]
    rule = "the label is not in the task's schema"
    problems = [Problem(rule, value=s, nearest=nearest(s, names)) for s in sorted(map(str, strange))[:_SHOWN]]
    more = [Problem(f"and {len(strange) - _SHOWN} more")] if len(strange) > _SHOWN else []
    raise DataError(*problems, *more)
