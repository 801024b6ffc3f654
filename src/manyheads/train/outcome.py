"""How a run ends: each task's best weights on every task, back to the best weights of all, the test rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from manyheads.artefact import DATA, LABELS, PLUGINS, RECORDS
from manyheads.assemble import Assembly
from manyheads.card import card
from manyheads.config.load import Loaded
from manyheads.errors import ArtefactError
from manyheads.journal import Journal, dumps
from manyheads.model import Model
from manyheads.nn.stitch import shares_of
from manyheads.plugins import remembered
from manyheads.train.average import Average
from manyheads.train.baseline import majority
from manyheads.train.checkpoint import Checkpoints
from manyheads.train.engine import Engine
from manyheads.train.evaluate import evaluate
from manyheads.train.follow import WHOLE, Follow
from manyheads.types import Record

BEST = "@best:"  # accuracy@best:news is the accuracy with the weights that were best for the task news

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run that stands at `step`."""

    model: Model
    assembly: Assembly
    checkpoints: Checkpoints
    follow: Follow
    average: Average | None
    engine: Engine
    step: int

    def take_best(self, task: str = WHOLE) -> int:
        """Put the best weights in place and return their step; the last ones where nothing chose or the best are gone."""
        best = self.follow.best.get(task)
        found = None
        if best is not None and best.value is not None and best.step != self.step:
            try:
                found = self.checkpoints.load(self.checkpoints.path(best.step))
            except ArtefactError as error:
                log.warning("the best checkpoint cannot be used, so the last weights are taken: %s", error)
        if found is not None:
            self.checkpoints.restore(found, self.model)
        if self.average is not None:
            if found is not None:
                self.average.restore(found.extra.get("average", {}), found.state["averaged"])
            self.average.settle()
        return self.step if found is None else found.step

    def scores(self, step: int) -> list[Record]:
        """Test rows, and what the most frequent answer scores on the rows that judge each task."""
        found = evaluate(self.model, self.assembly.test.values(), engine=self.engine, step=step)
        for name, data in self.assembly.train.items():
            held_out = [part[name] for part in (self.assembly.dev, self.assembly.test) if name in part]
            found += [r for task in data.tasks for r in majority(self.model.tasks[task], data, held_out, step)]
        return found

    def cross_table(self) -> list[Record]:
        """Each task's own metric with each task's best weights, as `accuracy@best:<task>`; the weights are the last ones again.

        (After the cross evaluation of HMTL: Sanh et al., AAAI 2019.)
        """
        judges = [self.assembly.test.get(name) or self.assembly.dev.get(name) for name in self.assembly.train]
        last = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        mean = (self.average.tensors(), self.average.count) if self.average is not None else None
        found: list[Record] = []
        for task in self.model.tasks:
            if task in self.follow.best and self.follow.best[task].value is not None:
                step = self.take_best(task)
                scores = evaluate(self.model, [data for data in judges if data], engine=self.engine, step=step)
                own = [r for r in scores if r.metric == self.model.tasks[r.task].metric]
                found += [replace(r, metric=f"{r.metric}{BEST}{task}") for r in own]
                self._put_back(last, mean)
        return found

    def texts(self, loaded: Loaded, journal: Journal, best: int, facts: Mapping[str, str]) -> dict[str, str]:
        """What the artefact holds beside the model, by file: recipe, labels, data, records, and the card with `facts`."""
        shown = [r for r in journal.read() if BEST not in r.metric]
        last = [r for r in shown if r.split == "test" or (r.split == "dev" and r.step == best)]
        name = loaded.path.stem if loaded.path else "manyheads model"
        shares = shares_of(self.model.pool.items())
        told = {"steps": f"{self.step}, the best of them {best}", **facts}
        plugins = remembered()
        return {
            **({PLUGINS: dumps(plugins) + "\n"} if plugins else {}),
            "recipe.yaml": loaded.text,
            LABELS: dumps(self.assembly.labels) + "\n",
            DATA: dumps(self.assembly.origin) + "\n",
            RECORDS: journal.path.read_text(encoding="utf-8") if journal.path.exists() else "",
            "README.md": card(name, self.assembly.blueprint, last, self.assembly.rows, told, shares, self.assembly.words),
        }

    def _put_back(self, weights: Mapping[str, Tensor], mean: tuple[Mapping[str, Tensor], int] | None) -> None:
        self.model.load_state_dict(weights)
        if self.average is not None and mean is not None:
            self.average.restore(*mean)
