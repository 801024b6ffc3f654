"""Keys of tasks and their rows that the recipe gives, and that nothing reads as they are given."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.config.check_lengths import reader_of
from manyheads.config.node import Finding, KeyPath, Node
from manyheads.config.recipe import Recipe
from manyheads.config.spec.tasks import (
    LanguageModellingTask,
    MaskedLanguageModellingTask,
    QuestionAnsweringTask,
    TaggingTask,
)

_OF_WORDS = LanguageModellingTask | MaskedLanguageModellingTask | QuestionAnsweringTask | TaggingTask

_ROUNDED = 1e-2


def idle_keys(recipe: Recipe, root: Node) -> Iterator[Finding]:
    """A pool before a head that reads states, unless all tasks are given it; windows that cannot share what they are to."""
    for name, task in recipe.tasks.items():
        given = root.find(("tasks", name, "pool"))
        if isinstance(task, _OF_WORDS) and given is not None and given.given != "defaults":
            rule = f"a task of type {task.type!r} reads every word's state, so no pool stands before its head"
            yield Finding(("tasks", name, "pool"), rule, task.pool, remedy="take it out", at="key")
        noise = task.perturbation
        if noise is not None and recipe.training.precision == "bf16" and noise.noise + noise.ascents * noise.step < _ROUNDED:
            rule = f"`precision: bf16` rounds away most noise that is less than about {_ROUNDED:g}"
            yield Finding(("tasks", name, "perturbation"), rule, remedy="raise it, or train with `precision: fp32`", at="key")
        if isinstance(task, QuestionAnsweringTask):
            yield from _stride(name, task, recipe)


def _stride(name: str, task: QuestionAnsweringTask, recipe: Recipe) -> Iterator[Finding]:
    spec = task.data if task.data.from_ is None else recipe.data.get(task.data.from_)
    path: KeyPath = ("tasks", name, "data") if task.data.from_ is None else ("data", task.data.from_)
    _, reader = reader_of(task, recipe)
    if spec is None or reader is None or "stride" not in spec.model_fields_set:
        return
    longest = min(reader.max_length, spec.max_length or reader.max_length)
    if spec.stride > longest // 2:
        rule = f"windows share at most half of the text they hold; of {longest} pieces, the question's among them, less than "
        yield Finding((*path, "stride"), f"{rule}{longest // 2}, whatever is asked", str(spec.stride))
