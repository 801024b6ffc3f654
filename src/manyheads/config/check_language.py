"""Rules for language models, masked ones too, and for data sets that are read as one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from manyheads.config.node import Finding, KeyPath, absent
from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec
from manyheads.config.spec.modules import OverEncoder, PretrainedModule
from manyheads.config.spec.tasks import LanguageModellingTask, MaskedLanguageModellingTask, StepSpec, TaskBase
from manyheads.config.spec.words import EmbeddingModule


def check_language(name: str, task: TaskBase, recipe: Recipe, home: tuple[KeyPath, DataSpec | None]) -> Iterator[Finding]:
    """What a language model cannot have; `home` is where its data set stands, and that."""
    if not isinstance(task, LanguageModellingTask | MaskedLanguageModellingTask):
        return
    path: KeyPath = ("tasks", name)
    yield from _comparisons(path, task)
    place, spec = home
    for key in ("label", "missing"):
        if getattr(task.data, key):
            rule = "a language model learns the words of the text themselves and has no label column"
            yield Finding((*path, "data", key), rule, at="key")
    if isinstance(task, MaskedLanguageModellingTask):
        yield from _encoder(path, task, recipe)
        return
    yield from _softmax(path, task, recipe)
    for key in ("pair", "choices"):
        if spec is not None and getattr(spec, key) is not None:
            yield Finding((*place, key), "a language model reads single texts or words", getattr(spec, key), at="key")
    if spec is not None and spec.stream is not None and task.direction != "forward":
        rule = "words of a `stream` are told forward: what lies behind a chunk is not read yet"
        yield Finding((*path, "direction"), rule, task.direction, "forward")


def _encoder(path: KeyPath, task: MaskedLanguageModellingTask, recipe: Recipe) -> Iterator[Finding]:
    """What hides pieces has to know those of the encoder, which stands behind it."""
    first = task.path[0] if task.path else None
    module = first.module if isinstance(first, StepSpec) else first
    if module in recipe.modules and not isinstance(recipe.modules[module], PretrainedModule | OverEncoder):
        rule = "a path on which words are hidden begins with a `pretrained` module, an `adapter` or `ia3`"
        remedy = "modules of words learn `language_modelling`"
        yield Finding((*path, "path", 0), rule, module, remedy=remedy)


def _comparisons(path: KeyPath, task: LanguageModellingTask | MaskedLanguageModellingTask) -> Iterator[Finding]:
    for key, given in (("teacher", task.teacher is not None), ("consistency", task.consistency > 0)):
        if given:
            yield Finding((*path, key), f"`{key}` compares two answers, and a language model has none to compare", at="key")


def _softmax(path: KeyPath, task: LanguageModellingTask, recipe: Recipe) -> Iterator[Finding]:
    adaptive = task.softmax == "adaptive"
    if adaptive and not task.cutoffs:
        yield Finding(
            (*path, "softmax"), "the adaptive softmax needs `cutoffs`", task.softmax, remedy="for example [2000, 10000]"
        )
    if task.cutoffs and not adaptive:
        yield Finding((*path, "cutoffs"), "only the adaptive softmax has `cutoffs`", at="key", remedy="softmax: adaptive")
    for i, (cutoff, last) in enumerate(zip(task.cutoffs[1:], task.cutoffs, strict=False), 1):
        if cutoff <= last:
            yield Finding((*path, "cutoffs", i), f"cutoffs rise, and the one before is {last}", str(cutoff))
    if task.tied is None:
        return
    if adaptive:
        rule = "the adaptive softmax has tables of its own for each cluster, and none that could be the embedding's"
        yield Finding((*path, "tied"), rule, task.tied, remedy="take `tied` out, or write `softmax: full`")
    steps = [step.module if isinstance(step, StepSpec) else step for step in task.path]
    tables = [step for step in steps if isinstance(recipe.modules.get(step), EmbeddingModule)]
    if task.tied not in tables:
        yield absent((*path, "tied"), "no embedding of the task's path is called this", task.tied, tables)


def check_streams(recipe: Recipe) -> Iterator[Finding]:
    """A data set that is one text has tasks that read it as such, and no keys that only rows by themselves have."""
    for place, spec, tasks in _datasets(recipe):
        if spec.stream is None:
            continue
        for name, task in tasks.items():
            if not isinstance(task, LanguageModellingTask):
                rule = (
                    f"the rows of the data set are one text (`stream`), which only language models read; task {name!r} is none"
                )
                yield Finding((*place, "stream"), rule, at="key", remedy="name the same files as a data set of the task's own")
            elif task.data.weight is not None:
                yield Finding(("tasks", name, "data", "weight"), "rows that are one text (`stream`) have no weights", at="key")
        for key in ("batch", "max_length"):
            if getattr(spec, key) is not None:
                yield Finding(
                    (*place, key), f"`stream` says how long chunks are and how many a batch has, not `{key}`", at="key"
                )


def _datasets(recipe: Recipe) -> Iterator[tuple[KeyPath, DataSpec, Mapping[str, TaskBase]]]:
    for name, spec in recipe.data.items():
        yield ("data", name), spec, {n: task for n, task in recipe.tasks.items() if task.data.from_ == name}
    for name, task in recipe.tasks.items():
        if task.data.from_ is None:
            yield ("tasks", name, "data"), task.data, {name: task}
