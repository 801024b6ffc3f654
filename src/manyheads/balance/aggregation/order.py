"""In which order a task meets the others, where a method leaves that to chance."""

from __future__ import annotations

from manyheads.balance.weighting.contract import Moment
from manyheads.seeds import generator


def others(moment: Moment, place: int, purpose: str) -> list[int]:
    """Places of all other tasks, shuffled: a function of seed, step and names, so the order of the tasks does not matter."""
    task = moment.tasks[place]
    names = sorted(set(moment.tasks) - {task})
    shuffled = generator(moment.seed, purpose, moment.step, task).permutation(len(names))
    return [moment.tasks.index(names[i]) for i in shuffled]
