"""A recipe becomes data sets and a blueprint: labels give heads their widths, modules tell paths their ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan, make_type
from manyheads.class_weights import class_weights
from manyheads.config.check_mixture import settled
from manyheads.config.load import Loaded
from manyheads.config.recipe import Recipe
from manyheads.config.spec.module import LoadSpec
from manyheads.config.spec.tasks import (
    PER_LABEL,
    BinaryTask,
    ClassificationTask,
    LanguageModellingTask,
    MaskedLanguageModellingTask,
    MatchingTask,
    MultilabelTask,
    MultipleChoiceTask,
    OwnTask,
    QuestionAnsweringTask,
    RankingTask,
    RegressionTask,
    StepSpec,
    TaggingTask,
    TaskBase,
)
from manyheads.config.spec.words import ElmoModule
from manyheads.data.cache import Cache
from manyheads.data.dataset import TextDataset
from manyheads.data.inner_targets import NO_ANSWER
from manyheads.data.number_target import LikenessTarget
from manyheads.data.read import BadRow
from manyheads.data.stream import Stream
from manyheads.encoders import meant
from manyheads.errors import DataError, Problem, RecipeError, WiringError, listed, nearest
from manyheads.graph import Step
from manyheads.masked import behind, first_heads, mask_plan
from manyheads.metrics import Accepted, Counted, Relevances, unfit
from manyheads.model import Model
from manyheads.modules import Modules, language_head, pool_plan, require_packages
from manyheads.nn.elmo import Elmo
from manyheads.nn.elmo_files import load_elmo
from manyheads.nn.weights import Saved, load_weights
from manyheads.ports import ANY, Port
from manyheads.prepare import Prepared, encoded, hashes, origin, prepare, sources
from manyheads.task.base import TaskType
from manyheads.task.teaching import Perturbation, Teaching
from manyheads.teachers import Teacher, find_teachers
from manyheads.text.tokenize import Tokenizer
from manyheads.vocabularies import Vocabulary, VocabularyFacts, files_of, find_vocabularies, first_vectors


@dataclass(frozen=True, slots=True)
class Assembly:
    """A recipe, and all that a run needs beside it. RecipeErrors of its methods tell file, line and column.

    loaded             the recipe, and where its keys stand
    train, dev, test   data sets by name
    rows, cut, bad     by data set: rows by split; of these longer than the encoder's limit; rows that were left out
    blank              sentences about columns of the input in which rows have nothing but space
    quarantine         data sets whose bad rows the run is to write down
    files              file to sha256
    origin             by data set and split: the files' own names and their sha256
    labels             task to how its labels are read
    teachers           saved models whose answers tasks learn; their hashes are among `files`
    vocabularies       module that reads words to its vocabulary
    """

    loaded: Loaded
    blueprint: Blueprint
    train: Mapping[str, TextDataset]
    dev: Mapping[str, TextDataset]
    test: Mapping[str, TextDataset]
    rows: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, Mapping[str, int]]
    bad: Mapping[str, tuple[BadRow, ...]]
    blank: tuple[str, ...]
    quarantine: tuple[str, ...]
    files: Mapping[str, str]
    origin: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, Any]
    label_hashes: Mapping[str, str]
    teachers: tuple[Teacher, ...] = ()
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe

    @property
    def base(self) -> Path:
        """The folder that the recipe's file names start from."""
        return self.loaded.path.parent if self.loaded.path else Path()

    @property
    def words(self) -> tuple[VocabularyFacts, ...]:
        """What each vocabulary has of the words of its data sets."""
        return tuple({found.facts.modules: found.facts for found in self.vocabularies.values()}.values())

    @property
    def tokenizers(self) -> dict[str, Tokenizer]:
        """Module that reads words to what it reads by."""
        return {name: found.tokenizer for name, found in self.vocabularies.items()}

    def build(self) -> Model:
        """The model before its first step: weights fresh from the seed or as they were saved; what is frozen has no gradient.

        Raises the errors of `manyheads.nn.weights.load_weights`.
        """
        with self.loaded.placed():
            model = self.blueprint.build(self.recipe.seed)
            first_heads(model, self.blueprint)
            for name, spec in self.recipe.modules.items():
                if name not in model.pool:
                    continue
                first_vectors(model.pool[name], self.vocabularies.get(name), name)
                if isinstance(module := model.pool[name], Elmo) and isinstance(spec, ElmoModule):
                    load_elmo(module, self.base / spec.weights, f"modules.{name}.weights")
                if spec.load is not None:
                    load = spec.load if isinstance(spec.load, LoadSpec) else LoadSpec.model_validate({"from": spec.load})
                    there = meant(load.from_, self.base)
                    saved = Saved(self.base / load.from_, load.module or name, f"modules.{name}.load", there)
                    load_weights(model.pool[name], saved)
            return model

    def stream(self) -> Stream:
        """The rounds of a run, each data set in batches of its own or in those of `training.batch`."""
        batches = {source.name: source.spec.batch or self.recipe.training.batch for source in sources(self.recipe)}
        lengths = {name: data.lengths for name, data in self.train.items()}
        ordered = {name: data.in_order for name, data in self.train.items() if data.in_order}
        with self.loaded.placed():
            return Stream(lengths, settled(self.recipe.mixture, self.recipe.training), batches, self.recipe.seed, ordered)


def assemble(loaded: Loaded, cache: Cache | None = None) -> Assembly:
    """Read the data and resolve the model; encoded rows are kept in `cache` where one is given.

    Files are relative to the recipe. Raises RecipeError, WiringError, DataError.
    """
    recipe, base = loaded.recipe, loaded.path.parent if loaded.path else Path()
    with loaded.placed():
        require_packages(recipe)
        found = _prepare(recipe, base)
        vocabularies = find_vocabularies(recipe, found, base)
        pool = Modules(recipe, base, vocabularies)
        blueprint = _blueprint(recipe, pool, found)
        teachers = find_teachers(recipe, found, blueprint.tasks, base, cache)
        slots = accumulate((p.source.slots for p in found), initial=0)
        by_name = {p.source.name: _encode(p, pool, cache, slot) for p, slot in zip(found, slots, strict=False)}
    files = {file: digest for p in found for part in p.read.values() for file, digest in hashes(p.source.name, part.files)}
    return Assembly(
        loaded=loaded,
        blueprint=blueprint,
        train=_split(by_name, "train"),
        dev=_split(by_name, "dev"),
        test=_split(by_name, "test"),
        rows={name: {split: len(data) for split, data in splits.items()} for name, splits in by_name.items()},
        cut={name: {split: data.truncated for split, data in splits.items()} for name, splits in by_name.items()},
        bad={p.source.name: p.bad for p in found},
        blank=tuple(text for p in found for text in p.blank),
        quarantine=tuple(p.source.name for p in found if p.source.spec.bad_rows == "quarantine" and p.bad),
        files={**files, **files_of(recipe, base), **{f"the teacher {teacher.told}": teacher.sha256 for teacher in teachers}},
        origin={p.source.name: origin(p.source.name, p.read) for p in found},
        labels={task: target.to_json() for p in found for task, target in p.targets.items()},
        label_hashes={task: target.fingerprint for p in found for task, target in p.targets.items()},
        teachers=teachers,
        vocabularies=vocabularies,
    )


def _prepare(recipe: Recipe, base: Path) -> list[Prepared]:
    """All data sets; DataError with the problems of all of them."""
    found: list[Prepared] = []
    problems: list[Problem] = []
    for source in sources(recipe):
        try:
            found.append(prepare(source, base, recipe.seed))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(*problems)
    return found


def _split(by_name: Mapping[str, Mapping[str, TextDataset]], split: str) -> dict[str, TextDataset]:
    return {name: splits[split] for name, splits in by_name.items() if split in splits}


def _encode(prepared: Prepared, pool: Modules, cache: Cache | None, slot: int) -> dict[str, TextDataset]:
    reader = pool.reader(prepared.source)
    plan = pool.plans[reader]
    tokenizer = pool.tokenizer(prepared.source)
    tokenizer = tokenizer.bounded() if prepared.source.bounded else tokenizer
    return {str(split): data for split, data in encoded(prepared, tokenizer, plan.options["max_length"], cache, slot).items()}


def _blueprint(recipe: Recipe, pool: Modules, found: Sequence[Prepared]) -> Blueprint:
    """All tasks; RecipeError with the problems of all of them."""
    tasks: dict[str, TaskPlan] = {}
    errors: list[RecipeError] = []
    for prepared in found:
        for name, task in prepared.source.tasks.items():
            try:
                tasks[name] = _task(name, task, prepared, pool)
            except RecipeError as error:
                errors.append(error)
    if errors:
        kind = WiringError if all(isinstance(error, WiringError) for error in errors) else RecipeError
        found_so_far = dict.fromkeys(
            problem for error in errors for problem in error.problems
        )  # a module's come with each task
        raise kind(*found_so_far) from errors[0]
    ordered = {name: tasks[name] for name in recipe.tasks}
    used = {step.module for plan in ordered.values() for step in plan.path}
    used |= {plan.options["of"] for name, plan in pool.plans.items() if name in used and plan.type == "adapter"}
    still = {name for name, spec in recipe.modules.items() if spec.freeze}
    return Blueprint({name: replace(plan, freeze=name in still) for name, plan in pool.plans.items() if name in used}, ordered)


def _task(name: str, task: TaskBase, prepared: Prepared, pool: Modules) -> TaskPlan:
    """The task with its head at the end of its path, a pool before it where the head reads vectors."""
    kind = task.type  # type: ignore[attr-defined]  # every task of a recipe has one
    steps, end = _steps(task)
    port = pool.follow(name, steps, end)
    options = _options(task, prepared, name, pool)
    if wrong := _unknown_labels(name, task, options.get("labels") or ()):
        raise RecipeError(*wrong)  # before the type is made, which does not know where its options stand
    made = make_type(name, kind, options)
    if wrong := _unfit_metrics(name, task, made):
        raise RecipeError(*wrong)
    if port.kind == "states" and made.wants == "vector":
        steps.append(Step(_pool(name, task, port, pool), end))
        port, end = Port("vector", port.width), ()
    if isinstance(task, MaskedLanguageModellingTask):
        head, reader = _head(name, task, made, port, pool), pool.tokenizer(prepared.source)
        steps = behind(pool.add(f"{name}_mask", mask_plan(name, task, reader, steps[0].module)), steps, Step(head, end))
    elif made.outputs == 0:
        _require_end(name, kind, made, ANY if end else port)
    elif port.kind != "scores":
        steps.append(Step(_head(name, task, made, port, pool), end))
    if prepared.source.slots:
        pool.require_carrying(name, steps[:-1])
    return TaskPlan(
        type=kind,
        path=tuple(steps),
        options=options,
        reads=prepared.source.reads,
        stride=prepared.source.inputs.stride,
        weight=task.weight,
        metric=task.metric or made.metric,
        metrics=tuple(task.metrics),
        patience=task.patience,
        teaching=_teaching(task),
        consistency=task.consistency,
        perturbation=Perturbation(**dict(task.perturbation)) if task.perturbation else None,
        bounded=prepared.source.bounded,
    )


def _steps(task: TaskBase) -> tuple[list[Step], tuple[str, ...]]:
    """The steps of a task as its recipe has them, and the inputs of one more: the step before, or one of its results."""
    steps: list[Step] = []
    taken: tuple[str, ...] = ()
    for given in task.path:
        spec = StepSpec(module=given) if isinstance(given, str) else given
        steps.append(Step(spec.module, tuple(spec.inputs) or taken, spec.name or ""))
        taken = (f"{steps[-1].result}.{spec.take}",) if spec.take else ()
    return steps, taken


def _teaching(task: TaskBase) -> Teaching | None:
    if task.teacher is None:
        return None
    loss = task.teacher.loss or ("mse" if isinstance(task, RegressionTask | MatchingTask) else "kl")
    usual = 1.0 if loss == "mse" else 2.0
    return Teaching(task.teacher.weight, task.teacher.temperature or usual, loss)


def _unfit_metrics(name: str, task: TaskBase, made: TaskType) -> list[Problem]:
    """Unknown metrics and those that the task cannot have, found before training; a plug-in's items are seen later."""
    sample: tuple[Any, ...] = ()
    one, shares = list(made.labels[:1]), [0.0] * len(made.labels)
    match task:
        case ClassificationTask() | BinaryTask():
            sample = (one, one, [shares])
        case MultilabelTask():
            sample = ([tuple(one)], [tuple(one)], [shares])
        case TaggingTask():
            sample = ([one], [one])
        case RegressionTask() | MatchingTask():
            sample = ([0.0], [0.0])
        case RankingTask():
            sample = ([Relevances((0.0, 1.0))], [(0.0, 0.0)])
        case QuestionAnsweringTask():
            sample = ([Accepted(())], [""])
        case LanguageModellingTask() | MaskedLanguageModellingTask():
            sample = ([Counted(1)], [0.0])
    if sample and task.data.group is not None:
        sample = (*sample[:2], sample[2] if len(sample) > 2 else None, ["a group"])
    return unfit(name, task.metric or made.metric, task.metrics, made.labels, made.scheme, sample)


def _unknown_labels(name: str, task: TaskBase, labels: Sequence[str]) -> list[Problem]:
    """Weights and thresholds of labels that are not there, where the labels come from the rows."""
    given = {key: values for key in PER_LABEL if isinstance(values := getattr(task, key, None), dict)}
    rule = f"no label is called this; there are {listed(labels)}"
    unknown = [(key, label) for key, values in given.items() for label in values if label not in labels]
    return [Problem(rule, f"tasks.{name}.{key}.{label}", label, nearest(label, labels)) for key, label in unknown]


def _pool(name: str, task: TaskBase, port: Port, pool: Modules) -> str:
    """The pool before the head: one for all tasks that pool alike, but the task's own where it has weights."""
    plan = pool_plan(task.pool, port.width)
    return pool.add(f"{name if plan.type == 'attention_pool' else task.pool}_pool", plan)


def _require_end(name: str, kind: str, made: TaskType, port: Port) -> None:
    """WiringError where a task without a head does not find what it wants at the end of its path."""
    if port.kind != made.wants:
        found = "one of several results" if port is ANY else port
        raise WiringError(
            Problem(f"the path of a {kind} task ends in a {made.wants}, and this one in {found}", f"tasks.{name}.path")
        )


def _head(name: str, task: TaskBase, made: TaskType, port: Port, pool: Modules) -> str:
    if port.kind != made.wants or port.width is None:
        rule = f"the head of a {task.type} task reads {made.wants}, but the path gives {port}"  # type: ignore[attr-defined]
        raise WiringError(Problem(rule, f"tasks.{name}.path", remedy="a module's `ports` say what it takes and gives"))
    if isinstance(task, LanguageModellingTask):
        return pool.add(f"{name}_head", language_head(name, task, port, made.outputs))
    if isinstance(task, MaskedLanguageModellingTask):
        options = {"width": port.width, "of": _steps(task)[0][0].module, "dropout": task.dropout}
        return pool.add(f"{name}_head", ModulePlan("masked_head", options))
    kind = "row_head" if made.wants == "vector" else "crf_head" if getattr(task, "decoder", "") == "crf" else "word_head"
    kind = "span_head" if isinstance(task, QuestionAnsweringTask) else kind
    options = {"width": port.width, "classes": made.outputs, "dropout": task.dropout}
    return pool.add(f"{name}_head", ModulePlan(kind, options))


def _options(task: TaskBase, prepared: Prepared, name: str, pool: Modules) -> dict[str, Any]:
    """Keyword arguments of the task's type, labels included."""
    labels = getattr(prepared.targets[name], "labels", None)
    names = list(labels.names) if labels else []
    loss: dict[str, Any] = {}
    if isinstance(task, ClassificationTask | BinaryTask | MultilabelTask | TaggingTask):
        weights = class_weights(task, prepared, name, names)
        loss = {"class_weights": weights, "label_smoothing": task.label_smoothing, "focal": task.focal}
    match task:
        case ClassificationTask():
            return {"labels": names, **loss}
        case BinaryTask():
            return {"labels": names, "threshold": task.threshold, **loss}
        case MultilabelTask():
            return {"labels": names, "threshold": task.threshold, "top": task.top, **loss}
        case RegressionTask():
            return {"low": task.low, "high": task.high, "loss": task.loss}
        case TaggingTask():
            return {"labels": names, "scheme": task.scheme, **loss}
        case MultipleChoiceTask():
            return {}
        case RankingTask():
            return {"loss": task.loss}
        case MatchingTask():
            positive = cast(LikenessTarget, prepared.targets[name]).cosine(
                task.high if task.positive is None else task.positive
            )
            return {"loss": task.loss, "scale": task.scale, "positive": positive}
        case QuestionAnsweringTask():
            none = task.no_answer
            if none is None:
                none = any(prepared.targets[name].target(row) == NO_ANSWER for row in prepared.rows["train"])
            return {"no_answer": none, "threshold": task.threshold, "longest": task.longest}
        case LanguageModellingTask():
            return {"words": pool.words(name, prepared.source), "direction": task.direction}
        case MaskedLanguageModellingTask():
            return {"words": len(pool.tokenizer(prepared.source))}
        case OwnTask():
            return {**task.options, **({"labels": names} if names else {})}
    raise TypeError(f"no such task: {type(task).__name__}")
