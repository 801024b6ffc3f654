"""Scores of every task on every data set that has its labels: each row once, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from manyheads.config.spec.training import TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.metrics import Score
from manyheads.model import Model
from manyheads.nn.losses import items
from manyheads.train.engine import Engine
from manyheads.types import Record

_PADDED = 8192  # padded pieces in an evaluation batch; nothing is kept for a backward pass, so it can be large


def evaluate(
    model: Model,
    datasets: Iterable[Dataset],
    *,
    engine: Engine | None = None,
    step: int = 0,
    remap: Mapping[str, str | None] | None = None,
) -> list[Record]:
    """A record for the loss and each metric of each label set of each data set, keyed task/dataset/split/metric.

    `remap` scores a label set with another task's head, or leaves it out (None). Rows without a label are left out of
    that label set's scores. Every process takes a part of the rows and all return the same records.
    """
    engine = engine or Engine(TrainingSpec())
    records: list[Record] = []
    was_training = model.training
    model.eval()
    try:
        for dataset in datasets:
            heads = _heads(model, dataset, remap or {})
            if heads:
                records += _evaluate(model, dataset, heads, engine, step)
    finally:
        model.train(was_training)
    return records


def as_dict(records: Iterable[Record]) -> dict[str, float]:
    """task/dataset/split/metric to value."""
    return {record.key: record.value for record in records}


def _heads(model: Model, dataset: Dataset, remap: Mapping[str, str | None]) -> dict[str, str]:
    """Label set to the task that answers it; one without a label is not scored."""
    heads = {}
    for label in dataset.tasks:
        task = remap.get(label, label)
        if task is not None and task not in model.tasks:
            if label in remap:
                rule = f"label set {label!r} is mapped to a task that is not there (there are: {listed(model.tasks)})"
                raise RecipeError(Problem(rule, value=task, nearest=nearest(task, model.tasks)))
            continue
        if task is not None and dataset.items(label).any():
            heads[label] = task
    return heads


@torch.inference_mode()
def _evaluate(model: Model, dataset: Dataset, heads: Mapping[str, str], engine: Engine, step: int) -> list[Record]:
    scores = {label: _score(model, task) for label, task in heads.items()}
    losses = torch.zeros(len(heads), 2, dtype=torch.float64)
    for rows in _batches(np.asarray(dataset.lengths)[engine.rank :: engine.world]):
        mine = rows * engine.world + engine.rank
        batch = dataset.batch(mine).to(engine.device)
        with engine.autocast():  # losses too: it computes them in full precision
            outputs = model.answer(batch, list(dict.fromkeys(heads.values())))
            sums = {
                label: model.tasks[task].loss_sum(outputs[task].scores, batch.targets[label]) for label, task in heads.items()
            }
        for i, (label, task) in enumerate(heads.items()):
            found = outputs[task].scores
            if count := items(batch.targets[label]):
                losses[i] += torch.tensor([float(sums[label]), count])
            judged = model.tasks[task].type.judge(found, dataset.gold(label, mine).to(engine.device))
            scores[label].add(judged.gold, judged.predicted, judged.probabilities)
    return _records(scores, engine.sum(losses.to(engine.device)).tolist(), dataset, engine, step)


def _records(
    scores: Mapping[str, Score], losses: Sequence[Sequence[float]], dataset: Dataset, engine: Engine, step: int
) -> list[Record]:
    records = []
    for (label, score), (total, count) in zip(scores.items(), losses, strict=True):
        if not count:
            continue
        whole, *others = engine.gather([score])
        for other in others:
            whole.merge(other)
        values = {"loss": total / count, **whole.compute()}
        records += [Record(step, label, dataset.name, dataset.split, metric, value) for metric, value in values.items()]
    return records


def _score(model: Model, name: str) -> Score:
    task = model.tasks[name]
    return Score(task.scores(), task.type.labels, task.type.scheme)


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """All rows once, longest first, in batches of at most 8192 padded pieces; rows keep one order among equals."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, _PADDED // max(int(lengths[order[start]]), 1))
        yield order[start : start + size]
        start += size
