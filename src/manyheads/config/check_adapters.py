"""Rules of adapters: what they are of, and what an encoder under them can no longer do."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from manyheads.config.node import Finding, KeyPath, absent
from manyheads.config.recipe import Recipe
from manyheads.config.spec.modules import OverEncoder, PretrainedModule

_STILL = "the encoder stands still for its adapters"


def check_adapters(recipe: Recipe, modules: Collection[str]) -> Iterator[Finding]:
    """`modules` are the names that exist, those of entries with mistakes included."""
    encoders = [name for name in modules if isinstance(recipe.modules.get(name), PretrainedModule)]
    for name, spec in recipe.modules.items():
        if isinstance(spec, OverEncoder) and spec.of not in encoders and (spec.of not in modules or spec.of in recipe.modules):
            yield absent(("modules", name, "of"), "adapters are of a pretrained module", spec.of, encoders)
    for name in under_adapters(recipe):
        encoder = recipe.modules[name]
        if isinstance(encoder, PretrainedModule):
            yield from _under(name, encoder, recipe)


def under_adapters(recipe: Recipe) -> list[str]:
    """The modules that adapters are of."""
    found = (spec.of for spec in recipe.modules.values() if isinstance(spec, OverEncoder))
    return [name for name in dict.fromkeys(found) if name in recipe.modules]


def encoder_of(name: str, recipe: Recipe) -> str:
    """The name of the pretrained module that reads the texts of module `name`: its own, or that which its adapters are of."""
    spec = recipe.modules.get(name)
    return spec.of if isinstance(spec, OverEncoder) else name


def _under(name: str, encoder: PretrainedModule, recipe: Recipe) -> Iterator[Finding]:
    path: KeyPath = ("modules", name)
    if encoder.lora is not None:
        rule = "adapters are of an encoder that has none itself"
        remedy = "remove `lora` here, and let what shared it name an adapter module of its own"
        yield Finding((*path, "lora"), rule, remedy=remedy, at="key")
    for key in ("lr", "unfreeze_at", "freeze_at"):
        if getattr(encoder, key) is not None:
            rule = f"{_STILL}, so `{key}` has no meaning"
            yield Finding(
                (*path, key), rule, str(getattr(encoder, key)), remedy="remove it, or give it to the adapter", at="key"
            )
    for task_name, task in recipe.tasks.items():
        for i, step in enumerate(task.path):
            if (step if isinstance(step, str) else step.module) == name and not encoder.freeze:
                rule = f"{_STILL}, and this path trains it"
                remedy = f"say `freeze: true` in `modules.{name}`, or name an adapter in its place"
                yield Finding(("tasks", task_name, "path", i), rule, name, remedy=remedy)
