"""What is wrong with a mixture for data sets of these names, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from manyheads.config.spec.mixture import MixtureSpec, PhaseSpec, SamplingSpec
from manyheads.data.mixture.contract import SAMPLINGS
from manyheads.data.mixture.phases import is_open
from manyheads.errors import Problem, RecipeError, listed, nearest

_OPTIONS = (*(name for name in SamplingSpec.model_fields if name != "sampling"), "phases")


def check(spec: MixtureSpec, names: Sequence[str]) -> None:
    """RecipeError with everything that is wrong for data sets of these names."""
    problems = [*_unknown(spec, names, "mixture"), *_epoch_unknown(spec, names), *_sampling(spec, names, "mixture")]
    for i, phase in enumerate(spec.phases if spec.sampling == "phases" else ()):
        place = f"mixture.phases.{i}"
        problems += [*_unknown(phase, names, place), *_sampling(phase, names, place)]
        problems += _phase(phase, place, i + 1 == len(spec.phases))
    problems += [*_rounds(spec, names), *_epoch(spec), *_learning(spec)]
    if problems:
        raise RecipeError(*problems)


def _unknown(spec: SamplingSpec, names: Sequence[str], at: str) -> Iterator[Problem]:
    wanted = [(f"{at}.shares.{name}", name) for name in spec.shares]
    wanted += [(f"{at}.tables.{i}.{name}", name) for i, table in enumerate(spec.tables) for name in table]
    wanted += [(f"{at}.turns.{name}", name) for name in spec.turns]
    wanted += [(f"{at}.main", spec.main)] if spec.main is not None else []
    if isinstance(spec, PhaseSpec):
        wanted += [(f"{at}.datasets.{i}", name) for i, name in enumerate(spec.datasets)]
        wanted += [(f"{at}.of", spec.of)] if spec.of is not None else []
    for place, name in wanted:
        if name not in names:
            yield _absent(place, name, names)


def _epoch_unknown(spec: MixtureSpec, names: Sequence[str]) -> Iterator[Problem]:
    if isinstance(spec.epoch, str) and spec.epoch not in ("pass", *names):
        yield _absent("mixture.epoch", spec.epoch, names)


def _absent(place: str, name: str, names: Sequence[str]) -> Problem:
    return Problem(f"no data set has this name (there are: {listed(names)})", place, name, nearest(name, names))


def _sampling(spec: SamplingSpec, names: Sequence[str], at: str) -> Iterator[Problem]:
    """Options that would change nothing, which their writer cannot have meant; options that are missing or say nothing."""
    sampling, fields = SAMPLINGS[spec.sampling], type(spec).model_fields
    for option in (o for o in _OPTIONS if o in fields):
        value = getattr(spec, option)
        default = value == fields[option].get_default(call_default_factory=True)
        if not default and option not in sampling.takes:
            fitting = [name for name in SAMPLINGS if option in SAMPLINGS[name].takes]
            remedy = f"write `sampling: {'` or `'.join(fitting)}`, or take it out"
            found = None if isinstance(value, dict | list) else str(value)
            yield Problem(f"has no effect with `sampling: {spec.sampling}`", f"{at}.{option}", found, remedy=remedy)
        if default and option in sampling.needs:
            yield Problem(f"`{spec.sampling}` needs `{option}`", f"{at}.sampling", spec.sampling)
    tables = [("shares", spec.shares)] if spec.sampling == "shares" else []
    tables += [(f"tables.{i}", table) for i, table in enumerate(spec.tables)]
    for place, table in tables:
        if not any(table.get(name) for name in names):
            yield Problem("all shares are 0", f"{at}.{place}", remedy="give at least one data set a share above 0")
    if spec.sampling == "alternating" and len(spec.tables) == 1:
        yield Problem("one table does not alternate", f"{at}.tables", remedy="add another, or write `sampling: shares`")


def _phase(phase: PhaseSpec, place: str, last: bool) -> Iterator[Problem]:
    if is_open(phase) and not last:
        remedy = "add `rounds` or `passes`; only the last phase may go without"
        yield Problem("the phase has no length", place, remedy=remedy)
    if phase.rounds is not None and phase.passes is not None:
        yield Problem("`rounds` and `passes` exclude each other", f"{place}.passes", f"{phase.passes:g}")
    if phase.of is not None and phase.passes is None:
        yield Problem("has no effect without `passes`", f"{place}.of", phase.of)
    if phase.of is not None and phase.sampling == "unimax":
        yield _circle(f"{place}.of", phase.of)
    if phase.main is not None and phase.datasets and phase.main not in phase.datasets:
        yield Problem("the main data set is not one of the phase's", f"{place}.main", phase.main)


def _rounds(spec: MixtureSpec, names: Sequence[str]) -> Iterator[Problem]:
    if isinstance(spec.tasks_per_step, int) and spec.tasks_per_step > len(names):
        rule = f"a round cannot hold more batches than there are data sets ({len(names)})"
        yield Problem(rule, "mixture.tasks_per_step", str(spec.tasks_per_step))
    if spec.tasks_per_step == "all" and not SAMPLINGS[spec.sampling].together:
        rule = f"a round of all data sets and `{spec.sampling}` exclude each other"
        yield Problem(rule, "mixture.sampling", spec.sampling, remedy="tasks_per_step: 1")


def _epoch(spec: MixtureSpec) -> Iterator[Problem]:
    if isinstance(spec.epoch, int) and spec.epoch < 1:
        yield Problem("an epoch has at least one round", "mixture.epoch", str(spec.epoch))
    if spec.sampling == "phases" and spec.phases and not is_open(spec.phases[-1]) and spec.epoch != "pass":
        rule = "has no effect where every phase has a length: together they are the epoch"
        yield Problem(rule, "mixture.epoch", str(spec.epoch))
    named = isinstance(spec.epoch, str) and spec.epoch != "pass"
    if named and (spec.sampling == "unimax" or SAMPLINGS[spec.sampling].learns):
        yield _circle("mixture.epoch", str(spec.epoch))


def _circle(place: str, name: str) -> Problem:
    rule = "a pass over one data set is as long as its share says, and here the share waits for the length"
    return Problem(rule, place, name, remedy="give a number of rounds")


def _learning(spec: MixtureSpec) -> Iterator[Problem]:
    if spec.sampling == "pike" and spec.tasks_per_step != 1:
        rule = "`pike` learns from the gradients of steps with one data set"
        yield Problem(rule, "mixture.tasks_per_step", str(spec.tasks_per_step), remedy="tasks_per_step: 1")
    if spec.sampling == "bandit" and spec.rate is not None and spec.rate > 1:
        yield Problem("the weight in a running mean is at most 1", "mixture.rate", f"{spec.rate:g}")
    if spec.sampling == "annealed" and spec.temperature < 1:
        yield Problem("an end below 1 would leave the small ones out", "mixture.temperature", f"{spec.temperature:g}")
