"""What a teacher says about training rows: asked once, before the first step, and kept beside the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from manyheads.artefact import load_artefact
from manyheads.data.dataset import Dataset
from manyheads.errors import ArtefactError, NumericsError, Problem, RecipeError, WiringError, listed, nearest
from manyheads.model import Model
from manyheads.nn.losses import is_missing
from manyheads.task.base import Task, TaskType
from manyheads.task.teaching import Teachable
from manyheads.teachers import Lesson, Reading, Teacher
from manyheads.train.engine import Engine
from manyheads.train.evaluate import by_length
from manyheads.train.events import Answered
from manyheads.types import Batch, Tokens

Answers: TypeAlias = "Tensor | Sequence[Tensor]"
_NAN = math.nan
_STRIDE = 1024  # rows counted at one time


class Taught:
    """A data set whose batches have a teacher's scores beside their targets.

    soft  task to the scores of all N rows: (N, C), of numbers (N,), of choices (N, P) with -inf for those that a row does
          not have, of words N tensors (W, C), shorter ones for rows whose last words the teacher did not read. NaN is no answer

    A row, or a word, counts as an item if it has a label or an answer. Raises RecipeError for tasks or sizes that do not fit.
    """

    def __init__(self, data: Dataset, soft: Mapping[str, Answers]) -> None:
        self.data, self.soft = data, dict(soft)
        self.name, self.split, self.tasks = data.name, data.split, data.tasks
        self._items: dict[str, np.ndarray] = {}
        for task, scores in soft.items():
            if task not in data.tasks:
                rule = f"data set {data.name!r} has no such label set (there are: {listed(data.tasks)})"
                raise RecipeError(Problem(rule, f"soft.{task}", task, nearest(task, data.tasks)))
            if len(scores) != len(data):
                rule = f"a teacher's scores are one a row, and data set {data.name!r} has {len(data)} rows"
                raise RecipeError(Problem(rule, f"soft.{task}", str(len(scores))))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def lengths(self) -> np.ndarray:
        return self.data.lengths

    def items(self, task: str) -> np.ndarray:
        """(N,) items with a label or a teacher's answer, times the row's weight."""
        if task not in self.soft:
            return self.data.items(task)
        if task not in self._items:
            found = [self._counts(task, np.arange(at, min(at + _STRIDE, len(self)))) for at in range(0, len(self), _STRIDE)]
            self._items[task] = np.concatenate(found)
        return self._items[task]

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        batch = self.data.batch(rows)
        return replace(batch, soft={task: _taken(scores, rows, batch.targets[task]) for task, scores in self.soft.items()})

    def gold(self, task: str, rows: Sequence[int] | np.ndarray) -> Any:
        return self.data.gold(task, rows)

    def _counts(self, task: str, rows: np.ndarray) -> np.ndarray:
        batch = self.batch(rows)
        known = ~is_missing(batch.targets[task]) | ~is_missing(batch.soft[task])
        counts: np.ndarray = known.reshape(len(rows), -1).sum(1).numpy()
        return counts * batch.weights[task].double().numpy() if task in batch.weights else counts


def _taken(scores: Answers, rows: Sequence[int] | np.ndarray, target: Tensor) -> Tensor:
    """The scores of `rows`; of words (B, W, C), as wide as the target (B, W), NaN behind the last one."""
    if isinstance(scores, Tensor):
        return scores.index_select(0, torch.from_numpy(np.array(rows, np.int64)))
    chosen, width = [scores[i] for i in rows], target.shape[1]
    found = torch.full((len(chosen), width, chosen[0].shape[-1]), _NAN)
    for row, some in zip(found, chosen, strict=True):
        row[: len(some)] = some[:width]
    return found


def teach(
    teachers: Sequence[Teacher], datasets: Mapping[str, Dataset], tasks: Mapping[str, Task], engine: Engine
) -> tuple[dict[str, Dataset], list[Answered]]:
    """The data sets, those that a teacher has rows of as `Taught`, and what each teacher has done.

    The same teachers give the same bits, in a run that goes on too. Raises ArtefactError as `ask`.
    """
    found: dict[str, list[Answers]] = {}
    answered = []
    for teacher in teachers:
        told = ask(teacher, datasets, engine)
        for task, scores in told.items():
            found.setdefault(task, []).append(scores)
        rows = {reading.rows.name: len(reading.rows) for reading in teacher.readings}
        answered.append(Answered(teacher.folder, list(told), rows))
    taught: dict[str, Dataset] = dict(datasets)
    for name, data in datasets.items():
        soft = {task: mean_answers(found[task], tasks[task].type) for task in data.tasks if task in found}
        if soft:
            taught[name] = Taught(data, soft)
    return taught, answered


def ask(teacher: Teacher, datasets: Mapping[str, Dataset], engine: Engine) -> dict[str, Answers]:
    """Task to the teacher's scores of all rows, in the student's order of labels; each reading is one pass.

    The teacher is in evaluation mode. Every process answers a part of the rows and all have the whole. Of a word that the
    student does not read there is no answer. Raises ArtefactError for a damaged teacher or scores that are no numbers.
    """
    artefact = load_artefact(teacher.folder)
    artefact.model.to(engine.device).eval()
    found: dict[str, Answers] = {}
    for reading in teacher.readings:
        try:
            found |= _read(artefact.model, reading, datasets[reading.rows.name], engine)
        except NumericsError as error:
            raise ArtefactError(*(replace(problem, place=str(teacher.folder)) for problem in error.problems)) from error
    return found


def mean_answers(answers: Sequence[Answers], kind: TaskType) -> Answers:
    """The mean of several teachers' answers to one task."""
    if len(answers) == 1 or not isinstance(kind, Teachable):
        return answers[0]
    if all(isinstance(scores, Tensor) for scores in answers):
        return kind.blend(torch.stack([scores for scores in answers if isinstance(scores, Tensor)]))
    return [kind.blend(pad_sequence(list(row), padding_value=_NAN).transpose(0, 1)) for row in zip(*answers, strict=True)]


@torch.no_grad()  # tensors made in inference mode could not be trained with
def _read(model: Model, reading: Reading, student: Dataset, engine: Engine) -> dict[str, Answers]:
    mine: list[tuple[int, dict[str, Tensor]]] = []
    names = list(dict.fromkeys(lesson.name for lesson in reading.lessons))
    for part in by_length(np.asarray(reading.rows.lengths)[engine.rank :: engine.world]):
        rows = part * engine.world + engine.rank
        batch = reading.rows.batch(rows).to(engine.device)
        with engine.autocast():
            outputs = model.answer(batch, names)
        words = _words_read(batch, student.batch(rows))
        told = {le.task: _answer(model, le, outputs[le.name].scores, batch.parts is not None) for le in reading.lessons}
        for i, row in enumerate(rows.tolist()):
            mine.append((row, {task: _of_words(found[i], words, i) for task, found in told.items()}))
    every = sorted(engine.gather(mine), key=lambda answer: answer[0])
    columns = {lesson.task: [found[lesson.task] for _, found in every] for lesson in reading.lessons}
    return {task: column if column[0].dim() == 2 else _stacked(column) for task, column in columns.items()}


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """(N,) numbers or (N, C), of rows with fewer choices -inf for the others."""
    return pad_sequence(list(rows), batch_first=True, padding_value=-math.inf) if rows[0].dim() else torch.stack(list(rows))


def _answer(model: Model, lesson: Lesson, scores: Any, parted: bool) -> Tensor:
    """(B, ..., C) in the student's order of labels, (B, P) of choices, or (B,) numbers, in float32 on the CPU.

    Rows that are `parted` score -inf where they have no part.
    """
    kind = model.tasks[lesson.name].type
    if not isinstance(kind, Teachable) or not isinstance(scores, Tensor):
        raise WiringError(
            Problem(f"the teacher's task {lesson.name!r} gives no scores to compare", f"tasks.{lesson.task}.teacher")
        )
    if not (scores.isfinite() | (scores.isneginf() & parted)).all():
        raise NumericsError(Problem(f"the teacher's scores of task {lesson.name!r} are not finite"))
    own = kind.blend(scores.float()[None]).cpu()
    return own[..., list(lesson.order)] if lesson.order else own.reshape(len(own), -1).squeeze(1)


def _words_read(teacher: Batch, student: Batch) -> Tensor | None:
    """(B, W) bool, words that both read; None where rows have no words."""
    one, two = (
        tokens.words if isinstance(tokens, Tokens) else None for tokens in (teacher.fields["text"], student.fields["text"])
    )
    return None if one is None or two is None else (one.cpu() >= 0) & (two >= 0)


def _of_words(scores: Tensor, words: Tensor | None, row: int) -> Tensor:
    """A row's scores (C,) or () as they are; those of its words (W, C) up to the last one that is read, NaN for others."""
    if scores.dim() < 2 or words is None:
        return scores.clone()
    at = torch.nonzero(words[row]).flatten()
    found = torch.full((int(at[-1]) + 1 if len(at) else 0, scores.shape[-1]), _NAN)
    found[at] = scores[at]
    return found
