"""A recipe becomes a run: a folder with checkpoints, records and, at the end, the artefact. A generator of events.

for event in run(loaded): ...        # Started, Progress, Evaluated, Saved, NotSaved, Retired, Finished

<output>/recipe.yaml  resolved.yaml  run.json     what was asked, and with what versions and data
         records.jsonl  progress.jsonl            scores; time
         checkpoints/step-…                       the same command continues from the newest
         artefact/                                the trained model
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from manyheads.artefact import save_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.card import card
from manyheads.config.dump import dump, schema_text
from manyheads.config.load import Loaded
from manyheads.config.rebase import rebase
from manyheads.config.recipe import Recipe
from manyheads.data.cache import Cache
from manyheads.data.stream import Position, Stream
from manyheads.errors import ArtefactError, Interrupted, NumericsError, Problem, RecipeError, ResourceError
from manyheads.facts import check_same, fingerprint
from manyheads.journal import Journal, dumps, number
from manyheads.task.base import Task
from manyheads.train.baseline import majority
from manyheads.train.checkpoint import Checkpoint, Checkpoints, checkpoint_bytes, require_space
from manyheads.train.engine import Engine
from manyheads.train.evaluate import evaluate
from manyheads.train.follow import WHOLE, Follow
from manyheads.train.loop import Progress, State, steps_in, train
from manyheads.train.optim import make_optimizer
from manyheads.train.signals import Stop, graceful
from manyheads.types import Record


@dataclass(frozen=True, slots=True)
class Started:
    """The run is ready. `resumed` is the step it continues from, 0 for a fresh one; `complete`: nothing is left to do."""

    folder: Path
    steps: int
    resumed: int
    assembly: Assembly
    warnings: Sequence[str] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Scores on the dev rows (`better`: tasks that improved, and whether the whole did), or on the test rows at the end."""

    step: int
    records: Sequence[Record]
    better: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint, or at the end the artefact, lies at `path`."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class NotSaved:
    """A checkpoint could not be written; the ones before it are intact and the run goes on."""

    step: int
    why: str


@dataclass(frozen=True, slots=True)
class Retired:
    """A task has left the mixture, its patience spent."""

    step: int
    task: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is complete. `why` is `steps`, `patience` or `done` (nothing was left to do)."""

    folder: Path
    artefact: Path
    step: int
    best: int
    records: Sequence[Record]
    why: str


log = logging.getLogger(__name__)

Event: TypeAlias = Started | Progress | Evaluated | Saved | NotSaved | Retired | Finished


@dataclass(slots=True)
class _Means:
    """Training losses since the last evaluation: task to [sum, items]."""

    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, progress: Progress) -> None:
        for task, loss in progress.losses.items():
            total = self.sums.setdefault(task, [0.0, 0])
            total[0] += loss * progress.items[task]
            total[1] += progress.items[task]

    def take(self, step: int, dataset_of: Mapping[str, str]) -> list[Record]:
        found = [Record(step, t, dataset_of[t], "train", "loss", s / n) for t, (s, n) in self.sums.items() if n]
        self.sums = {}
        return found


def output_folder(loaded: Loaded) -> Path:
    """`output` of the recipe, relative to where the command runs; default runs/<name of the recipe file>."""
    return Path(loaded.recipe.output or Path("runs") / (loaded.path.stem if loaded.path else "run"))


def run(loaded: Loaded, *, fresh: bool = False) -> Iterator[Event]:
    """Train what the recipe says, or continue it. Leaving the generator early keeps what was saved.

    `fresh` refuses to continue: a folder that already has checkpoints is an error. Raises the errors of
    `manyheads.errors`; Interrupted after SIGTERM or Ctrl-C, once the state is saved.
    """
    engine = Engine(loaded.recipe.training)
    folder = output_folder(loaded)
    require_space(folder, 0)  # before data are read, which may take long
    assembly = assemble(loaded, Cache())
    with graceful() as stop:
        session = _Session(loaded, folder, assembly, engine, fresh)
        warnings = (*loaded.warnings, *session.warnings)
        yield Started(folder, session.steps, session.state.step, assembly, warnings, session.complete)
        why = "done"
        if not session.finished:
            yield from session.train(stop)
            why = session.why
        yield session.finish(why)


class _Session:
    """One run in one process."""

    def __init__(self, loaded: Loaded, folder: Path, assembly: Assembly, engine: Engine, fresh: bool) -> None:
        self.loaded, self.folder, self.assembly, self.engine = loaded, folder, assembly, engine
        self.recipe: Recipe = loaded.recipe
        self.spec = self.recipe.training
        self.again = f"the same command continues it: manyheads train {loaded.path}"
        self.model = assembly.blueprint.build(self.recipe.seed).to(engine.device)
        self.tasks: Mapping[str, Task] = self.model.tasks
        self.optimizer = make_optimizer(self.model, self.spec.optimizer)
        lengths = {name: data.lengths for name, data in assembly.train.items()}
        self.stream = Stream(lengths, self.recipe.mixture, self.spec.batch, self.recipe.seed)
        self.steps = steps_in(self.stream, self.spec)
        self.state = State(Position.start(list(lengths)))
        self.follow, self.means, self.finished, self.why = Follow(self.spec.select), _Means(), False, "steps"
        require_space(folder, 2 * checkpoint_bytes(self.model))
        self.checkpoints = Checkpoints(folder / "checkpoints", self.spec.checkpoint.keep)
        self.journal = Journal(folder / "records.jsonl")
        self.fingerprint = fingerprint(self.recipe, assembly.files, assembly.label_hashes)
        self.warnings: tuple[str, ...] = ()
        self.journal_lines = 0
        self._open(fresh)
        self.complete = self.finished and self.artefact.is_dir()

    def _open(self, fresh: bool) -> None:
        """Continue from the newest good checkpoint, or begin."""
        found = self.checkpoints.load_newest()
        if found is not None and fresh:
            remedy = "name another `output`, or leave --fresh out to continue"
            raise RecipeError(Problem("the output folder already holds a run", str(self.folder), remedy=remedy))
        if found is not None:
            self.warnings = check_same(self.fingerprint, found.state["fingerprint"], self.folder)
            self._restore(found)
        if self.engine.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.finished and self.artefact.is_dir()):
                self.journal.rewind(self.journal_lines)
            (self.folder / "recipe.yaml").write_text(self.loaded.text, encoding="utf-8")
            (self.folder / "resolved.yaml").write_text(self._resolved(self.folder), encoding="utf-8")
            (self.folder / "recipe.schema.json").write_text(schema_text(), encoding="utf-8")
            facts = {"fingerprint": self.fingerprint}
            self._quarantine()
            (self.folder / "run.json").write_text(dumps(facts) + "\n", encoding="utf-8")
        self.engine.wait()

    def _resolved(self, folder: Path) -> str:
        """The recipe with every default, naming its files from `folder`; training it again gives the same weights."""
        base = self.loaded.path.parent if self.loaded.path else Path()
        return dump(rebase(self.recipe, base, folder))

    def _quarantine(self) -> None:
        """Rows that were left out, with the rule that they break; text is escaped, since it may be none."""
        for name in self.assembly.quarantine:
            lines = [json.dumps({"place": str(r.place), "rule": r.rule, "text": r.sample}) for r in self.assembly.bad[name]]
            (self.folder / f"{name}.quarantine.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def artefact(self) -> Path:
        return self.folder / "artefact"

    def _restore(self, found: Checkpoint) -> None:
        self.checkpoints.restore(found, self.model, self.optimizer)
        self.state = State.from_json(found.state["loop"])
        self.follow = Follow.from_json(self.spec.select, found.state["best"])
        self.means = _Means({t: list(s) for t, s in found.state["means"].items()})
        self.finished, self.why = found.state["finished"], found.state["why"]
        self.journal_lines = found.state["journal"]

    def train(self, stop: Stop) -> Iterator[Event]:
        """All steps that are left, with evaluations and checkpoints between them; Interrupted once `stop` is requested."""
        saved = time.monotonic()
        clock = _Clock(self.folder / "progress.jsonl", self.engine.main)
        for progress in self._steps():
            self.means.add(progress)
            clock.tick(progress)
            yield progress
            better: Sequence[str] = ()
            if self._due(progress):
                event = self._evaluate(progress.step)
                better = event.better
                yield event
                yield from self._retire(progress.step)
            last = progress.step == progress.steps
            if self.follow.stop(self.spec.patience) or len(self.state.retired) == len(self.assembly.train):
                self.why, last = "patience", True
            if self.engine.any(stop.requested is not None):
                self._interrupt(progress.step, stop)
            if last or better or self._time_to_save(progress.step, saved):
                yield self._try_to_save(progress.step)
                saved = time.monotonic()
            if last:
                return

    def _interrupt(self, step: int, stop: Stop) -> NoReturn:
        """Save, and say how to go on; what was due after this step has been done."""
        path = self.save()
        signal = stop.requested or "a signal to another process"
        raise Interrupted(Problem(f"stopped by {signal} after step {step}; saved in {path}", remedy=self.again))

    def _try_to_save(self, step: int) -> Saved | NotSaved:
        """A disk that is full now may have room at the next try; the run goes on."""
        try:
            return Saved(step, self.save())
        except ResourceError as error:
            return NotSaved(step, str(error))

    def _steps(self) -> Iterator[Progress]:
        try:
            yield from train(
                self.model,
                self.assembly.train,
                self.stream,
                self.optimizer,
                self.spec,
                state=self.state,
                engine=self.engine,
                seed=self.recipe.seed,
            )
        except NumericsError as error:
            newest = self.checkpoints.newest()
            good = f"the last good checkpoint is {newest}" if newest else "no checkpoint had been written yet"
            raise NumericsError(*error.problems, Problem(good)) from error

    def _due(self, progress: Progress) -> bool:
        every = self.spec.evaluate_every
        return progress.epoch_end if every is None else progress.step % every == 0 or progress.step == progress.steps

    def _evaluate(self, step: int) -> Evaluated:
        home = {task: data.name for data in self.assembly.train.values() for task in data.tasks}
        records = self.means.take(step, home)
        records += evaluate(self.model, self.assembly.dev.values(), engine=self.engine, step=step)
        dev = [r for r in records if r.split == "dev"]
        better = self.follow.see(dev, self.tasks, step)
        if self.engine.main:
            self.journal.add(records)
        return Evaluated(step, records, better)

    def _retire(self, step: int) -> Iterator[Retired]:
        """A data set leaves when all of its tasks have run out of patience."""
        spent = set(self.follow.exhausted(self.tasks))
        for name, data in self.assembly.train.items():
            if name not in self.state.retired and data.tasks and spent.issuperset(data.tasks):
                self.state.retired = (*self.state.retired, name)
                yield Retired(step, name)

    def _time_to_save(self, step: int, saved: float) -> bool:
        spec = self.spec.checkpoint
        timed = spec.every_minutes is not None and time.monotonic() - saved > spec.every_minutes * 60
        return (spec.every_steps is not None and step % spec.every_steps == 0) or self.engine.any(timed)

    def save(self) -> Path:
        """A checkpoint of this moment. Only the main process writes, and all learn whether it could. Raises ResourceError."""
        path, failed = self.checkpoints.path(self.state.step), None
        if self.engine.main:
            try:
                self.checkpoints.save(self.state.step, self.model.state_dict(), self.optimizer, self.model, self._state())
                self.checkpoints.prune(self.follow.steps())
            except ResourceError as error:
                failed = error
        if self.engine.any(failed is not None):
            raise failed or ResourceError(Problem("the main process could not save", str(path)))
        return path

    def _state(self) -> dict[str, Any]:
        return {
            "loop": self.state.to_json(),
            "best": self.follow.to_json(),
            "means": self.means.sums,
            "journal": self.journal.lines,
            "fingerprint": self.fingerprint,
            "finished": self.why != "steps" or self.state.step == self.steps,
            "why": self.why,
        }

    def finish(self, why: str) -> Finished:
        """Back to the best weights; test rows scored once; the artefact written, unless it is there already."""
        target = self.artefact
        if self.complete:
            records = self.journal.read()
            return Finished(self.folder, target, self.state.step, records[-1].step, records, why)
        best = self._take_best()
        records = evaluate(self.model, self.assembly.test.values(), engine=self.engine, step=best) + self._baselines(best)
        if self.engine.main:
            self.journal.add(records)
            save_artefact(target, self.model, self.assembly.blueprint, self._texts(best))
        self.engine.wait()
        return Finished(self.folder, target, self.state.step, best, self.journal.read(), why)

    def _take_best(self) -> int:
        """Load the weights of the best step and return it; the last step where nothing chose, or where the best is gone."""
        best = self.follow.best.get(WHOLE)
        if best is None or best.value is None or best.step == self.state.step:
            return self.state.step
        try:
            self.checkpoints.restore(self.checkpoints.load(self.checkpoints.path(best.step)), self.model)
        except ArtefactError as error:
            log.warning("the best checkpoint cannot be used, so the last weights are taken: %s", error)
            return self.state.step
        return best.step

    def _baselines(self, step: int) -> list[Record]:
        """What the most frequent answer scores on the rows that judge each task: test rows, else dev rows."""
        found = []
        for name, data in self.assembly.train.items():
            held_out = self.assembly.test.get(name) or self.assembly.dev.get(name)
            if held_out is not None:
                found += [r for task in data.tasks for r in majority(self.tasks[task], data, [held_out], step)]
        return found

    def _texts(self, best: int) -> dict[str, str]:
        records = self.journal.read()
        last = [r for r in records if r.split == "test" or (r.split == "dev" and r.step == best)]
        steps = f"{self.state.step}, the best of them {best}"
        facts = {"seed": str(self.recipe.seed), "steps": steps, **self.fingerprint["environment"]}
        name = self.loaded.path.stem if self.loaded.path else "manyheads model"
        return {
            "recipe.yaml": self.loaded.text,
            "resolved.yaml": self._resolved(self.artefact),
            "labels.json": dumps(self.assembly.labels) + "\n",
            "records.jsonl": self.journal.path.read_text(encoding="utf-8") if self.journal.path.exists() else "",
            "README.md": card(name, self.assembly.blueprint, last, self.assembly.rows, facts),
        }


class _Clock:
    """Writes a line of progress.jsonl every ten seconds: step, losses, rows a second."""

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.since, self.rows = time.monotonic(), 0

    def tick(self, progress: Progress) -> None:
        self.rows += sum(progress.rows.values())
        now = time.monotonic()
        if not self.writes or (now - self.since < 10 and progress.step < progress.steps):
            return
        line = {
            "step": progress.step,
            "losses": {t: number(v) for t, v in progress.losses.items()},
            "rate": progress.rate,
            "norm": number(progress.norm),
            "rows_per_second": round(self.rows / max(now - self.since, 1e-9), 1),
        }
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(dumps(line) + "\n")
        self.since, self.rows = now, 0
