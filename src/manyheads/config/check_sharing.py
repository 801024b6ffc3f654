"""Rules of learned sharing: what units mix, which of their results steps read, and which modules have subspaces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from manyheads.config.node import Finding, KeyPath, absent
from manyheads.config.recipe import Recipe
from manyheads.config.spec.modules import OwnModule
from manyheads.config.spec.sharing import CrossStitchModule, LayerStitchModule
from manyheads.config.spec.tasks import StepSpec, TaskBase
from manyheads.config.spec.words import RecurrentModule
from manyheads.errors import listed


def check_sharing(recipe: Recipe) -> Iterator[Finding]:
    """What is not there at all is told elsewhere."""
    for name, spec in recipe.modules.items():
        if isinstance(spec, CrossStitchModule):
            for i, column in enumerate(spec.columns):
                if column in spec.columns[:i]:
                    yield Finding(("modules", name, "columns", i), "two columns have the same name", column)
    for name, task in recipe.tasks.items():
        yield from _path(name, task, recipe)
    yield from _orthogonality(recipe)


def idle_sharing(recipe: Recipe) -> Iterator[Finding]:
    """Choices that the next step does not read, and penalties on what stands still."""
    for name, task in recipe.tasks.items():
        for i, (step, after) in enumerate(pairwise(task.path)):
            if isinstance(step, StepSpec) and step.take is not None and isinstance(after, StepSpec) and after.inputs:
                path: KeyPath = ("tasks", name, "path", i, "take")
                yield Finding(path, "the next step names its inputs, so this choice has no effect", step.take, at="key")
    spec = recipe.training.orthogonality
    for i, module in enumerate(spec.modules if spec is not None else ()):
        if module in recipe.modules and recipe.modules[module].freeze:
            rule = "the module is frozen, so nothing moves its subspaces apart"
            yield Finding(("training", "orthogonality", "modules", i), rule, module)


def _path(name: str, task: TaskBase, recipe: Recipe) -> Iterator[Finding]:
    several: dict[str, CrossStitchModule] = {}  # result to the unit that gave it
    open_step: str | None = None  # the step before, where it leaves open which of its results the path goes on with
    path: KeyPath = ("tasks", name, "path")
    for i, given in enumerate(task.path):
        step = StepSpec(module=given) if isinstance(given, str) else given
        spec = recipe.modules.get(step.module)
        if open_step is not None and not step.inputs:
            rule = f"the step reads the one before, {open_step!r}, which gives {len(several[open_step].columns)} results"
            yield Finding((*path, i), rule, remedy=f"name one, as `inputs: [{_results(open_step, several)[0]}]`")
        yield from _inputs((*path, i), step, several)
        if isinstance(spec, CrossStitchModule | LayerStitchModule):
            yield from _mixed((*path, i), step, spec)
        if step.take is not None and not isinstance(spec, OwnModule) and spec is not None:
            yield from _take((*path, i, "take"), step, spec)
        result = step.name or step.module
        if isinstance(spec, CrossStitchModule):
            several[result] = spec
        open_step = result if isinstance(spec, CrossStitchModule) and step.take is None else None
    if open_step is not None:
        rule = f"the path ends in {open_step!r}, which gives {len(several[open_step].columns)} results, and the head reads one"
        remedy = f"say which, as `take: {several[open_step].columns[0]}`"
        yield Finding((*path, len(task.path) - 1), rule, remedy=remedy)


def _inputs(path: KeyPath, step: StepSpec, several: dict[str, CrossStitchModule]) -> Iterator[Finding]:
    for i, name in enumerate(step.inputs):
        head, _, column = name.partition(".")
        if head in several and not column:
            rule = f"{head!r} gives {len(several[head].columns)} results, and an input is one of them"
            yield absent((*path, "inputs", i), rule, name, _results(head, several))
        elif head in several and column not in several[head].columns:
            yield absent((*path, "inputs", i), f"{head!r} gives no such result", name, _results(head, several))


def _mixed(path: KeyPath, step: StepSpec, spec: CrossStitchModule | LayerStitchModule) -> Iterator[Finding]:
    place, given = ((*path, "inputs"), len(step.inputs)) if step.inputs else (path, 1)
    if isinstance(spec, LayerStitchModule):
        if given < 2:
            rule = f"module {step.module!r} mixes layers, two or more, and the step has one input"
            yield Finding(place, rule, remedy="name them all, as `inputs: [lower, upper]`")
    elif given != len(spec.columns):
        rule = f"module {step.module!r} takes an input for each column, {listed(spec.columns)}, and the step has {given}"
        yield Finding(place, rule, remedy="name them all as `inputs`, in that order")


def _take(path: KeyPath, step: StepSpec, spec: object) -> Iterator[Finding]:
    take = step.take or ""
    if not isinstance(spec, CrossStitchModule):
        rule = f"module {step.module!r} gives one result, so there is nothing to choose from"
        yield Finding(path, rule, take, remedy="take `take` out", at="key")
    elif take not in spec.columns:
        yield absent(path, f"{step.module!r} gives no such result", take, spec.columns)


def _results(head: str, several: dict[str, CrossStitchModule]) -> list[str]:
    return [f"{head}.{column}" for column in several[head].columns]


def _orthogonality(recipe: Recipe) -> Iterator[Finding]:
    spec = recipe.training.orthogonality
    recurrent = {name: module for name, module in recipe.modules.items() if isinstance(module, RecurrentModule)}
    for i, name in enumerate(spec.modules if spec is not None else ()):
        path: KeyPath = ("training", "orthogonality", "modules", i)
        if name not in recurrent:
            yield absent(path, "only recurrent modules have matrices of subspaces", name, list(recurrent))
        elif spec is not None and recurrent[name].gives % spec.subspaces:
            rule = f"the subspaces must divide the width of the states of {name!r}, {recurrent[name].gives}"
            yield Finding(("training", "orthogonality", "subspaces"), rule, str(spec.subspaces))
