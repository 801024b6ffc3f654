"""A model written down: modules with their options, tasks with their paths. What an artefact's config.json holds.

A recipe is resolved into a blueprint (labels counted, widths known, heads added); training and serving both build the
model from it, so there is one way to build one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from manyheads.errors import ArtefactError, Problem, RecipeError
from manyheads.graph import Step
from manyheads.model import Model
from manyheads.nn.build import build_module, check_options
from manyheads.task.base import TASKS, Task, TaskType
from manyheads.task.teaching import Perturbation, Teaching
from manyheads.text.tokenize import Tokenizer

FORMAT = 1
BORROWING = ("adapter", "language_head", "masked_head")  # types of modules whose `of` names an earlier one that they are given
ENCODERS = ("pretrained", "adapter")  # types of modules that have a folder of their own in an artefact
READERS = ("embedding", "characters", "elmo")  # those that read words, and have a folder for their vocabulary
_SPELLED = ("characters", "elmo")  # those that read letters


@dataclass(frozen=True, slots=True)
class ModulePlan:
    """A module: the name of its type and that type's keyword arguments; `of` names the earlier module that it is given.

    Where it is to `freeze`, its weights stand still for the whole run and have no gradient.
    """

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    freeze: bool = False


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """A task: its type and that type's arguments, its path with its head, what it reads and how it is scored.

    `reads` is text, pair, words, choices, towers (two texts, each by itself) or windows, which share `stride` pieces; `bounded`
    texts stand between marks of their begin and end.
    """

    type: str
    path: tuple[Step, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    reads: str = "text"
    weight: float = 1.0
    metric: str = ""
    metrics: tuple[str, ...] = ()
    patience: int | None = None
    stride: int | None = None
    teaching: Teaching | None = None
    consistency: float = 0.0
    perturbation: Perturbation | None = None
    bounded: bool = False

    def build(self, name: str) -> Task:
        """The task. Raises RecipeError for an unknown type or option."""
        made = make_type(name, self.type, self.options)
        return Task(
            name,
            self.path,
            made,
            self.weight,
            self.metric,
            self.metrics,
            patience=self.patience,
            teaching=self.teaching,
            consistency=self.consistency,
            perturbation=self.perturbation,
        )


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All of a model but its weights."""

    modules: Mapping[str, ModulePlan]
    tasks: Mapping[str, TaskPlan]

    def build(self, seed: int = 0) -> Model:
        """The model, its weights fresh from `seed` or from where a module's options say; what is frozen has no gradient."""
        modules: dict[str, nn.Module] = {}
        for name, plan in self.modules.items():
            options = dict(plan.options)
            if plan.type in BORROWING and options.get("of") is not None:
                options["of"] = modules[options["of"]]
            modules[name] = build_module(name, plan.type, options, seed)
            if plan.freeze:
                modules[name].requires_grad_(False)
        return Model(modules, [plan.build(name) for name, plan in self.tasks.items()])

    def reader(self, task: str) -> str:
        """The module by whose pieces a task's texts are read: the first of its path, one that hides pieces aside."""
        return next(step.module for step in self.tasks[task].path if self.modules[step.module].type != "mask")

    def longest(self, task: str) -> int:
        """Most pieces of a sequence that this module takes."""
        return int(self.modules[self.reader(task)].options["max_length"])

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """What an artefact's folder has, by module; those of one vocabulary spell where one of them reads letters."""
        homes = {n: str(p.options.get("of", n)) for n, p in self.modules.items() if p.type in (*ENCODERS, *READERS)}
        found = {home: Tokenizer.load(folder / home) for home in dict.fromkeys(homes.values())}
        spelled = {found[name].fingerprint for name, plan in self.modules.items() if plan.type in _SPELLED}
        same = {t.fingerprint: t.spelling() if t.fingerprint in spelled else t for t in found.values()}
        return {name: same[found[home].fingerprint] for name, home in homes.items()}

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> Blueprint:
        """The blueprint in a config.json. Raises ArtefactError for another format."""
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            rule = f"a model of format {FORMAT} is wanted"
            raise ArtefactError(Problem(rule, "config.json", str(found), remedy="the release that wrote it reads it"))
        try:
            modules = {name: ModulePlan(**plan) for name, plan in data["modules"].items()}
            tasks = {name: _task(plan) for name, plan in data["tasks"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtefactError(Problem(f"not a model description: {error}", "config.json")) from error
        return cls(modules, tasks)


def make_type(task: str, kind: str, options: Mapping[str, Any]) -> TaskType:
    """The task type `kind` with its options. Raises RecipeError for a type, an option or a value that is not known."""
    make, place = TASKS[kind], f"tasks.{task}.options"
    check_options(make, options, place)
    try:
        return make(**options)
    except (TypeError, ValueError) as error:  # of a plug-in's class: what a recipe gives the built-in ones has been checked
        raise RecipeError(Problem(f"the task type {kind!r} does not take these options: {error}", place)) from error


def _task(plan: Mapping[str, Any]) -> TaskPlan:
    path = tuple(Step(s["module"], tuple(s["inputs"]), s["name"]) for s in plan["path"])
    kinds = {"teaching": Teaching, "perturbation": Perturbation}
    made = {key: kind(**plan[key]) if plan.get(key) else None for key, kind in kinds.items()}
    return TaskPlan(**{**plan, "path": path, "metrics": tuple(plan["metrics"]), **made})
