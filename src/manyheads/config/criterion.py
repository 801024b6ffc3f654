"""What chooses the best step: the keys of `training.select`, read and checked.

    average, loss                     all tasks, by their own metrics or by their losses
    task                              one task, by its own metric
    task/metric                       one of its scores, `loss` too
    task/dataset/dev/metric           the same, as the key of a record
    the name of a selection           a function of all scores, registered by a plug-in

Each but `average` may end in `:min` or `:max`, which says what is better; else the metric knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from manyheads.config.node import Finding, KeyPath, absent
from manyheads.config.recipe import Recipe
from manyheads.registry import Registry

Selection: TypeAlias = Callable[[Mapping[str, float]], float]
SELECTIONS: Registry[Selection] = Registry("selection")

AVERAGE, LOSS = "average", "loss"
_PLACE: KeyPath = ("training", "select")
_JUDGING = "dev"
_DIRECTIONS = ("min", "max")


def selection(name: str) -> Callable[[Selection], Selection]:
    """Decorator that registers a function of all dev scores, by task/metric, as a value of `training.select`.

    It gives one number, higher is better; NaN is an undefined value, and such a step is not compared with others. Among the
    scores are `task/loss` and, of a metric with several values, `task/metric/value`. A score that lacks is a KeyError.

    >>> @selection("worst_task")
    ... def worst_task(scores):
    ...     return min(scores["mood/accuracy"], scores["names/f1"])
    >>> SELECTIONS.remove("worst_task")
    """
    return SELECTIONS.register(name)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One key of `training.select`. Parts that are empty stand for all tasks, each data set, the task's own metric.

    `own` is the name of a selection, which then is all of it but the direction.
    """

    key: str
    task: str = ""
    dataset: str = ""
    split: str = _JUDGING
    metric: str = ""
    direction: str = ""
    own: str = ""


def criteria(select: str | Sequence[str]) -> list[tuple[KeyPath, Criterion]]:
    """The keys of `training.select`, each with its place in the recipe.

    >>> [(place, found)] = criteria("mood/reviews/dev/f1:max")
    >>> found.task, found.dataset, found.metric, found.direction
    ('mood', 'reviews', 'f1', 'max')
    """
    if isinstance(select, str):
        return [(_PLACE, _read(select))]
    return [((*_PLACE, i), _read(key)) for i, key in enumerate(select)]


def check_select(recipe: Recipe, tasks: Collection[str]) -> Iterator[Finding]:
    """Names that nothing has; `tasks` are all there are. Which scores a task reports is known once its data are."""
    for path, criterion in criteria(recipe.training.select):
        yield from _names(path, criterion, recipe, tasks)
        yield from _direction(path, criterion)


def _read(key: str) -> Criterion:
    name, _, direction = key.partition(":")
    task, *rest = name.split("/")
    if name in (AVERAGE, LOSS):
        return Criterion(key, metric="" if name == AVERAGE else LOSS, direction=direction)
    if name in SELECTIONS:
        return Criterion(key, direction=direction, own=name)
    if len(rest) < 3:
        return Criterion(key, task, metric="/".join(rest), direction=direction)
    return Criterion(key, task, rest[0], rest[1], "/".join(rest[2:]), direction)


def _names(path: KeyPath, found: Criterion, recipe: Recipe, tasks: Collection[str]) -> Iterator[Finding]:
    if "" in found.key.partition(":")[0].split("/"):
        yield Finding(
            path, "a part of the key is empty", found.key, remedy="write task, task/metric or task/dataset/dev/metric"
        )
        return
    if found.own in tasks:
        yield Finding(path, "a task and a selection of a plug-in are called so", found.own, remedy="rename one of them")
    elif found.task and found.task not in tasks:
        rule = "`select` is 'average', 'loss', a selection of a plug-in, or begins with a task's name"
        yield absent(path, rule, found.task, [AVERAGE, LOSS, *SELECTIONS, *tasks])
    elif found.task in recipe.tasks and found.dataset:
        home = recipe.tasks[found.task].data.from_ or found.task
        if found.dataset != home:
            yield absent(path, f"the task {found.task!r} has no such data set", found.dataset, [home])
    if found.split != _JUDGING:
        yield absent(path, "the best step is chosen on rows that are not trained on", found.split, [_JUDGING])


def _direction(path: KeyPath, found: Criterion) -> Iterator[Finding]:
    if ":" not in found.key:
        return
    if found.key.startswith(f"{AVERAGE}:"):
        rule = "the average has its direction: a metric where lower is better counts negative"
        yield Finding(path, rule, found.key, remedy=f"write {AVERAGE}")
    elif found.direction not in _DIRECTIONS:
        yield absent(path, "after `:` stands what is better", found.direction, _DIRECTIONS)
