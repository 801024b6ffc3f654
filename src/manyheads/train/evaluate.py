"""Scores of every task on every data set that has its labels: each row once, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.config.spec.training import TrainingSpec
from manyheads.data.batching import in_turn
from manyheads.data.dataset import Dataset, TextDataset
from manyheads.errors import DataError, Problem, RecipeError, listed, nearest
from manyheads.metrics import METRICS, Score, unfit
from manyheads.model import Model
from manyheads.nn.crf import Lattice
from manyheads.nn.losses import is_missing, items
from manyheads.task.base import Task
from manyheads.task.binary import Binary
from manyheads.task.classification import Classification
from manyheads.task.tagging import Tagging
from manyheads.train.engine import Engine
from manyheads.types import IGNORE, Record

_PADDED = 8192  # padded pieces in an evaluation batch; nothing is kept for a backward pass, so it can be large
_SHOWN = 20  # rows of one label set that an error lists


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


@torch.no_grad()  # tensors made in inference mode, which a module may keep, could not be trained with
def rehearse(model: Model, datasets: Iterable[Dataset], engine: Engine) -> None:
    """Answer one row of each label set, so that what could not be trained on or scored is found before training.

    Raises RecipeError for metrics that a task cannot feed, and DataError for ids of classes that its head does not have.
    """
    unscored: list[Problem] = []
    strange: list[Problem] = []
    was_training = model.training
    model.eval()
    try:
        for dataset in datasets:
            for label in _heads(model, dataset, {}):
                task, row = model.tasks[label], np.flatnonzero(dataset.items(label))[:1]
                with engine.autocast():
                    scores = model.answer(dataset.batch(row).to(engine.device), [label])[label].scores
                if found := _strange_ids(task, dataset, scores):
                    strange += found
                    continue
                gold = _on(dataset.gold(label, row), engine)
                judged = task.type.judge(scores, gold)
                sample = (judged.gold, judged.predicted, judged.probabilities, groups_of(task, dataset, label, row, gold))
                unscored += unfit(label, task.metric, task.metrics, task.type.labels, task.type.scheme, sample)
    finally:
        model.train(was_training)
    if unscored:
        raise RecipeError(*dict.fromkeys(unscored))
    if strange:
        raise DataError(*strange)


def _strange_ids(task: Task, dataset: Dataset, scores: Tensor | Lattice) -> list[Problem]:
    """Ids in a label set of classes that are not among those of the head."""
    if not isinstance(task.type, Binary | Classification | Tagging):
        return []
    gold = dataset.gold(task.name, np.arange(len(dataset)))
    if gold.is_floating_point():
        return []
    width = (scores if isinstance(scores, Tensor) else scores.emissions).shape[-1]
    classes = 2 if isinstance(task.type, Binary) else width
    rule = f"task {task.name}: the head has {classes} classes, so an id is from 0 to {classes - 1}"
    wrong = ((gold != IGNORE) & ((gold < 0) | (gold >= classes))).nonzero()
    place = f"{dataset.name}/{dataset.split} row"
    shown = [Problem(rule, f"{place} {int(at[0])}", str(int(gold[tuple(at)]))) for at in wrong[:_SHOWN]]
    return [*shown, *([Problem(f"and {len(wrong) - _SHOWN} more such rows")] if len(wrong) > _SHOWN else [])]


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
    for mine in _batches(dataset, engine):
        batch = dataset.batch(mine).to(engine.device)
        with engine.autocast():  # losses too: it computes them in full precision
            outputs = model.answer(batch, list(dict.fromkeys(heads.values())))
            sums = {
                label: model.tasks[task].loss_sum(outputs[task].scores, batch.targets[label]) for label, task in heads.items()
            }
        for i, (label, task) in enumerate(heads.items()):
            found = outputs[task].scores
            if count := int(np.count_nonzero(dataset.items(label)[mine])) if batch.parts else items(batch.targets[label]):
                losses[i] += torch.tensor([float(sums[label]), count])
            gold = _on(dataset.gold(label, mine), engine)
            judged = model.tasks[task].type.judge(found, gold)
            groups = groups_of(model.tasks[task], dataset, label, mine, gold)
            scores[label].add(judged.gold, judged.predicted, judged.probabilities, groups)
    return _records(scores, engine.sum(losses.to(engine.device)).tolist(), dataset, engine, step)


def _batches(dataset: Dataset, engine: Engine) -> Iterator[np.ndarray]:
    """This process's rows: in batches of like length, or, where they are chunks of a text, as this goes on."""
    if isinstance(dataset, TextDataset) and dataset.in_order:
        require_alone(engine, dataset.name)
        yield from in_turn(len(dataset), dataset.in_order)
        return
    for rows in by_length(np.asarray(dataset.lengths)[engine.rank :: engine.world]):
        yield rows * engine.world + engine.rank


def require_alone(engine: Engine, dataset: str) -> None:
    """RecipeError where several processes, each of which has a part of the rows, would read a text from chunk to chunk."""
    if engine.world > 1:
        rule = f"data set {dataset!r} is one text (`stream`), which one process reads; there are {engine.world}"
        raise RecipeError(Problem(rule, remedy="start one process, or take `stream` out: each row is then a text of its own"))


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


def _on(gold: Any, engine: Engine) -> Any:
    return gold.to(engine.device) if isinstance(gold, Tensor) else gold


def groups_of(task: Task, dataset: Dataset, label: str, rows: np.ndarray, gold: Any) -> list[str] | None:
    """The groups of those of the rows that have a label, where one of the task's scores is of groups."""
    found = dataset.groups.get(label) if isinstance(dataset, TextDataset) else None
    if found is None or all(METRICS[name].needs != "groups" for name in task.scores()):
        return None
    known = ~is_missing(gold)
    kept: list[str] = found[rows][known.reshape(len(rows), -1).any(1).cpu().numpy()].tolist()
    return kept


def _score(model: Model, name: str) -> Score:
    task = model.tasks[name]
    return Score(task.scores(), task.type.labels, task.type.scheme)


def by_length(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """All rows once, longest first, in batches of at most 8192 padded pieces; rows keep one order among equals."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, _PADDED // max(int(lengths[order[start]]), 1))
        yield order[start : start + size]
        start += size
