"""Rules of lengths: what a data set may ask of the module that reads it, and how much those behind that one can take."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.config.check_adapters import encoder_of
from manyheads.config.node import Finding, KeyPath
from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec
from manyheads.config.spec.modules import PretrainedModule
from manyheads.config.spec.tasks import TaskBase
from manyheads.config.spec.words import ReadingModule, TransformerModule


def check_lengths(task: TaskBase, recipe: Recipe, home: tuple[KeyPath, DataSpec | None]) -> Iterator[Finding]:
    """A data set's own limit within that of the module which reads it, and that one's within every transformer's behind it."""
    path, spec = home
    name, reader = reader_of(task, recipe)
    if reader is None or spec is None:
        return
    if spec.max_length is not None and spec.max_length > reader.max_length:
        what = "encoder" if isinstance(reader, PretrainedModule) else "module"
        rule = f"the data set's limit is above that of the {what} {name!r}, which is {reader.max_length}"
        remedy = f"raise `max_length` of the {what} as well"
        yield Finding((*path, "max_length"), rule, str(spec.max_length), remedy=remedy)
    for behind in _modules(task, recipe):
        module = recipe.modules.get(behind)
        if isinstance(module, TransformerModule) and module.max_length < reader.max_length:
            rule = f"the transformer has fewer positions than {name!r} before it reads, which is up to {reader.max_length}"
            remedy = f"raise `max_length` here, or lower that of {name!r}"
            yield Finding(("modules", behind, "max_length"), rule, str(module.max_length), remedy=remedy)


def reader_of(task: TaskBase, recipe: Recipe) -> tuple[str, PretrainedModule | ReadingModule | None]:
    """The module by which a task's rows are read, with its name; None where the path has none."""
    reads = ((n, m) for n in _modules(task, recipe) if isinstance(m := recipe.modules.get(n), PretrainedModule | ReadingModule))
    return next(reads, ("", None))


def _modules(task: TaskBase, recipe: Recipe) -> list[str]:
    """The modules of a path, encoders in the place of their adapters."""
    return [encoder_of(step if isinstance(step, str) else step.module, recipe) for step in task.path]
