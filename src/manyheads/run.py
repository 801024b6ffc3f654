"""A recipe becomes a run: a folder with checkpoints, records and, at the end, the artefact. A generator of events.

for event in run(loaded): ...        # Started, Answered, Progress, Evaluated, Saved, NotSaved, Retired, Finished

<output>/recipe.yaml  resolved.yaml  run.json     what was asked, and with what versions and data
         records.jsonl  progress.jsonl            scores; time
         checkpoints/step-…                       the same command continues from the newest
         artefact/                                the trained model
"""

from __future__ import annotations

import json
import logging
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from manyheads.artefact import KIND, RECORDS, RESOLVED, is_ours, reading, save_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.config.dump import dump, schema_text
from manyheads.config.load import Loaded
from manyheads.config.rebase import rebase
from manyheads.config.recipe import Recipe
from manyheads.data.cache import Cache
from manyheads.data.dataset import Dataset
from manyheads.data.stream import Position
from manyheads.errors import ArtefactError, Interrupted, NumericsError, Problem, RecipeError, ResourceError
from manyheads.facts import ENDS, RATES, changed, check_same, fingerprint, hash_weights
from manyheads.folder import verify, write_text
from manyheads.journal import Journal, dumps
from manyheads.nn.trunk import weights_under_adapters
from manyheads.plugins import options
from manyheads.task.base import Task
from manyheads.train.advice import advise
from manyheads.train.allowance import Allowance
from manyheads.train.anchor import Anchor
from manyheads.train.average import Average
from manyheads.train.carry import carried, carry_on
from manyheads.train.checkpoint import STATE, Checkpoint, Checkpoints, checkpoint_bytes, require_space
from manyheads.train.due import Due
from manyheads.train.engine import Engine
from manyheads.train.evaluate import evaluate
from manyheads.train.events import Dropped, Evaluated, Event, Finished, NotSaved, Retired, Saved, Started
from manyheads.train.follow import WHOLE, Follow
from manyheads.train.layout import balancer_of
from manyheads.train.ledger import Ledger, scores_of
from manyheads.train.loop import steps_in, train
from manyheads.train.optim import make_optimizer
from manyheads.train.outcome import Outcome
from manyheads.train.pace import Pace
from manyheads.train.plateau import Plateau
from manyheads.train.signals import Stop, graceful
from manyheads.train.state import Progress, State
from manyheads.train.taught import teach

log = logging.getLogger(__name__)


def output_folder(loaded: Loaded) -> Path:
    """`output` of the recipe, relative to where the command runs; default runs/<name of the recipe file>."""
    return Path(loaded.recipe.output or Path("runs") / (loaded.path.stem if loaded.path else "run"))


def run(loaded: Loaded, *, fresh: bool = False) -> Iterator[Event]:
    """Train what the recipe says, or continue it. Leaving the generator early keeps what was saved.

    `fresh` refuses to continue: a folder that already has checkpoints is an error. Raises the errors of
    `manyheads.errors`; Interrupted after SIGTERM or Ctrl-C, once the state is saved.
    """
    with loaded.placed():
        engine = Engine(loaded.recipe.training)
    folder = output_folder(loaded)
    require_space(folder, 0)  # before data are read, which may take long
    with graceful() as stop:
        with _nothing_to_save(loaded, stop, "data were read"):
            assembly = assemble(loaded, Cache())
        session = _Session(loaded, folder, assembly, engine)
        with engine.alone(folder):
            session.open(fresh)
            warnings = (*loaded.warnings, *session.warnings)
            yield Started(folder, session.steps, session.state.step, assembly, warnings, session.complete)
            why = "done"
            if not session.finished:
                yield from session.train(stop)
                why = session.why
            yield session.finish(why)


def again(loaded: Loaded) -> str:
    """The command that continues a run, as it was typed."""
    words = [str(loaded.path), *options(), *loaded.overrides] if loaded.path else ["the recipe"]
    return f"the same command continues it: manyheads train {shlex.join(words)}"


@contextmanager
def _nothing_to_save(loaded: Loaded, stop: Stop, why: str) -> Iterator[None]:
    """Inside, a signal ends the run at once; `why` tells what it was at."""
    try:
        with stop.at_once():
            yield
    except KeyboardInterrupt as error:
        if stop.requested is None:  # outside the main thread, or a second Ctrl-C
            raise
        rule = f"stopped by {stop.requested} while {why}; what an earlier run saved is intact"
        raise Interrupted(Problem(rule, remedy=again(loaded))) from error


class _Session:
    """One run in one process."""

    def __init__(self, loaded: Loaded, folder: Path, assembly: Assembly, engine: Engine) -> None:
        self.loaded, self.folder, self.assembly, self.engine = loaded, folder, assembly, engine
        self.recipe: Recipe = loaded.recipe
        self.spec = self.recipe.training
        self.model = assembly.build().to(engine.device)
        self.tasks: Mapping[str, Task] = self.model.tasks
        with loaded.placed():
            self.optimizer = make_optimizer(self.model, self.spec.optimizer, self.recipe.modules, self.recipe.tasks)
            balancer_of(self.recipe.balance, self.model, self.recipe.tasks)  # the loop makes it; what is wrong is told now
        self.stream = assembly.stream()
        self.steps = steps_in(self.stream, self.spec)
        self.state = State(Position.start(self.stream.names))
        self.follow, self.finished, self.why = Follow(self.spec.select), False, "steps"
        self.ledger, self.allowance = Ledger.of(assembly.train.values()), Allowance(self.spec.minutes)
        rows = self.spec.evaluate_train
        self.samples = [data.sample(rows, self.recipe.seed) for data in assembly.train.values()] if rows else []
        self.average = Average(self.spec.average, self.model, self.steps) if self.spec.average else None
        self.anchor = Anchor(self.spec.anchor, self.model) if self.spec.anchor else None
        self.plateau = Plateau(self.spec.plateau) if self.spec.plateau else None
        still = weights_under_adapters(self.model)
        require_space(folder, 2 * checkpoint_bytes(self.model, still))
        self.checkpoints = Checkpoints(folder / "checkpoints", self.spec.checkpoint.keep, still)
        self.journal = Journal(folder / RECORDS)
        files = {**assembly.files, **({"the encoder's weights under adapters": hash_weights(still)} if still else {})}
        self.fingerprint = fingerprint(self.recipe, files, assembly.label_hashes)
        self.warnings: tuple[str, ...] = advise(self.recipe, assembly, self.stream)
        self.changes: tuple[str, ...] = ()
        self.journal_lines = 0
        self.complete = False

    def open(self, fresh: bool) -> None:
        """Continue from the newest good checkpoint, or begin. Of a run that is complete nothing is touched."""
        found = self.checkpoints.load_newest()
        if found is not None and fresh:
            remedy = "name another `output`, or leave --fresh out to continue"
            raise RecipeError(Problem("the output folder already holds a run", str(self.folder), remedy=remedy))
        if found is not None:
            self._continue(found)
        if self.engine.main and self.complete and self.journal.restore(self.artefact / RECORDS):
            self.warnings += (f"{self.journal.path} was lost or changed, and is the artefact's again",)
        elif self.engine.main and not self.complete:
            self.journal.rewind(self.journal_lines)
            write_text(self.folder / "recipe.yaml", self.loaded.text)
            write_text(self.folder / "resolved.yaml", self._resolved(self.folder))
            write_text(self.folder / "recipe.schema.json", schema_text())
            facts = {"fingerprint": self.fingerprint, "changes": self.changes}
            self._quarantine()
            write_text(self.folder / "run.json", dumps(facts) + "\n")
        self.engine.wait()

    def _continue(self, found: Checkpoint) -> None:
        """Take a checkpoint over, unless the run was another one; rates may be new, and the change is kept on record."""
        with reading(found.path / STATE):
            then = found.state["fingerprint"]
        differences = check_same(self.fingerprint, then, self.folder)
        with reading(found.path / STATE):
            self._restore(found)
        self.complete = self.finished and self._artefact_is_good()
        if self.complete:
            texts = changed(self.fingerprint, then, (*RATES, *ENDS))
            self.warnings += tuple(f"{text}: the run is complete and takes nothing over" for text in texts)
            return
        rates = tuple(f"after step {found.step}, {text}" for text in changed(self.fingerprint, then, RATES))
        self.warnings += (*differences, *(f"{text}: the recipe alone does not repeat this run" for text in rates))
        self.changes += rates

    def _artefact_is_good(self) -> bool:
        """Whether the artefact is there and whole; one that is damaged is written again, from the best checkpoint."""
        if not is_ours(self.artefact):
            return False
        try:
            verify(self.artefact, kind=KIND)
            if not Journal(self.artefact / RECORDS).read():
                raise ArtefactError(Problem("holds no records", str(self.artefact / RECORDS)))
        except ArtefactError as error:
            self.warnings += (f"the artefact is damaged and is written again: {error}",)
            return False
        return True

    def _resolved(self, folder: Path) -> str:
        """The recipe with every default, naming its files from `folder`; training it again gives the same weights."""
        base = self.loaded.path.parent if self.loaded.path else Path()
        return dump(rebase(self.recipe, base, folder))

    def _quarantine(self) -> None:
        """Rows that were left out, with the rule that they break; text is escaped, since it may be none."""
        for name in self.assembly.quarantine:
            lines = [json.dumps({"place": str(r.place), "rule": r.rule, "text": r.sample}) for r in self.assembly.bad[name]]
            write_text(self.folder / f"{name}.quarantine.jsonl", "\n".join(lines) + "\n")

    @property
    def artefact(self) -> Path:
        return self.folder / "artefact"

    def _restore(self, found: Checkpoint) -> None:
        self.checkpoints.restore(found, self.model, self.optimizer)
        self.state = State.from_json(found.state["loop"])
        self.follow = Follow.from_json(self.spec.select, found.state["best"])
        self.ledger.restore(found.state["ledger"])
        if self.average:
            self.average.restore(found.extra.get("average", {}), found.state["averaged"])
        if self.anchor:
            self.anchor.restore(found.extra, found.state["anchor"])
        if self.plateau:
            self.plateau.restore(found.state["plateau"])
        carry_on(self.model, found.extra)
        self.allowance.restore(found.state.get("time"))
        self.finished, self.why = found.state["finished"], found.state["why"]
        spent = self.allowance.is_over() if self.why == "time" else self._is_spent()
        if self.why != "steps" and not (spent or self.state.is_through(self.spec, self.steps)):  # it has more of it now
            self.finished, self.why = False, "steps"
        self.journal_lines, self.changes = found.state["journal"], tuple(found.state["changes"])

    def train(self, stop: Stop) -> Iterator[Event]:
        """All steps that are left, with evaluations and checkpoints between them; Interrupted once `stop` is requested."""
        due, pace = Due(self.spec, self.stream, self.state.position), Pace(self.folder / "progress.jsonl")
        with _nothing_to_save(self.loaded, stop, "a teacher answered"):
            data, answered = teach(self.assembly.teachers, self.assembly.train, self.tasks, self.engine)
        yield from answered
        if self.spec.evaluate_first and not self.state.step and not self.journal_lines:
            yield from self._begin()
        for progress in self._steps(data):
            self.ledger.add(progress, self.stream.asked(progress.epoch, self.state.mixture, self.state.retired))
            if self.engine.main:
                shares = {name: round(share, 4) for name, share in self.ledger.shares().items()}
                pace.tick(progress, {"shares": shares, "peak_memory_mib": round(self.engine.peak_memory() / 2**20)})
            if self.engine.main and progress.gramians is not None:
                self.journal.add(self.ledger.cosines(progress.step, progress.gramians))
            if self.average:
                self.average.take(progress.step)
            yield progress
            better: Sequence[str] = ()
            late = False
            if evaluated := due.evaluation(progress, self.state.position):
                event = self._evaluate(progress.step)
                better, late = event.better, self.engine.any(self.allowance.see())
                yield event
                yield from self._retire(progress.step)
            last = progress.last
            if self._is_spent():
                self.why, last = "patience", True
            elif late and not last:
                self.why, last = "time", True
            if evaluated:  # what a run that goes on from its last step would learn with is told by that run
                yield from (event for event in self._drop(progress.step, WHOLE in better) if not last)
            if self.engine.any(stop.requested is not None):
                self._interrupt(progress.step, stop)
            if last or better or self.engine.any(due.checkpoint(progress.step)):
                yield self._try_to_save(progress.step)
                due.saved = time.monotonic()
            if last:
                return
        yield self._try_to_save(self.state.step)  # a data set has left, and with it all that the last epoch still had

    def _begin(self) -> Iterator[Event]:
        """Scores before the first step; they are the best so far, and kept as such."""
        event = self._evaluate(0)
        yield event
        if event.better:
            yield self._try_to_save(0)

    def _interrupt(self, step: int, stop: Stop) -> NoReturn:
        """Save, and say how to go on; what was due after this step has been done."""
        path = self.save()
        signal = stop.requested or "a signal to another process"
        raise Interrupted(Problem(f"stopped by {signal} after step {step}; saved in {path}", remedy=again(self.loaded)))

    def _try_to_save(self, step: int) -> Saved | NotSaved:
        """A disk that is full now may have room at the next try; the run goes on."""
        try:
            return Saved(step, self.save())
        except ResourceError as error:
            return NotSaved(step, str(error))

    def _steps(self, data: Mapping[str, Dataset]) -> Iterator[Progress]:
        moved = self.state.step
        try:
            for progress in train(
                self.model, data, self.stream, self.optimizer, self.spec, state=self.state, engine=self.engine,
                seed=self.recipe.seed, balance=self.recipe.balance, anchor=self.anchor, modules=self.recipe.modules,
            ):  # fmt: skip
                moved = moved if progress.skipped else progress.step
                yield progress
        except NumericsError as error:
            raise NumericsError(*self.checkpoints.after_nan(error.problems, moved)) from error

    def _evaluate(self, step: int) -> Evaluated:
        records = self.ledger.take(step) if step else []
        with self.average.applied() if self.average else nullcontext():
            records += evaluate(self.model, self.assembly.dev.values(), engine=self.engine, step=step)
            seen = evaluate(self.model, self.samples, engine=self.engine, step=step)
        records += [r for r in seen if r.metric != "loss"]  # of training rows the ledger tells it
        dev = [r for r in records if r.split == "dev"]
        better = self.follow.see(dev, self.tasks, step)
        scores = scores_of(dev, self.tasks, self.ledger.home)
        self.state.mixture = self.stream.learn(self.state.mixture, self.state.position, scores)
        if self.engine.main:
            self.journal.add(records)
        return Evaluated(step, records, better, self.follow.undefined(dev, self.tasks))

    def _is_spent(self) -> bool:
        """Whether nothing gets better any more, as the recipe counts it."""
        if self.spec.stop == "votes":
            return self.follow.all_spent(self.tasks, self.spec.patience)
        return self.follow.stop(self.spec.patience) or len(self.state.retired) == len(self.assembly.train)

    def _drop(self, step: int, better: bool) -> Iterator[Dropped]:
        """Lower rates on a plateau, from the best weights if the recipe says so; an undefined selection does not count."""
        if self.plateau is None or math.isnan(self.follow.value) or not self.plateau.see(better):
            return
        self.state.scale, best = self.plateau.scale, self.follow.best.get(WHOLE)
        if not self.plateau.spec.reload or best is None or best.value is None:
            yield Dropped(step, self.state.scale)
            return
        self.checkpoints.restore(self.checkpoints.load(self.checkpoints.path(best.step)), self.model, self.optimizer)
        yield Dropped(step, self.state.scale, best.step)

    def _retire(self, step: int) -> Iterator[Retired]:
        """A data set leaves when all of its tasks have run out of patience, unless they only vote."""
        if self.spec.stop == "votes":
            return
        spent = set(self.follow.exhausted(self.tasks))
        for name, data in self.assembly.train.items():
            if name not in self.state.retired and data.tasks and spent.issuperset(data.tasks):
                self.state.retired = (*self.state.retired, name)
                yield Retired(step, name)

    def save(self) -> Path:
        """A checkpoint of this moment. Only the main process writes, and all learn whether it could. Raises ResourceError."""
        path, failed = self.checkpoints.path(self.state.step), None
        if self.engine.main:
            try:
                weights, extra = self.model.state_dict(), self._extra()
                self.checkpoints.save(self.state.step, weights, self.optimizer, self.model, self._state(), extra)
                self.checkpoints.prune(self.follow.steps())
            except ResourceError as error:
                failed = error
        self.engine.agree(failed, path)
        return path

    def _extra(self) -> dict[str, Mapping[str, Tensor]]:
        """What a checkpoint holds of tensors beside weights and moments."""
        average = {"average": self.average.tensors()} if self.average else {}
        return {**average, **(self.anchor.tensors() if self.anchor else {}), **carried(self.model)}

    def _state(self) -> dict[str, Any]:
        return {
            "loop": self.state.to_json(),
            "best": self.follow.to_json(),
            "ledger": self.ledger.to_json(),
            "averaged": self.average.count if self.average else 0,
            "anchor": self.anchor.to_json() if self.anchor else None,
            "plateau": self.plateau.to_json() if self.plateau else None,
            "journal": self.journal.lines,
            "fingerprint": self.fingerprint,
            "changes": list(self.changes),
            "finished": self.why != "steps" or self.state.is_through(self.spec, self.steps),
            "why": self.why,
            "time": self.allowance.to_json(),
        }

    def finish(self, why: str) -> Finished:
        """Back to the best weights; test rows scored once; the artefact written, unless it is there already."""
        target = self.artefact
        if self.complete:
            records = self.journal.read()
            return Finished(self.folder, target, self.state.step, records[-1].step, records, why)
        outcome = Outcome(self.model, self.assembly, self.checkpoints, self.follow, self.average, self.engine, self.state.step)
        records = outcome.cross_table() if self.spec.cross_table else []
        best = outcome.take_best()
        records += outcome.scores(best)
        if self.engine.main:
            self.journal.add(records)
            facts = {"seed": str(self.recipe.seed), **self.fingerprint["environment"]}
            if self.changes:
                facts["changed on the way"] = "; ".join(self.changes)
            texts = outcome.texts(self.loaded, self.journal, best, facts)
            texts[RESOLVED] = self._resolved(target)
            save_artefact(target, self.model, self.assembly.blueprint, texts, self.assembly.tokenizers)
        self.engine.wait()
        return Finished(self.folder, target, self.state.step, best, self.journal.read(), why)
