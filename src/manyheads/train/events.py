"""What a run tells on its way. Its reader prints, plots or ignores; nothing else of a run is a callback.

Started, Answered for each teacher, then Progress a step with Evaluated, Saved, NotSaved and Retired between, then Finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from manyheads.assemble import Assembly
from manyheads.train.state import Progress
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
class Answered:
    """A teacher has answered the training rows: so many `rows` of each data set, for `tasks`."""

    folder: Path
    tasks: Sequence[str]
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Scores on the dev rows.

    `step` is 0 for those before training. `better` names tasks that improved, and `train.follow.WHOLE` where the whole did;
    `undefined` tasks whose own metric has no value, and keys of `training.select` that have none, so that this step is not
    compared with others. Records of the split `train` are beside them, scores too where the recipe has `evaluate_train`.
    """

    step: int
    records: Sequence[Record]
    better: Sequence[str] = ()
    undefined: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint lies at `path`."""

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
class Dropped:
    """All learning rates are `scale` times the schedule's from here on; `best`: the step whose weights were reloaded."""

    step: int
    scale: float
    best: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is complete. `why` is `steps`, `patience`, `time` or `done` (nothing was left to do)."""

    folder: Path
    artefact: Path
    step: int
    best: int
    records: Sequence[Record]
    why: str


Event: TypeAlias = Started | Answered | Progress | Evaluated | Dropped | Saved | NotSaved | Retired | Finished
