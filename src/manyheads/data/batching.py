"""Which rows make up each batch of a pass over a data set, and which batches run together.

Both are pure functions: of lengths, settings, seed and pass; of the batches' sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from manyheads.config.spec.training import BatchSpec
from manyheads.seeds import generator
from manyheads.types import Batch, Tokens

POOL = 50  # batches that are sorted together: enough for even lengths, few enough for random company
TOKENS = 2048  # padded pieces in a batch when nothing is said
_ANY = np.iinfo(np.int64).max  # a limit that is none
_WASTE = 1.1  # padded pieces of joined batches, as a multiple of those of the batches by themselves


def plan_pass(lengths: np.ndarray, spec: BatchSpec, seed: int, dataset: str, epoch: int) -> list[np.ndarray]:
    """Row numbers of every batch of pass `epoch` over a data set whose rows have these `lengths` (N,).

    Each row stands in exactly one batch. Rows are shuffled; with `group_by_length` pools of them are sorted by length
    before they are cut into batches of at most `rows` rows and `tokens` padded pieces, and the batches are shuffled
    again. A row longer than the budget is a batch of its own.
    """
    lengths = np.asarray(lengths)
    if not len(lengths):
        return []
    draw = generator(seed, "order", dataset, epoch)
    order = draw.permutation(len(lengths))
    if spec.group_by_length:
        order = _sort_pools(order, lengths, _pool_size(lengths, spec))
    batches = np.split(order, _cuts(lengths[order], spec))
    if spec.group_by_length:
        return [batches[i] for i in draw.permutation(len(batches))]
    return batches


def in_turn(count: int, rows: int) -> list[np.ndarray]:
    """Row numbers of every batch of any pass over `count` rows that have an order: so many at a time.

    >>> [batch.tolist() for batch in in_turn(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    return np.split(np.arange(count), range(rows, count, rows)) if count else []


def _limits(spec: BatchSpec) -> tuple[int, int]:
    """Most rows and most padded pieces."""
    return spec.rows or _ANY, spec.tokens or (TOKENS if spec.rows is None else _ANY)


def _pool_size(lengths: np.ndarray, spec: BatchSpec) -> int:
    """Rows of about 50 batches."""
    rows, tokens = _limits(spec)
    return POOL * max(1, int(min(rows, tokens / max(float(lengths.mean()), 1.0))))


def _sort_pools(order: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Sorted by length inside each pool of `size` rows; equal lengths keep their order."""
    pool = np.arange(len(order)) // size
    return order[np.lexsort((lengths[order], pool))]


def _cuts(lengths: np.ndarray, spec: BatchSpec) -> list[int]:
    """Where a new batch begins, going through rows of these lengths in order."""
    rows, tokens = _limits(spec)
    if tokens == _ANY:
        return list(range(rows, len(lengths), rows))
    cuts, start, longest = [], 0, 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > start and (i - start >= rows or (i - start + 1) * longest > tokens):
            cuts.append(i)
            start, longest = i, length
    return cuts


def join(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Groups of batches that run as one: those whose rows are about as long, so that joining pads little.

    Longest first; a group may hold up to 10 % more padded pieces than its batches hold by themselves. Chunks of one text never
    run as one, and the earlier goes first.
    """
    return [group for turn in _turns(batches) for group in _alike(turn)]


def _turns(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Batches that may run in any order; the second chunk of a text comes a turn after the first."""
    turns: list[list[Batch]] = []
    seen: Counter[str] = Counter()
    for batch in batches:
        carries = any(isinstance(field, Tokens) and field.carry is not None for field in batch.fields.values())
        turn = seen[batch.dataset] if carries else 0
        seen[batch.dataset] += carries
        turns += [[] for _ in range(turn + 1 - len(turns))]
        turns[turn].append(batch)
    return turns


def _alike(batches: Sequence[Batch]) -> list[list[Batch]]:
    groups: list[list[Batch]] = []
    apart = 0  # padded pieces of the last group's batches by themselves
    for batch in sorted(batches, key=lambda b: b.width, reverse=True):
        alone = batch.sequences * batch.width
        together = (sum(b.sequences for b in groups[-1]) + batch.sequences) * groups[-1][0].width if groups else 0
        if groups and together <= _WASTE * (apart + alone):
            groups[-1].append(batch)
            apart += alone
        else:
            groups.append([batch])
            apart = alone
    return groups
