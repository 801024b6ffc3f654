"""What a user should hear before a run begins: what it leaves out, what it never trains, what nothing will judge."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, islice

from manyheads.assemble import Assembly
from manyheads.blueprint import TaskPlan, make_type
from manyheads.config.criterion import LOSS, Criterion, criteria
from manyheads.config.node import dotted
from manyheads.config.recipe import Recipe
from manyheads.config.spec.mixture import SamplingSpec
from manyheads.config.spec.modules import PretrainedModule
from manyheads.config.spec.tasks import MultilabelTask
from manyheads.config.spec.training import ScheduleSpec
from manyheads.data.labels import LabelMap
from manyheads.data.stream import Position, Stream
from manyheads.errors import Problem, RecipeError, listed, nearest, shown
from manyheads.metrics import METRICS
from manyheads.registry import home
from manyheads.train.due import evaluations_in
from manyheads.train.follow import own_value
from manyheads.train.loop import rounds_in, steps_in
from manyheads.train.remarks import remarks

_HALF = 0.5
_UNKNOWN = 0.2  # share of unknown words among dev rows above which it is told
_SHOWN = 5  # groups of like labels that are told of a task


def advise(recipe: Recipe, assembly: Assembly, stream: Stream) -> tuple[str, ...]:
    """Sentences for warnings.

    RecipeError where `training.select` names a task that has no dev rows to select by, or a score that it does not report,
    or the mixture learns from dev rows and there are none, or the warm-up outlasts the run.
    """
    steps = steps_in(stream, recipe.training)
    with assembly.loaded.placed():
        wrong = [*_undecided(recipe, assembly), *_unlearned(recipe, assembly, stream)]
        wrong += long_warmup(recipe.training.schedule, steps)
        if wrong:
            raise RecipeError(*wrong)
    told = [f"{name}: bad rows are left out ({len(rows)})" for name, rows in assembly.bad.items() if rows]
    told += assembly.blank
    types = {name: make_type(name, plan.type, plan.options) for name, plan in assembly.blueprint.tasks.items()}
    told += remarks(chain(assembly.train.values(), assembly.dev.values(), assembly.test.values()), types)
    told += [f"{name}: no step trains it; give the run more steps, or it a larger share" for name in _untrained(recipe, stream)]
    told += [*_alone(recipe, assembly, stream), *_early(recipe, stream), *_late(recipe, steps)]
    told += [*_unread(assembly), *_bounded(recipe, assembly)]
    told += [*_unspent(recipe, assembly, stream), *_kept(recipe, assembly), *_adrift(recipe, stream)]
    return (*told, *_twins(assembly), *_untested(assembly), *_unjudged(recipe, assembly), *_ungapped(recipe, assembly, stream))


def _unread(assembly: Assembly) -> Iterator[str]:
    """Words that no vocabulary has, and rows of which nothing else is read; none where words are read by their letters too."""
    for facts in (facts for facts in assembly.words if not facts.letters):
        for name, shares in facts.unknown.items():
            if (share := shares.get("dev", 0)) > _UNKNOWN:
                remedy = "widen the `vocabulary`, or read `characters` as well"
                yield f"{name}: {share:.1%} of the words in dev rows are unknown to {listed(facts.modules)}; {remedy}"
        for name, counts in facts.strangers.items():
            for split, rows in counts.items():
                if rows:
                    yield f"{name}: {rows} {split} rows have unknown words alone, so that all of one length read alike"


def _bounded(recipe: Recipe, assembly: Assembly) -> Iterator[str]:
    """Numbers of a recipe that are above what there is, which then holds in their place."""
    for name, module in recipe.modules.items():
        if (
            isinstance(module, PretrainedModule)
            and name in assembly.blueprint.modules
            and "max_length" in module.model_fields_set
        ):
            held = int(assembly.blueprint.modules[name].options["max_length"])
            if held < module.max_length:
                yield f"modules.{name}.max_length: the encoder has {held} positions, and reads no more pieces than that"
    for name, task in recipe.tasks.items():
        labels = assembly.blueprint.tasks[name].options.get("labels") or ()
        if isinstance(task, MultilabelTask) and task.top is not None and task.top >= len(labels):
            yield f"tasks.{name}.top: there are {len(labels)} labels, so {task.top} of them are all, for every row"


def long_warmup(schedule: ScheduleSpec, steps: int) -> list[Problem]:
    """What is wrong with a warm-up that is longer than a run of so many steps."""
    if schedule.warmup < 1 or schedule.warmup <= steps:
        return []
    rule = f"the warm-up is longer than the run, which has {steps} steps"
    return [Problem(rule, "training.schedule.warmup", f"{schedule.warmup:g}")]


def _twins(assembly: Assembly) -> list[str]:
    """Labels of one task that are most likely one label, spelled in several ways."""
    told = []
    for task, target in assembly.labels.items():
        groups = LabelMap.from_json(target["labels"]).variants() if target.get("labels") else []
        alike = "differ only in case, space or Unicode form; if they are one label, spell them alike"
        told += [f"{task}: the labels {listed(group)} {alike}" for group in groups[:_SHOWN]]
        if len(groups) > _SHOWN:
            told.append(f"{task}: and {len(groups) - _SHOWN} more such groups of labels")
    return told


def _untrained(recipe: Recipe, stream: Stream) -> list[str]:
    """Data sets that no draw of the whole run is from; looks no further than the first draw of the last of them."""
    waiting = dict.fromkeys(stream.names)
    for draws, _ in islice(stream.rounds(Position.start(stream.names)), rounds_in(stream, recipe.training)):
        for draw in draws:
            waiting.pop(draw.dataset, None)
        if not waiting:
            break
    return list(waiting)


def _alone(recipe: Recipe, assembly: Assembly, stream: Stream) -> list[str]:
    """What compares the tasks of a step, in a run that never puts two into one; looks no further than the first such step."""
    kind, every, accumulate = recipe.balance.aggregation.type, recipe.balance.cosines_every, recipe.training.accumulate
    waiting: dict[str, tuple[int, str]] = {}
    if kind != "sum":
        waiting["balance.aggregation"] = (1, f"no step has two tasks with labels, so `{kind}` never acts")
    if every is not None:
        told = "no step that it looks at has two tasks with labels, so no cosine is recorded"
        waiting["balance.cosines_every"] = (every, told)
    items = {n: {t: data.items(t) for t in data.tasks if recipe.tasks[t].weight} for n, data in assembly.train.items()}
    if not (recipe.mixture.tasks_per_step == accumulate == 1 and all(len(tasks) < 2 for tasks in items.values())):
        rounds = islice(stream.rounds(Position.start(stream.names)), rounds_in(stream, recipe.training))
        steps = iter(lambda: [draw for draws, _ in islice(rounds, accumulate) for draw in draws], [])
        for number, draws in enumerate(steps if waiting else ()):
            together = {t for d in draws for t, found in items[d.dataset].items() if found[d.rows].any()}
            if len(together) > 1:
                waiting = {key: value for key, value in waiting.items() if number % value[0]}
            if not waiting:
                break
    where = "" if len(stream.names) == 1 else "; set mixture.tasks_per_step"
    return [f"{key}: {why}{where}" for key, (_, why) in waiting.items()]


def _early(recipe: Recipe, stream: Stream) -> list[str]:
    """A weighting that compares two epochs, in a run that ends with the second."""
    before = stream.rounds_in(0) + stream.rounds_in(1)
    last = (steps_in(stream, recipe.training) - 1) * recipe.training.accumulate  # rounds before the last step
    if recipe.balance.weighting.type != "dwa" or last >= before:
        return []
    return ["balance.weighting: `dwa` does nothing before the third epoch, and no step begins there; give the run more epochs"]


def _late(recipe: Recipe, steps: int) -> list[str]:
    """Steps that a recipe names and the run does not reach."""
    after = f"and the run ends after {steps} steps"
    told = []
    for name, module in recipe.modules.items():
        if module.unfreeze_at is not None and module.unfreeze_at >= steps:
            told.append(f"modules.{name}.unfreeze_at: no step trains it; it is frozen for {module.unfreeze_at} steps, {after}")
        if module.freeze_at is not None and module.freeze_at >= steps:
            told.append(f"modules.{name}.freeze_at: it is never frozen; it trains for {module.freeze_at} steps, {after}")
    schedule = recipe.training.schedule
    if schedule.name == "multi_step":
        late = [at for at in schedule.milestones if at >= steps]
        told += [f"training.schedule.milestones: the rate is to drop at step {at:g}, {after}" for at in late]
    return told


def _unspent(recipe: Recipe, assembly: Assembly, stream: Stream) -> list[str]:
    """Waits for a better score that outlast the evaluations of the run; those that nothing judges are told elsewhere."""
    training, without = recipe.training, _without_dev(recipe, assembly)
    if len(without) == len(recipe.tasks):
        return []
    waits = {f"tasks.{name}.patience": task.patience for name, task in recipe.tasks.items() if name not in without}
    waits["training.patience"] = training.patience
    waits["training.plateau.patience"] = training.plateau.patience if training.plateau else None
    given = {key: patience for key, patience in waits.items() if patience is not None}
    number = evaluations_in(stream, training, max(given.values(), default=0) + 2)
    why = "it has no effect, for it waits for {} evaluations after the first, and the run has {}, the last at its end"
    return [f"{key}: {why.format(patience, number)}" for key, patience in given.items() if patience + 2 > number]


def _kept(recipe: Recipe, assembly: Assembly) -> list[str]:
    """Patience that takes no task out of the mixture, for the data set stays for others; votes are counted task by task."""
    if recipe.training.stop == "votes":
        return []
    told = []
    for name, data in assembly.train.items():
        bare = [t for t in data.tasks if recipe.tasks[t].patience is None]
        if bare:
            why = f"it has no effect, since the data set {name!r} stays for {listed(bare)}, without patience"
            told += [f"tasks.{t}.patience: {why}" for t in data.tasks if t not in bare]
    return told


def _adrift(recipe: Recipe, stream: Stream) -> list[str]:
    """Parts of the run in which the anchor is dropped anew at nearly every step, or never."""
    if recipe.training.anchor is None:
        return []
    if len(stream.names) == 1:
        return ["training.anchor: it has no effect, since one data set has none before it"]
    mixture = recipe.mixture
    parts: dict[str, SamplingSpec] = {"mixture": mixture}
    if mixture.sampling == "phases":
        parts = {f"mixture.phases.{i}": phase for i, phase in enumerate(mixture.phases) if len(phase.datasets) != 1}
    mixed = [place for place, part in parts.items() if part.sampling != "sequential"]
    why = "since data sets come there by turns, and not one after the other"
    return [f"training.anchor: it has hardly any effect in `{place}`, {why}" for place in mixed]


def _untested(assembly: Assembly) -> list[str]:
    """Tasks whose test rows could only be answered, for none has a label."""
    bare = [t for data in assembly.test.values() for t in data.tasks if not data.items(t).any()]
    return [f"{t}: no test row has a label in column {shown(assembly.labels[t]['column'])}, so none is scored" for t in bare]


def _without_dev(recipe: Recipe, assembly: Assembly) -> list[str]:
    """Tasks that no dev row has a label for."""
    judged = {t for data in assembly.dev.values() for t in data.tasks if data.items(t).any()}
    return [task for task in recipe.tasks if task not in judged]


def _scoreless(assembly: Assembly, stream: Stream) -> list[str]:
    """Data sets of the mixture that have no labelled dev rows."""
    judged = {name for name, data in assembly.dev.items() if any(data.items(t).any() for t in data.tasks)}
    return [name for name in stream.names if name not in judged]


def _unlearned(recipe: Recipe, assembly: Assembly, stream: Stream) -> list[Problem]:
    """A bandit that no data set gives scores."""
    if recipe.mixture.sampling != "bandit" or len(_scoreless(assembly, stream)) < len(stream.names):
        return []
    rule = "`bandit` learns from scores on dev rows, and no data set has labelled ones"
    return [Problem(rule, "mixture.sampling", "bandit", remedy="give them `dev` files or `split: {dev: 0.1}`")]


def _ungapped(recipe: Recipe, assembly: Assembly, stream: Stream) -> list[str]:
    """Data sets of which a bandit learns nothing."""
    without = _scoreless(assembly, stream) if recipe.mixture.sampling == "bandit" else []
    return [f"{name}: no labelled dev rows, so `bandit` never sees it fall back and gives it a low share" for name in without]


def _undecided(recipe: Recipe, assembly: Assembly) -> list[Problem]:
    """Criteria that nothing judges: tasks without dev rows, scores that a task does not report."""
    problems, without = [], _without_dev(recipe, assembly)
    for path, found in criteria(recipe.training.select):
        if found.own:
            problems += _unselected(found, assembly, without)
        elif found.task in without:
            rule = "the task that chooses the best step has no labelled dev rows"
            remedy = "give it `dev` files or `split: {dev: 0.1}`, or select by another task"
            problems.append(Problem(rule, dotted(path), found.key, remedy=remedy))
        elif found.task and found.metric:
            plan = assembly.blueprint.tasks[found.task]
            known = list(dict.fromkeys((plan.metric, *plan.metrics, LOSS)))
            if found.metric not in known and found.metric.partition("/")[0] not in known:  # a metric may have several values
                rule = f"task {found.task!r} reports no such score; there are {listed(known)}"
                remedy = f"name it under `tasks.{found.task}.metrics` too" if found.metric in METRICS else ""
                problems.append(Problem(rule, dotted(path), found.metric, nearest(found.metric, known), remedy))
    return problems


class _Rehearsed(dict[str, float]):
    """Scores by task/metric, all one half; `several` are the tasks with metrics of a plug-in, which may have any values."""

    def __init__(self, known: Collection[str], several: Collection[str]) -> None:
        super().__init__(dict.fromkeys(known, _HALF))
        self.several = several

    def __missing__(self, key: str) -> float:
        if key.partition("/")[0] in self.several:
            return _HALF
        raise KeyError(key)


def _unselected(found: Criterion, assembly: Assembly, without: Collection[str]) -> list[Problem]:
    """A plug-in's selection that wants a score which no task reports, seen by asking it about scores that are all one half."""
    plans = {name: plan for name, plan in assembly.blueprint.tasks.items() if name not in without}
    known = [f"{name}/{metric}" for name, plan in plans.items() for metric in (*_metrics(plan), LOSS)]
    try:
        own_value(found, _Rehearsed(known, [name for name, plan in plans.items() if any(map(_is_own, _metrics(plan)))]))
    except RecipeError as error:
        return [problem for problem in error.problems if isinstance(error.__cause__, KeyError | TypeError)]
    return []


def _metrics(plan: TaskPlan) -> tuple[str, ...]:
    return (plan.metric, *plan.metrics)


def _is_own(metric: str) -> bool:
    return not home(METRICS[metric]).startswith("manyheads.")


def _unjudged(recipe: Recipe, assembly: Assembly) -> list[str]:
    """Tasks that have no say in which step is the best, and what they then have in vain."""
    without = _without_dev(recipe, assembly)
    idle = [f"tasks.{t}.patience" for t in without if recipe.tasks[t].patience is not None]
    table = recipe.training.cross_table
    if len(without) < len(recipe.tasks):
        told = [f"{task}: no labelled dev rows, so it has no say in which step is the best" for task in without]
        if table and without:
            lack = f"it has no scores with the best weights of {listed(without)}, for want of labelled dev rows"
            told.append(f"training.cross_table: {lack}")
        return [*told, *(f"{key}: it has no effect, since the task has no labelled dev rows" for key in idle)]
    idle += [f"training.{key}" for key in ("patience", "plateau") if getattr(recipe.training, key) is not None]
    idle += ["training.cross_table"] * table
    told = ["no task has labelled dev rows: nothing chooses the best step, and the last one is kept"]
    return [*told, *(f"{key}: it has no effect, since no task has labelled dev rows" for key in idle)]
