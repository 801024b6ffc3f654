"""When a run evaluates and saves. All but the clock is a function of where the run stands, the same after a resume."""

from __future__ import annotations

import math
import time
from fractions import Fraction

from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.train.loop import rounds_in, steps_in
from manyheads.train.state import Progress


def evaluations_in(stream: Stream, spec: TrainingSpec, enough: int) -> int:
    """Evaluations of a whole run, the one before its first step included; counts no further than `enough`."""
    steps, total, every = steps_in(stream, spec), rounds_in(stream, spec), spec.evaluate_every
    first = int(spec.evaluate_first)
    if isinstance(every, int):
        return min(first + math.ceil(steps / every), enough)
    share = Fraction(1) if every is None else Fraction(repr(every))
    found, epoch, before, passed = {steps}, 0, 0, share  # there always is one after the last step
    while first + len(found) < enough:
        while passed > epoch + 1:
            epoch, before = epoch + 1, before + stream.rounds_in(epoch)
        rounds = before + stream.rounds_to(epoch, passed - epoch)
        if rounds > total:
            break
        found.add(math.ceil(rounds / spec.accumulate))
        passed += share
    return min(first + len(found), enough)


class Due:
    """Asked after each step, in order, from `position` on."""

    def __init__(self, spec: TrainingSpec, stream: Stream, position: Position) -> None:
        self.spec, self.stream = spec, stream
        self.saved = time.monotonic()
        self.passed = self._passed(position)

    def evaluation(self, progress: Progress, position: Position) -> bool:
        """Whether dev rows are to be scored after this step, which ended at `position`.

        A share of an epoch is due in the step that completes its rounds. After the last step they always are, unless whole
        epochs are waited for, of which the run's end is one.
        """
        every, last = self.spec.evaluate_every, progress.last
        if every is None:
            return progress.epoch_end
        if isinstance(every, int):
            return progress.step % every == 0 or last
        before, self.passed = self.passed, self._passed(position)
        return self.passed > before or last

    def checkpoint(self, step: int) -> bool:
        """Whether a checkpoint is due, by steps or by this process's clock."""
        spec = self.spec.checkpoint
        timed = spec.every_minutes is not None and time.monotonic() - self.saved > spec.every_minutes * 60
        return timed or (spec.every_steps is not None and step % spec.every_steps == 0)

    def _passed(self, position: Position) -> int:
        """How many shares of an epoch lie behind a position, exactly: 0.1 is a tenth."""
        every = self.spec.evaluate_every
        if not isinstance(every, float):
            return 0
        return math.floor((position.epoch + self.stream.passed(position)) / Fraction(repr(every)))
