"""What training took since the last evaluation and since the run began: losses of tasks, and what each data set got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.balance.backward import Gramians
from manyheads.balance.conflict import cosines
from manyheads.data.dataset import Dataset
from manyheads.metrics import METRICS
from manyheads.task.base import Task
from manyheads.train.follow import WHOLE
from manyheads.train.state import Progress
from manyheads.types import Record

_SHARES = ("batches", "rows", "tokens", "loss", "norm")
_COUNTS = ("batches", "rows", "tokens")


@dataclass(slots=True)
class Ledger:
    """Sums by task and by data set.

    home    task to its data set; `sizes`: rows of each data set
    means   task to [sum of losses, items] since the last evaluation
    since   kind (asked, batches, rows, tokens, loss, norm) to data set to its sum since the last evaluation
    total   kind (batches, rows, tokens) to data set to its count since the run began
    """

    home: Mapping[str, str]
    sizes: Mapping[str, int]
    means: dict[str, list[float]] = field(default_factory=dict)
    since: dict[str, dict[str, float]] = field(default_factory=dict)
    total: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, datasets: Iterable[Dataset]) -> Ledger:
        """An empty one for these training sets."""
        datasets = list(datasets)
        return cls({t: data.name for data in datasets for t in data.tasks}, {data.name: len(data) for data in datasets})

    def add(self, progress: Progress, asked: Mapping[str, float]) -> None:
        """A step; `asked` is data set to the share of draws that the mixture asks for in its epoch."""
        losses: dict[str, float] = {}
        for task, loss in progress.losses.items():
            total = self.means.setdefault(task, [0.0, 0])
            total[0] += loss * progress.items[task]
            total[1] += progress.items[task]
            losses[self.home[task]] = losses.get(self.home[task], 0.0) + loss
        counts = (progress.batches, progress.rows, progress.tokens)
        draws = sum(progress.batches.values())
        due = {name: share * draws for name, share in asked.items()}
        norms = dict.fromkeys(progress.rows, progress.norm) if len(progress.rows) == 1 and not progress.skipped else {}
        for kind, found in zip(("asked", *_SHARES), (due, *counts, losses, norms), strict=True):
            _add(self.since.setdefault(kind, {}), found)
        for kind, counted in zip(_COUNTS, counts, strict=True):
            _add(self.total.setdefault(kind, {}), counted)

    def take(self, step: int) -> list[Record]:
        """The records of an evaluation, all of split `train`, and a new page.

        Of a task its mean loss. Of a data set, under the task `*`: `asked_share` and the realised `share_batches`,
        `share_rows`, `share_tokens`, `share_loss` and `share_norm` since the last evaluation (the loss is the sum over
        steps of its tasks' mean losses, unweighted; the norm that of the gradients before clipping, summed over steps with
        one data set, and left out where there are none); `batches`, `rows`, `tokens` and `passes` since the run began.
        """
        found = [Record(step, t, self.home[t], "train", "loss", total / n) for t, (total, n) in self.means.items() if n]
        found += [Record(step, WHOLE, name, "train", *told) for name in self.sizes for told in self._told(name)]
        self.means, self.since = {}, {}
        return found

    def cosines(self, step: int, gramians: Gramians) -> list[Record]:
        """The cosines of a step, of the first task of each pair; the other one is known by the metric's name."""
        found = cosines(gramians)
        return [Record(step, one, self.home[one], "train", f"cosine:{other}:{b}", value) for (one, other), b, value in found]

    def shares(self, kind: str = "batches") -> dict[str, float]:
        """Data set to its share of a kind since the last evaluation; empty where there was none."""
        sums = self.since.get(kind, {})
        total = sum(sums.values())
        return {name: sums.get(name, 0) / total for name in self.sizes} if total else {}

    def _told(self, name: str) -> Iterator[tuple[str, float]]:
        for kind, metric in (("asked", "asked_share"), *((kind, f"share_{kind}") for kind in _SHARES)):
            if shares := self.shares(kind):
                yield metric, shares[name]
        for kind in _COUNTS:
            yield kind, self.total.get(kind, {}).get(name, 0)
        yield "passes", self.total.get("rows", {}).get(name, 0) / max(self.sizes[name], 1)

    def to_json(self) -> dict[str, Any]:
        return {"means": self.means, "since": self.since, "total": self.total}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        self.means = {task: list(sums) for task, sums in data["means"].items()}
        self.since = {kind: dict(found) for kind, found in data["since"].items()}
        self.total = {kind: dict(found) for kind, found in data["total"].items()}


def scores_of(records: Sequence[Record], tasks: Mapping[str, Task], home: Mapping[str, str]) -> dict[str, float]:
    """Data set to the mean over its tasks of their own metrics on dev rows, negative where lower is better."""
    found: dict[str, list[float]] = {}
    for r in records:
        if r.split == "dev" and r.metric == tasks[r.task].metric:
            found.setdefault(home[r.task], []).append(r.value if METRICS[r.metric].higher else -r.value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _add(sums: dict[str, float], found: Mapping[str, float]) -> None:
    for name, value in found.items():
        sums[name] = sums.get(name, 0) + value
