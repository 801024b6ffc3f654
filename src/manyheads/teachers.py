"""The teachers that a recipe names: what their folders say against what the tasks are, and the rows as they read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manyheads.blueprint import ENCODERS, READERS, Blueprint, TaskPlan
from manyheads.config.recipe import Recipe
from manyheads.config.spec.tasks import TeacherSpec
from manyheads.data.cache import Cache
from manyheads.data.dataset import TextDataset
from manyheads.encoders import meant
from manyheads.errors import ManyheadsError, Problem, RecipeError, listed, nearest, shown
from manyheads.folder import MANIFEST, read_json, verify
from manyheads.prepare import Prepared, encoded


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a teacher is asked for a task: `name` of its own task, and in `order` where it has the student's labels, if any."""

    task: str
    name: str
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Training rows of a data set in a teacher's own pieces, and all that it is asked about them: one pass."""

    rows: TextDataset
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A saved model and what it is to read.

    told    its folder as the recipe names it
    sha256  of its manifest, which has the hash of every other file
    """

    folder: Path
    told: str
    sha256: str
    readings: tuple[Reading, ...]


def find_teachers(
    recipe: Recipe, found: Sequence[Prepared], tasks: Mapping[str, TaskPlan], base: Path, cache: Cache | None
) -> tuple[Teacher, ...]:
    """The teachers of all tasks, each folder once; the rows that they read are encoded, in `cache` where one is given.

    `tasks` are the students. Raises RecipeError for a teacher that is not there, cannot be used, or has another kind of task,
    other labels or other inputs than its student; each mistake stands at its dotted key.
    """
    saved: dict[str, _Saved] = {}
    rows: dict[str, dict[str, list[Lesson]]] = {}
    problems: list[Problem] = []
    homes = {name: prepared for prepared in found for name in prepared.source.tasks}
    for name, task in recipe.tasks.items():
        for folder in task.teacher.folders if task.teacher else ():
            try:
                if folder not in saved:
                    saved[folder] = _open(base, f"tasks.{name}.teacher.from", folder)
                lesson = _lesson(name, task.teacher, saved[folder], tasks[name])
            except RecipeError as error:
                problems += error.problems
                continue
            rows.setdefault(folder, {}).setdefault(homes[name].source.name, []).append(lesson)
    if problems:
        raise RecipeError(*problems)
    by_name = {prepared.source.name: prepared for prepared in found}
    return tuple(_teacher(saved[folder], asked, by_name, cache) for folder, asked in rows.items())


@dataclass(frozen=True, slots=True)
class _Saved:
    folder: Path
    told: str
    sha256: str
    blueprint: Blueprint

    def reader(self, lesson: Lesson) -> tuple[str, bool]:
        """The module by whose pieces a lesson is read, and whether texts stand between marks of begin and end."""
        return self.blueprint.reader(lesson.name), self.blueprint.tasks[lesson.name].bounded


def _open(base: Path, place: str, told: str) -> _Saved:
    """The folder `told` from `base`, whose every byte was checked; no weight is read."""
    folder = base / told
    if not (folder / MANIFEST).is_file():
        inside = folder / "artefact" / MANIFEST
        usual = "name the folder of an artefact, such as runs/a/artefact, relative to the recipe"
        near = f"{told.rstrip('/')}/artefact" if inside.is_file() else None
        raise RecipeError(Problem("no trained model is in this folder", place, told, near, meant(told, base) or usual))
    try:
        verify(folder, kind="artefact")
        blueprint = Blueprint.from_json(read_json(folder / "config.json"))
    except ManyheadsError as error:
        rules = [f"the teacher cannot be used: {problem}" for problem in error.problems]
        raise RecipeError(*(Problem(rule, place, told) for rule in rules)) from error
    return _Saved(folder, told, hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(), blueprint)


def _lesson(task: str, spec: TeacherSpec | None, saved: _Saved, student: TaskPlan) -> Lesson:
    place, plans = f"tasks.{task}.teacher", saved.blueprint.tasks
    name = (spec.task if spec else None) or task
    if name not in plans:
        rule = f"the teacher {shown(saved.told)} has no such task (there are: {listed(plans)})"
        raise RecipeError(Problem(rule, f"{place}.task", name, nearest(name, plans), "name one of its tasks as `task`"))
    problems = [Problem(rule, place) for rule in _differences(task, student, name, plans[name], saved.blueprint)]
    if problems:
        raise RecipeError(*problems)
    known = _labels(plans[name])
    return Lesson(task, name, tuple(known.index(label) for label in _labels(student)))


def _differences(task: str, student: TaskPlan, name: str, teacher: TaskPlan, blueprint: Blueprint) -> Iterator[str]:
    """What keeps a teacher's answers from being the student's."""
    first, last = (blueprint.modules[step.module].type for step in (teacher.path[0], teacher.path[-1]))
    if first not in (*ENCODERS, *READERS):
        yield f"the teacher's task {shown(name)} does not begin with a module that reads text"
    if last == "crf_head":
        yield f"the teacher's task {shown(name)} gives paths of tags and no answer to a single word (`decoder: crf`)"
    facts: list[tuple[str, Any, Any]] = [("type", student.type, teacher.type)]
    facts.append(("kind of input", _input(student), _input(teacher)))
    facts.append(("scheme", student.options.get("scheme"), teacher.options.get("scheme")))
    for what, own, other in facts:
        if own != other:
            yield f"teacher and student must have the same {what}: task {shown(task)} has {own}, the teacher's {other}"
            return
    mine, theirs = _labels(student), _labels(teacher)
    if set(mine) != set(theirs):
        alone = f"only the task has {listed(x for x in mine if x not in theirs)}"
        other = f"only the teacher has {listed(x for x in theirs if x not in mine)}"
        both = f"task {shown(task)} and the teacher's {shown(name)}"
        yield f"teacher and student must have the same labels, and those of {both} differ: {alone}, {other}"


def _input(plan: TaskPlan) -> str:
    """Words are read as texts are, but for tags."""
    return "words" if plan.type == "tagging" else "pairs of texts" if plan.reads == "pair" else "single texts"


def _labels(plan: TaskPlan) -> list[str]:
    return list(plan.options.get("labels") or [])


def _teacher(
    saved: _Saved, asked: Mapping[str, Sequence[Lesson]], found: Mapping[str, Prepared], cache: Cache | None
) -> Teacher:
    """A reading for each data set and each of the teacher's encoders that its tasks begin with."""
    readings = []
    for name, lessons in asked.items():
        for reader in dict.fromkeys(saved.reader(lesson) for lesson in lessons):
            rows = _rows(saved, *reader, found[name], cache)
            readings.append(Reading(rows, tuple(lesson for lesson in lessons if saved.reader(lesson) == reader)))
    return Teacher(saved.folder, saved.told, saved.sha256, tuple(readings))


def _rows(saved: _Saved, trunk: str, bounded: bool, prepared: Prepared, cache: Cache | None) -> TextDataset:
    """The training rows without labels, as long as the teacher reads, whatever limit the data set has for the student."""
    source = replace(prepared.source, spec=prepared.source.spec.model_copy(update={"max_length": None}))
    bare = Prepared(source, {"train": prepared.rows["train"]}, {}, {})
    longest = saved.blueprint.modules[trunk].options["max_length"]
    tokenizer = saved.blueprint.tokenizers(saved.folder)[trunk]
    return encoded(bare, tokenizer.bounded() if bounded else tokenizer, longest, cache)["train"]
