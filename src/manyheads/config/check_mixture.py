"""Rules of a mixture: names that must exist, options that belong to the sampling, what excludes each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from manyheads.config.node import Finding, KeyPath, absent
from manyheads.config.spec.mixture import (
    LEARNING,
    SAMPLING_KEYS,
    SAMPLING_NEEDS,
    TOGETHER,
    MixtureSpec,
    PhaseSpec,
    SamplingSpec,
)
from manyheads.config.spec.training import TrainingSpec

_OPTIONS = (*(name for name in SamplingSpec.model_fields if name != "sampling"), "phases")
_BY_EPOCHS = ("annealed", "unimax")
Spec = TypeVar("Spec", bound=SamplingSpec)


def check_mixture(mixture: MixtureSpec, names: Sequence[str]) -> Iterator[Finding]:
    """Everything that is wrong for data sets of these names, whatever their sizes."""
    at: KeyPath = ("mixture",)
    yield from _sampling(mixture, names, at)
    for i, phase in enumerate(mixture.phases if mixture.sampling == "phases" else ()):
        yield from _sampling(phase, names, (*at, "phases", i))
        yield from _phase(phase, names, (*at, "phases", i), i + 1 == len(mixture.phases))
        yield from _outside(phase, names, (*at, "phases", i))
        if _opening(mixture, i) and phase.sampling == "annealed":
            rule = "an opening phase comes once, so nothing anneals in it"
            yield Finding((*at, "phases", i, "sampling"), rule, "annealed", remedy="write `sampling: temperature`")
    yield from _epoch(mixture, names, (*at, "epoch"))
    yield from _rounds(mixture, names, at)


def check_learning(mixture: MixtureSpec, training: TrainingSpec) -> Iterator[Finding]:
    """A mixture that would never see what it learns from."""
    if mixture.sampling == "pike" and training.accumulate > 1:
        rule = "`sampling: pike` learns from the gradients of steps with one data set"
        yield Finding(("training", "accumulate"), rule, str(training.accumulate), remedy="accumulate: 1")
    if training.steps is None and training.epochs == 1:
        for i, phase in enumerate(mixture.phases if mixture.sampling == "phases" else ()):
            if phase.sampling == "annealed" and not _opening(mixture, i):
                rule = "the phases come once in a run of one epoch, so nothing anneals in them"
                remedy = "write `sampling: temperature`, or give the run more epochs"
                yield Finding(("mixture", "phases", i, "sampling"), rule, "annealed", remedy=remedy)


def settled(mixture: MixtureSpec, training: TrainingSpec) -> MixtureSpec:
    """The mixture whose samplings that reckon with a number of epochs have that of `training`, unless they say another.

    A run of so many `steps` has no such number. An opening phase comes in one epoch alone.
    """
    epochs = training.epochs if training.steps is None else None
    phases = [_with_epochs(phase, 1 if _opening(mixture, i) else epochs) for i, phase in enumerate(mixture.phases)]
    return _with_epochs(mixture.model_copy(update={"phases": phases}), epochs)


def _with_epochs(spec: Spec, epochs: int | None) -> Spec:
    return spec.model_copy(update={"over": epochs}) if spec.sampling in _BY_EPOCHS and spec.over is None else spec


def _opening(mixture: MixtureSpec, i: int) -> bool:
    """This phase comes once, before one that lasts."""
    return i + 1 < len(mixture.phases) and mixture.phases[-1].lasts


def _sampling(spec: SamplingSpec, names: Sequence[str], at: KeyPath) -> Iterator[Finding]:
    """A sampling and its options, of the mixture or of a phase."""
    yield from _unknown(spec, names, at)
    yield from _options(spec, at)
    tables: list[tuple[KeyPath, dict[str, float]]] = [((*at, "tables", i), table) for i, table in enumerate(spec.tables)]
    tables += [((*at, "shares"), spec.shares)] if spec.sampling == "shares" and spec.shares else []
    for path, table in tables:
        if not any(table.values()):
            yield Finding(path, "all shares are 0", remedy="give at least one data set a share above 0", at="key")
    if spec.sampling == "alternating" and len(spec.tables) == 1:
        remedy = "add another, or write `sampling: shares`"
        yield Finding((*at, "tables"), "one table does not alternate", remedy=remedy, at="key")
    if spec.sampling == "annealed" and spec.temperature < 1:
        yield Finding((*at, "temperature"), "an end below 1 would leave the small ones out", f"{spec.temperature:g}")
    if spec.sampling == "bandit" and spec.rate is not None and spec.rate > 1:
        yield Finding((*at, "rate"), "the weight in a running mean is at most 1", f"{spec.rate:g}")


def _unknown(spec: SamplingSpec, names: Sequence[str], at: KeyPath) -> Iterator[Finding]:
    wanted = [((*at, *key), str(key[-1]), True) for key in _named(spec)]
    wanted += [((*at, "main"), spec.main, False)] if spec.main is not None else []
    for path, name, at_key in wanted:
        if name not in names:
            yield absent(path, "no data set has this name", name, names, at_key)


def _named(spec: SamplingSpec) -> list[KeyPath]:
    """Keys of options that are names of data sets."""
    keys: list[KeyPath] = [("shares", name) for name in spec.shares]
    keys += [("tables", i, name) for i, table in enumerate(spec.tables) for name in table]
    return [*keys, *(("turns", name) for name in spec.turns)]


def _outside(phase: PhaseSpec, names: Sequence[str], at: KeyPath) -> Iterator[Finding]:
    """Names that the phase's `datasets` leave out, and those that stand there twice."""
    for i, name in enumerate(phase.datasets):
        if name in phase.datasets[:i]:
            yield Finding((*at, "datasets", i), "the data set is named twice", name)
    if not phase.datasets:
        return
    known = set(names) - set(phase.datasets)
    for key in _named(phase):
        if key[-1] in known and key[0] in SAMPLING_KEYS[phase.sampling]:
            yield Finding((*at, *key), "the data set is not one of the phase's", str(key[-1]), at="key")
    if phase.of in known and phase.passes is not None:
        yield Finding((*at, "of"), "the data set whose passes are counted is not one of the phase's", phase.of)


def _options(spec: SamplingSpec, at: KeyPath) -> Iterator[Finding]:
    """Options that would change nothing, which their writer cannot have meant, and those that are missing."""
    fields = type(spec).model_fields
    for option in (o for o in _OPTIONS if o in fields):
        value = getattr(spec, option)
        default = value == fields[option].get_default(call_default_factory=True)
        if not default and option not in SAMPLING_KEYS[spec.sampling]:
            fitting = sorted(name for name, keys in SAMPLING_KEYS.items() if option in keys)
            remedy = f"write `sampling: {'` or `'.join(fitting)}`, or take it out"
            found = None if isinstance(value, dict | list) else str(value)
            rule = f"`{option}` has no effect with `sampling: {spec.sampling}`"
            yield Finding((*at, option), rule, found, remedy=remedy, at="key")
        if default and option in SAMPLING_NEEDS.get(spec.sampling, ()):
            rule = f"`sampling: {spec.sampling}` needs the key {option!r}"
            yield Finding((*at, "sampling"), rule, spec.sampling, lacks=option)


def _phase(phase: PhaseSpec, names: Sequence[str], at: KeyPath, last: bool) -> Iterator[Finding]:
    for i, name in enumerate(phase.datasets):
        if name not in names:
            yield absent((*at, "datasets", i), "no data set has this name", name, names)
    if phase.of is not None and phase.of not in names:
        yield absent((*at, "of"), "no data set has this name", phase.of, names)
    if phase.lasts and not last:
        yield Finding(at, "the phase has no length", remedy="add `rounds` or `passes`; only the last phase may go without")
    if phase.rounds is not None and phase.passes is not None:
        yield Finding((*at, "passes"), "`rounds` and `passes` exclude each other", f"{phase.passes:g}", at="key")
    if phase.of is not None and phase.passes is None:
        yield Finding((*at, "of"), "`of` has no effect without `passes`", phase.of, at="key")
    if phase.of is not None and phase.sampling == "unimax":
        yield _circle((*at, "of"), phase.of)
    if phase.main is not None and phase.datasets and phase.main not in phase.datasets:
        yield Finding((*at, "main"), "the main data set is not one of the phase's", phase.main)


def _epoch(mixture: MixtureSpec, names: Sequence[str], path: KeyPath) -> Iterator[Finding]:
    epoch = mixture.epoch
    if epoch == "pass":
        return
    if mixture.sampling == "phases" and mixture.phases and not mixture.phases[-1].lasts:
        rule = "`epoch` has no effect where every phase has a length: together they are the epoch"
        yield Finding(path, rule, str(epoch), at="key")
    elif isinstance(epoch, int):
        if epoch < 1:
            yield Finding(path, "an epoch has at least one round", str(epoch))
    elif epoch not in names:
        yield absent(path, "an epoch is a number, 'pass' or a data set's name", epoch, ["pass", *names])
    elif mixture.sampling == "unimax" or mixture.sampling in LEARNING:
        yield _circle(path, epoch)


def _circle(path: KeyPath, name: str) -> Finding:
    rule = "a pass over one data set is as long as its share says, and here the share waits for the length"
    return Finding(path, rule, name, remedy="give a number of rounds")


def _rounds(mixture: MixtureSpec, names: Sequence[str], at: KeyPath) -> Iterator[Finding]:
    width = mixture.tasks_per_step
    if isinstance(width, int) and width > max(1, len(names)):
        rule = f"a round cannot hold more batches than there are data sets ({len(names)})"
        yield Finding((*at, "tasks_per_step"), rule, str(width))
    if mixture.sampling == "pike" and width != 1:
        rule = "`pike` learns from the gradients of steps with one data set"
        yield Finding((*at, "tasks_per_step"), rule, str(width), remedy="tasks_per_step: 1")
    elif width == "all" and mixture.sampling not in TOGETHER:
        rule = f"a round of all data sets and `{mixture.sampling}` exclude each other"
        yield Finding((*at, "sampling"), rule, mixture.sampling, remedy="tasks_per_step: 1")
    elif width == "all":
        yield from _void(mixture, at)


def _void(mixture: MixtureSpec, at: KeyPath) -> Iterator[Finding]:
    """Options that change nothing in rounds of all data sets."""
    keys, remedy = SAMPLING_KEYS[mixture.sampling], "take it out, or write `tasks_per_step: 1`"
    if "temperature" in keys and mixture.temperature != 1:
        rule = "`temperature` has no effect with `tasks_per_step: all`"
        yield Finding((*at, "temperature"), rule, f"{mixture.temperature:g}", remedy=remedy, at="key")
    if "turns" in keys and mixture.turns:
        yield Finding((*at, "turns"), "`turns` has no effect with `tasks_per_step: all`", remedy=remedy, at="key")
    if "shares" in keys and len(set(mixture.shares.values()) - {0}) > 1:
        rule = "shares have no effect with `tasks_per_step: all`, which takes one batch of each"
        remedy = "give all that take part the same share, or write `tasks_per_step: 1`"
        yield Finding((*at, "shares"), rule, remedy=remedy, at="key")
