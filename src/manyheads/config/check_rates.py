"""Rules of the optimizer, its schedule, and the modules that stand still for a while."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from manyheads.config.node import Finding, KeyPath
from manyheads.config.recipe import Recipe
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.training import OPTIMIZER_KEYS, SCHEDULE_KEYS, OptimizerSpec, ScheduleSpec, TrainingSpec

_NEEDED = {"step": "every", "cyclic": "every", "multi_step": "milestones"}


def check_rates(recipe: Recipe) -> Iterator[Finding]:
    """What the optimizer and its schedule lack, and steps of freezing that leave none to train in."""
    yield from check_training(recipe.training)
    for name, module in recipe.modules.items():
        yield from _freezing(name, module)


def check_training(training: TrainingSpec) -> Iterator[Finding]:
    """What shapes and rules cannot do without."""
    schedule, optimizer = training.schedule, training.optimizer
    needed = _NEEDED.get(schedule.name)
    if needed is not None and not getattr(schedule, needed):
        rule = f"`name: {schedule.name}` needs the key {needed!r}"
        yield Finding(("training", "schedule", "name"), rule, schedule.name, lacks=needed)
    if optimizer.nesterov and optimizer.name == "sgd" and not optimizer.momentum:
        yield Finding(("training", "optimizer", "nesterov"), "`nesterov` needs a `momentum` above 0", at="key")


def idle(recipe: Recipe) -> Iterator[Finding]:
    """Settings of the optimizer, the schedule and of frozen modules that nothing reads."""
    optimizer, schedule = recipe.training.optimizer, recipe.training.schedule
    chosen: tuple[tuple[str, OptimizerSpec | ScheduleSpec, Mapping[str, Collection[str]]], ...] = (
        ("optimizer", optimizer, OPTIMIZER_KEYS),
        ("schedule", schedule, SCHEDULE_KEYS),
    )
    for section, spec, takes in chosen:
        own = {key for keys in takes.values() for key in keys}
        for key in sorted(own.difference(takes.get(spec.name, ()))):
            if getattr(spec, key) != type(spec).model_fields[key].get_default(call_default_factory=True):
                yield Finding(("training", section, key), f"`{key}` has no effect with `name: {spec.name}`", key, at="key")
    for name, module in recipe.modules.items():
        if module.freeze and module.lr is not None:
            yield Finding(("modules", name, "lr"), "the module is frozen, so its rate has no effect", name, at="key")


def _freezing(name: str, module: ModuleBase) -> Iterator[Finding]:
    path: KeyPath = ("modules", name)
    for key in ("unfreeze_at", "freeze_at"):
        if module.freeze and getattr(module, key) is not None:
            rule = f"`freeze` is for the whole run, and `{key}` for a part of it"
            yield Finding((*path, key), rule, str(getattr(module, key)), remedy="remove one of them", at="key")
    if module.unfreeze_at is not None and module.freeze_at is not None and module.freeze_at <= module.unfreeze_at:
        rule = f"`freeze_at` must come after `unfreeze_at`, which is {module.unfreeze_at}; no step would train the module"
        yield Finding((*path, "freeze_at"), rule, str(module.freeze_at))
