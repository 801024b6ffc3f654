"""`manyheads train`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from manyheads.api import load_recipe
from manyheads.artefact import CONFIG
from manyheads.blueprint import Blueprint
from manyheads.cli.console import Ticker, note, print_json, print_table, printable, score, warn
from manyheads.cli.plugging import hinting
from manyheads.errors import listed
from manyheads.folder import read_json
from manyheads.journal import number
from manyheads.run import run
from manyheads.train.baseline import SUFFIX
from manyheads.train.events import Answered, Dropped, Evaluated, Event, Finished, NotSaved, Retired, Saved, Started
from manyheads.train.follow import WHOLE
from manyheads.train.outcome import BEST
from manyheads.train.state import Progress
from manyheads.types import Record

_ENDS = {
    "patience": "nothing has got better for as long as the recipe waits",
    "time": "the next evaluation would come after `training.minutes`; with more of them the same command goes on",
}
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGE = -1, -3, 2**30  # mallopt(3)


def train(recipe: Path, overrides: Sequence[str], fresh: bool, as_json: bool) -> None:
    """Train with live progress on standard error, the table of scores on standard output."""
    keep_memory()
    ticker = Ticker(())
    with hinting(recipe, overrides):
        loaded = load_recipe(recipe, overrides)
    for event in run(loaded, fresh=fresh):
        if os.environ.get("RANK", "0") != "0":
            continue  # one of several processes speaks
        if isinstance(event, Progress):
            ticker.tick(event.step, event.steps, event.losses, sum(event.rows.values()), event.rate)
            for (one, other), cosine in event.conflicts:
                ticker.clear()
                warn(f"step {event.step}: the gradients of {one} and {other} oppose each other, mean cosine {cosine:.2f}")
            continue
        ticker.clear()
        _tell(event)
        if isinstance(event, Started):
            ticker = Ticker(event.assembly.blueprint.tasks)
        if isinstance(event, Finished):
            _finish(event, as_json)


def keep_memory() -> bool:
    """Ask the C library to keep what is freed; True where it can.

    Else each step gives the memory of its gradients back to the system and pays for it again, page by page, which takes
    up to a third of a step on a CPU. It holds for the whole process, so a command may do it and the library does not.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # not glibc
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_TRIM_THRESHOLD, _LARGE))


def _tell(event: Event) -> None:
    if isinstance(event, Started):
        for text in event.warnings:
            warn(text)
        begun = f"continuing after step {event.resumed} of {event.steps}" if event.resumed else f"{event.steps} steps"
        note(f"{begun}, in {event.folder}" if not event.complete else f"nothing is left to do in {event.folder}")
    elif isinstance(event, Answered):
        rows = ", ".join(f"{count} training rows of {printable(name)}" for name, count in event.rows.items())
        note(f"the teacher {event.folder} has answered {rows}")
    elif isinstance(event, Evaluated):
        shown = [
            f"{printable(r.task)} {r.metric} {score(r.value)}{_trained(r, event.records)}"
            for r in event.records
            if r.split == "dev" and r.metric != "loss"
        ]
        note(f"step {event.step}: {', '.join(shown) or 'no dev rows'}{'  (best so far)' if WHOLE in event.better else ''}")
        if event.undefined:
            warn(f"step {event.step}: not compared with other steps, the metric is undefined for {listed(event.undefined)}")
    elif isinstance(event, Dropped):
        back = "" if event.best is None else f", from the weights of step {event.best}"
        note(f"step {event.step}: nothing gets better, the rates are {event.scale:.2g} times the schedule's from here on{back}")
    elif isinstance(event, Retired):
        note(f"step {event.step}: {printable(event.task)} leaves the mixture, its patience is spent")
    elif isinstance(event, NotSaved):
        warn(f"step {event.step} is not saved, the run goes on: {event.why}")
    elif isinstance(event, Saved):
        note(f"saved {event.path}")


def _trained(dev: Record, records: Sequence[Record]) -> str:
    """The same score on training rows, where it was taken."""
    found = [r for r in records if (r.task, r.split, r.metric) == (dev.task, "train", dev.metric)]
    return f" (train {score(found[0].value)})" if found else ""


def _finish(event: Finished, as_json: bool) -> None:
    found = last_scores(event.records, event.best)
    if as_json:
        folders = {"folder": str(event.folder), "artefact": str(event.artefact)}
        print_json({**folders, "best": event.best, "scores": values_of(found)})
        return
    print_scores(found, f"Scores of step {event.best}")
    print_cross([r for r in event.records if BEST in r.metric])
    if event.why in _ENDS:
        note(f"the run ended after step {event.step}: {_ENDS[event.why]}")
    note(f"the model is in {event.artefact}")
    note(f"ask it:  {_asking(event.artefact)}")


def _asking(artefact: Path) -> str:
    """A command that asks the model something that one of its tasks reads."""
    reads = {plan.reads for plan in Blueprint.from_json(read_json(artefact / CONFIG)).tasks.values()}
    if reads & {"text", "words"}:
        return f"manyheads predict {artefact} 'A text of your own'"
    keys = {
        "pair": '"text": "A text", "pair": "and another"',
        "towers": '"text": "A text", "pair": "and another"',
        "choices": '"text": "A text", "choices": ["one choice", "another"]',
        "windows": '"question": "A question?", "context": "The text that holds the answer."',
    }
    return f"echo '{{{keys[min(reads)]}}}' | manyheads predict {artefact}"


def last_scores(records: Sequence[Record], step: int) -> list[Record]:
    """The records of one step on dev and test rows, without losses."""
    kept = [r for r in records if r.split != "train" and r.step == step and r.metric != "loss"]
    return [r for r in kept if BEST not in r.metric]


def values_of(records: Sequence[Record]) -> dict[str, float | None]:
    """task/dataset/split/metric to value, None for what is undefined."""
    return {r.key: number(r.value) for r in records}


def print_scores(records: Sequence[Record], title: str) -> None:
    """Task by task: metric, score, and what the most frequent answer would score."""
    baselines = {
        (r.task, r.dataset, r.split, r.metric.removesuffix(SUFFIX)): r.value for r in records if r.metric.endswith(SUFFIX)
    }
    rows = []
    for r in records:
        if not r.metric.endswith(SUFFIX):
            base = baselines.get((r.task, r.dataset, r.split, r.metric))
            rows.append([r.task, r.split, r.metric, score(r.value), "" if base is None else score(base)])
    print_table(["task", "rows", "metric", "score", "majority"], rows, title, numbers=["score", "majority"])


def print_cross(records: Sequence[Record]) -> None:
    """The cross table: a row for the weights that were best for each task, a column for each task's score with them."""
    if not records:
        return
    tasks = list(dict.fromkeys(r.task for r in records))
    rows = []
    for best in dict.fromkeys(r.metric.partition(BEST)[2] for r in records):
        cells = {r.task: score(r.value) for r in records if r.metric.endswith(BEST + best)}
        rows.append([best, *(cells.get(task, "") for task in tasks)])
    print_table(["best weights of", *tasks], rows, "Each task with each task's best weights", numbers=tasks)
