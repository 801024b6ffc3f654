"""The scores of an answer that is always the same: the most frequent label, or the mean. What a model must be clearly over.

Of candidates it is the order in which they stand in their row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from manyheads.data.dataset import Dataset
from manyheads.metrics import Score
from manyheads.nn.language import NextWords
from manyheads.nn.losses import is_missing
from manyheads.task.base import Task
from manyheads.task.language_modelling import LanguageModelling
from manyheads.task.masked_language_modelling import MaskedLanguageModelling
from manyheads.task.matching import Matching
from manyheads.task.ranking import Ranking
from manyheads.train.evaluate import groups_of
from manyheads.types import Record

SUFFIX = "@majority"  # a baseline's metric is called accuracy@majority
_ROWS = 512


def majority(task: Task, train: Dataset, datasets: Iterable[Dataset], step: int = 0) -> list[Record]:
    """Scores on `datasets` of the constant that fits the labels of `train` best.

    The constant is a vector of scores: how often each class stands (its largest wins), the log-odds of each of several
    labels, or the mean number. A tagger says the most frequent tag at each word, a language model how often each word came.
    """
    if not isinstance(train.gold(task.name, [0]), Tensor) or isinstance(task.type, Matching | MaskedLanguageModelling):
        # No text is the answer to every question, a cosine that is always the same correlates with nothing, and which words are
        # hidden the model draws.
        return []
    ranked = isinstance(task.type, Ranking)
    constant = torch.zeros(1) if ranked else _constant(train, task)
    records = []
    for dataset in datasets:
        if not dataset.items(task.name).any():
            continue  # nothing judges an answer
        score = Score(task.scores(), task.type.labels, task.type.scheme)
        for rows, target in _targets(dataset, task.name):
            judged = task.type.judge(target.new_zeros(target.shape) if ranked else _spread(task, constant, target), target)
            groups = groups_of(task, dataset, task.name, rows, target)
            score.add(judged.gold, judged.predicted, judged.probabilities, groups)
        values = score.compute()
        records += [
            Record(step, task.name, dataset.name, dataset.split, metric + SUFFIX, value) for metric, value in values.items()
        ]
    return records


def _targets(dataset: Dataset, task: str) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows, some hundreds at a time, and what is to be said of them."""
    for start in range(0, len(dataset), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(dataset)))
        yield rows, dataset.gold(task, rows)


def _constant(train: Dataset, task: Task) -> Tensor:
    """(C,) scores, or (1,) for a number."""
    total, count = torch.zeros(max(task.type.outputs, 1)), torch.zeros(1)
    several = False  # a row of labels may be one label long, so the shape tells it from a number, not the size
    for _, target in _targets(train, task.name):
        known = target[~is_missing(target)]
        if not known.is_floating_point():
            counted = torch.bincount(known, minlength=len(total)).float()
            total = counted + torch.nn.functional.pad(total, (0, len(counted) - len(total)))
        else:
            several = target.dim() > 1
            total = total + known.nansum(0)
            count = count + (~known.isnan()).sum(0)
    if not count.any():
        return total
    mean = total / count.clamp(min=1)
    return mean.clamp(1e-6, 1 - 1e-6).logit() if several else mean


def _spread(task: Task, constant: Tensor, target: Tensor) -> Tensor | NextWords:
    """The constant at every item: (B, C) for rows, (B, W, C) for words."""
    if isinstance(task.type, LanguageModelling):
        return task.type.constant(constant, target)
    if target.is_floating_point():
        return constant.expand(len(target), -1)
    return constant.expand(*target.shape, -1)
