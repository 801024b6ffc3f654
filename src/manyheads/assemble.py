"""A recipe becomes data sets and a blueprint: labels give heads their widths, modules tell paths their ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan, make_type
from manyheads.config.check_mixture import settled
from manyheads.config.load import Loaded
from manyheads.config.recipe import Recipe
from manyheads.config.spec.modules import (
    AdapterModule,
    FeedForwardModule,
    LayerModule,
    LoadSpec,
    OwnModule,
    PoolModule,
    PretrainedModule,
    ScalarMixModule,
)
from manyheads.config.spec.tasks import (
    PER_LABEL,
    BinaryTask,
    ClassificationTask,
    MultilabelTask,
    MultipleChoiceTask,
    OwnTask,
    QuestionAnsweringTask,
    RegressionTask,
    TaggingTask,
    TaskBase,
)
from manyheads.data.cache import Cache
from manyheads.data.dataset import TextDataset
from manyheads.data.inner_targets import NO_ANSWER
from manyheads.data.read import BadRow
from manyheads.data.stream import Stream
from manyheads.data.targets import ClassTarget
from manyheads.encoders import find_encoder
from manyheads.errors import DataError, Problem, RecipeError, WiringError, listed, nearest
from manyheads.graph import Step
from manyheads.metrics import Accepted, unfit
from manyheads.model import Model, ports_of
from manyheads.nn.build import build_module
from manyheads.nn.lora import require_peft
from manyheads.nn.trunk import measure_encoder, resolve_lora
from manyheads.nn.weights import Saved, load_weights
from manyheads.ports import Port
from manyheads.prepare import Prepared, Source, encoded, hashes, origin, prepare, sources
from manyheads.task.base import TaskType
from manyheads.task.teaching import Teaching
from manyheads.teachers import Teacher, find_teachers
from manyheads.text.tokenize import Tokenizer


@dataclass(frozen=True, slots=True)
class Assembly:
    """A recipe, and all that a run needs beside it. RecipeErrors of its methods tell file, line and column.

    loaded             the recipe, and where its keys stand
    train, dev, test   data sets by name
    rows, cut, bad     by data set: rows by split; training rows longer than the encoder's limit; rows that were left out
    quarantine         data sets whose bad rows the run is to write down
    files              file to sha256
    origin             by data set and split: the files' own names and their sha256
    labels             task to how its labels are read
    teachers           saved models whose answers tasks learn; their hashes are among `files`
    """

    loaded: Loaded
    blueprint: Blueprint
    train: Mapping[str, TextDataset]
    dev: Mapping[str, TextDataset]
    test: Mapping[str, TextDataset]
    rows: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, int]
    bad: Mapping[str, tuple[BadRow, ...]]
    quarantine: tuple[str, ...]
    files: Mapping[str, str]
    origin: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, Any]
    label_hashes: Mapping[str, str]
    teachers: tuple[Teacher, ...] = ()

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe

    @property
    def base(self) -> Path:
        """The folder that the recipe's file names start from."""
        return self.loaded.path.parent if self.loaded.path else Path()

    def build(self) -> Model:
        """The model before its first step: weights fresh from the seed or as they were saved; what is frozen has no gradient.

        Raises the errors of `manyheads.nn.weights.load_weights`.
        """
        with self.loaded.placed():
            model = self.blueprint.build(self.recipe.seed)
            for name, spec in self.recipe.modules.items():
                if name not in model.pool:
                    continue
                if spec.load is not None:
                    load = spec.load if isinstance(spec.load, LoadSpec) else LoadSpec.model_validate({"from": spec.load})
                    load_weights(model.pool[name], Saved(self.base / load.from_, load.module or name, f"modules.{name}.load"))
                if spec.freeze:
                    model.pool[name].requires_grad_(False)
            return model

    def stream(self) -> Stream:
        """The rounds of a run, each data set in batches of its own or in those of `training.batch`."""
        batches = {source.name: source.spec.batch or self.recipe.training.batch for source in sources(self.recipe)}
        lengths = {name: data.lengths for name, data in self.train.items()}
        with self.loaded.placed():
            return Stream(lengths, settled(self.recipe.mixture, self.recipe.training), batches, self.recipe.seed)


def assemble(loaded: Loaded, cache: Cache | None = None) -> Assembly:
    """Read the data and resolve the model; encoded rows are kept in `cache` where one is given.

    Files are relative to the recipe. Raises RecipeError, WiringError, DataError.
    """
    recipe, base = loaded.recipe, loaded.path.parent if loaded.path else Path()
    with loaded.placed():
        pool = _Pool(recipe, base)
        pool.require_packages()
        found = _prepare(recipe, base)
        blueprint = _blueprint(recipe, pool, found)
        teachers = find_teachers(recipe, found, blueprint.tasks, base, cache)
        by_name = {p.source.name: _encode(p, pool, cache) for p in found}
    files = {file: digest for p in found for part in p.read.values() for file, digest in hashes(p.source.name, part.files)}
    return Assembly(
        loaded=loaded,
        blueprint=blueprint,
        train=_split(by_name, "train"),
        dev=_split(by_name, "dev"),
        test=_split(by_name, "test"),
        rows={name: {split: len(data) for split, data in splits.items()} for name, splits in by_name.items()},
        cut={name: splits["train"].truncated for name, splits in by_name.items()},
        bad={p.source.name: p.bad for p in found},
        quarantine=tuple(p.source.name for p in found if p.source.spec.bad_rows == "quarantine" and p.bad),
        files={**files, **{f"the teacher {teacher.told}": teacher.sha256 for teacher in teachers}},
        origin={p.source.name: origin(p.source.name, p.read) for p in found},
        labels={task: target.to_json() for p in found for task, target in p.targets.items()},
        label_hashes={task: target.fingerprint for p in found for task, target in p.targets.items()},
        teachers=teachers,
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


def _encode(prepared: Prepared, pool: _Pool, cache: Cache | None) -> dict[str, TextDataset]:
    trunk = pool.trunk(prepared.source)
    plan = pool.plans[trunk]
    tokenizer = Tokenizer.load(pool.plans[plan.options.get("of", trunk)].options["source"])
    return {str(split): data for split, data in encoded(prepared, tokenizer, plan.options["max_length"], cache).items()}


def _blueprint(recipe: Recipe, pool: _Pool, found: Sequence[Prepared]) -> Blueprint:
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
    return Blueprint({name: plan for name, plan in pool.plans.items() if name in used}, ordered)


def _task(name: str, task: TaskBase, prepared: Prepared, pool: _Pool) -> TaskPlan:
    """The task with its head at the end of its path, a pool before it where the head reads vectors."""
    options = _options(task, prepared, name)
    kind = task.type  # type: ignore[attr-defined]  # every task of a recipe has one
    steps = [Step(s) if isinstance(s, str) else Step(s.module, tuple(s.inputs), s.name or "") for s in task.path]
    port = pool.follow(name, steps)
    made = make_type(name, kind, options)
    if wrong := [*_unknown_labels(name, task, made), *_unfit_metrics(name, task, made)]:
        raise RecipeError(*wrong)
    if port.kind == "states" and made.wants == "vector":
        steps.append(Step(_pool(name, task, port, pool)))
        port = Port("vector", port.width)
    if port.kind != "scores":
        steps.append(Step(_head(name, task, made, port, pool)))
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
    )


def _teaching(task: TaskBase) -> Teaching | None:
    if task.teacher is None:
        return None
    loss = task.teacher.loss or ("mse" if isinstance(task, RegressionTask) else "kl")
    usual = 1.0 if loss == "mse" else 2.0
    return Teaching(task.teacher.weight, task.teacher.temperature or usual, loss)


def _unfit_metrics(name: str, task: TaskBase, made: TaskType) -> list[Problem]:
    """Unknown metrics and those that the task cannot have, found before training; a plug-in's items are seen later."""
    numbers, answers = isinstance(task, RegressionTask), isinstance(task, QuestionAnsweringTask)
    sample = ([0.0], [0.0]) if numbers else ([Accepted(())], [""]) if answers else ()
    return unfit(name, task.metric or made.metric, task.metrics, made.labels, made.scheme, sample)


def _unknown_labels(name: str, task: TaskBase, made: TaskType) -> list[Problem]:
    """Weights and thresholds of labels that are not there, where the labels come from the rows."""
    given = {key: values for key in PER_LABEL if isinstance(values := getattr(task, key, None), dict)}
    rule = f"no label is called this; there are {listed(made.labels)}"
    unknown = [(key, label) for key, values in given.items() for label in values if label not in made.labels]
    return [Problem(rule, f"tasks.{name}.{key}.{label}", label, nearest(label, made.labels)) for key, label in unknown]


def _pool(name: str, task: TaskBase, port: Port, pool: _Pool) -> str:
    """The pool before the head: one for all tasks that pool alike, but the task's own where it has weights."""
    plan = _pool_plan(task.pool, port.width)
    return pool.add(f"{name if plan.type == 'attention_pool' else task.pool}_pool", plan)


def _pool_plan(how: str, width: int | None) -> ModulePlan:
    return ModulePlan("attention_pool", {"width": width}) if how == "attention" else ModulePlan("pool", {"how": how})


def _head(name: str, task: TaskBase, made: TaskType, port: Port, pool: _Pool) -> str:
    if port.kind != made.wants or port.width is None:
        rule = f"the head of a {task.type} task reads {made.wants}, but the path gives {port}"  # type: ignore[attr-defined]
        raise WiringError(Problem(rule, f"tasks.{name}.path", remedy="a module's `ports` say what it takes and gives"))
    kind = "row_head" if made.wants == "vector" else "crf_head" if getattr(task, "decoder", "") == "crf" else "word_head"
    kind = "span_head" if isinstance(task, QuestionAnsweringTask) else kind
    options = {"width": port.width, "classes": made.outputs, "dropout": task.dropout}
    return pool.add(f"{name}_head", ModulePlan(kind, options))


def _options(task: TaskBase, prepared: Prepared, name: str) -> dict[str, Any]:
    """Keyword arguments of the task's type, labels included."""
    labels = getattr(prepared.targets[name], "labels", None)
    names = list(labels.names) if labels else []
    match task:
        case ClassificationTask():
            weights = _class_weights(task, prepared, name, names)
            return {"labels": names, "class_weights": weights, "label_smoothing": task.label_smoothing, "focal": task.focal}
        case BinaryTask():
            weights = _class_weights(task, prepared, name, names)
            return {"labels": names, "threshold": task.threshold, "class_weights": weights, "focal": task.focal}
        case MultilabelTask():
            return {"labels": names, "threshold": task.threshold, "top": task.top, "focal": task.focal}
        case RegressionTask():
            return {"low": task.low, "high": task.high}
        case TaggingTask():
            return {"labels": names, "scheme": task.scheme, "focal": task.focal}
        case MultipleChoiceTask():
            return {}
        case QuestionAnsweringTask():
            none = task.no_answer
            if none is None:
                none = any(prepared.targets[name].target(row) == NO_ANSWER for row in prepared.rows["train"])
            return {"no_answer": none, "threshold": task.threshold, "longest": task.longest}
        case OwnTask():
            return {**task.options, **({"labels": names} if names else {})}
    raise TypeError(f"no such task: {type(task).__name__}")


def _class_weights(
    task: ClassificationTask | BinaryTask, prepared: Prepared, name: str, labels: list[str]
) -> list[float] | None:
    """A weight a label; `balanced` makes each label's rows count the same, with 1 on average over the rows.

    Where rows have weights of their own, a row of weight w is w rows here too; of a soft label each label has its share.
    """
    if task.class_weights is None:
        return None
    if task.class_weights == "balanced":
        target = cast(ClassTarget, prepared.targets[name])
        rows = prepared.rows["train"]
        weights = prepared.weights[name].tolist() if name in prepared.weights else [1] * len(rows)
        counts = [0.0] * len(labels)
        for row, weight in zip(rows, weights, strict=True):
            for i, share in enumerate(target.shares(row) or ()):
                counts[i] += weight * share
        return [sum(counts) / (len(labels) * (count or 1)) for count in counts]
    return [task.class_weights.get(label, 1.0) for label in labels]


class _Pool:
    """Modules of the recipe, planned as paths reach them, since some take their width from what comes before."""

    def __init__(self, recipe: Recipe, base: Path) -> None:
        self.recipe, self.base = recipe, base
        self.plans: dict[str, ModulePlan] = {}
        self.gives: dict[str, Port] = {}
        self.layers: dict[str, int] = {}  # of each pretrained module, embeddings counted

    def require_packages(self) -> None:
        """MissingExtraError for the first module that needs a package which is not installed."""
        for name, spec in self.recipe.modules.items():
            if isinstance(spec, AdapterModule) or (isinstance(spec, PretrainedModule) and spec.lora is not None):
                require_peft(f"modules.{name}.{'type' if isinstance(spec, AdapterModule) else 'lora'}")

    def add(self, name: str, plan: ModulePlan) -> str:
        """A module that assembling brings; the same one may be added again."""
        if name in self.recipe.modules or self.plans.setdefault(name, plan) != plan:
            other = "by the recipe" if name in self.recipe.modules else "for a " + self.plans[name].type
            rule = f"the module name {name!r} is wanted twice: {other} and for {plan.type} {dict(plan.options)}"
            raise WiringError(Problem(rule, f"modules.{name}", name, remedy="give the recipe's module another name"))
        return name

    def trunk(self, source: Source) -> str:
        """The module that reads a data set: the first step of all its tasks, one encoder with or without adapters."""
        first = {s if isinstance(s, str) else s.module for task in source.tasks.values() for s in task.path[:1]}
        specs = {name: self.recipe.modules[name] for name in first}
        encoders = {spec.of if isinstance(spec, AdapterModule) else name for name, spec in specs.items()}
        if len(encoders) == 1 and all(isinstance(spec, PretrainedModule | AdapterModule) for spec in specs.values()):
            return next(iter(sorted(first)))
        rule = (
            f"the tasks of data set {source.name!r} must begin with one pretrained module, found {sorted(first) or 'no path'}"
        )
        raise WiringError(Problem(rule, f"tasks.{next(iter(source.tasks))}.path"))

    def follow(self, task: str, steps: Sequence[Step]) -> Port:
        """Plan every module on a path; what the last one gives."""
        last = begin = ("", Port("tokens"))  # a module and what it gives
        results: dict[str, tuple[str, Port]] = {}
        for step in steps:
            source, before = results.get(step.inputs[0], begin) if step.inputs else last
            last = results[step.result] = (step.module, self._plan(step.module, source, before, task))
        return last[1]

    def _plan(self, name: str, source: str, before: Port, task: str) -> Port:
        spec = self.recipe.modules[name]
        if name in self.gives and not isinstance(spec, PoolModule | LayerModule | ScalarMixModule):
            return self.gives[name]
        match spec:
            case PretrainedModule():
                self._plan_encoder(name, spec)
            case AdapterModule():
                self._plan(spec.of, source, before, task)
                base = self.plans[spec.of].options
                self.plans[spec.of] = ModulePlan("pretrained", {**base, "freeze": True})
                options = {"of": spec.of, "max_length": base["max_length"], "freeze": spec.freeze}
                options["lora"] = resolve_lora(base["source"], spec.settings(), f"modules.{name}")
                self._put(name, ModulePlan("adapter", options), self.gives[spec.of])
                self.layers[name] = self.layers[spec.of]
            case PoolModule():
                if spec.how == "attention" and before.width is None:
                    rule = f"module {name!r} reads states of a known width, but its input gives {before}"
                    raise WiringError(Problem(rule, f"tasks.{task}.path"))
                self._put(name, _pool_plan(spec.how, before.width), Port("vector", before.width))
            case LayerModule():
                self._read_layers(source, {f"modules.{name}.index": spec.index})
                self._put(name, ModulePlan("layer", {"index": spec.index}), before)
            case ScalarMixModule():
                layers = list(range(self.layers[source])) if spec.layers is None else spec.layers
                self._read_layers(source, {f"modules.{name}.layers.{i}": layer for i, layer in enumerate(layers)})
                plan = ModulePlan("scalar_mix", {"layers": layers, "norm": spec.norm})
                if self.plans.get(name, plan) != plan:
                    rule = f"module {name!r} mixes all layers of encoders that have different numbers of them"
                    raise WiringError(Problem(rule, f"modules.{name}", remedy="give it `layers`, or each encoder its own"))
                self._put(name, plan, before)
            case FeedForwardModule():
                if before.kind not in ("states", "vector") or before.width is None:
                    rule = f"module {name!r} reads states or vectors, but its input gives {before}"
                    raise WiringError(Problem(rule, f"tasks.{task}.path"))
                options = {"kind": before.kind, "width_in": before.width, "width": spec.width}
                options |= {"activation": spec.activation, "dropout": spec.dropout}
                self._put(name, ModulePlan("feedforward", options), Port(before.kind, spec.width))
            case OwnModule():
                ports = ports_of(build_module(name, spec.type, spec.options, self.recipe.seed))
                gives = replace(ports.gives, width=before.width) if ports.same_width else ports.gives
                self._put(name, ModulePlan(spec.type, spec.options), gives)
        return self.gives[name]

    def _plan_encoder(self, name: str, spec: PretrainedModule) -> None:
        found = find_encoder(spec.name, self.base, spec.revision)
        size = measure_encoder(found)
        options: dict[str, Any] = {"source": str(found), "max_length": min(spec.max_length, size.longest)}
        options |= {"freeze": spec.freeze, "dropout": spec.dropout}
        if spec.lora is not None:
            options["lora"] = resolve_lora(found, spec.lora.settings(), f"modules.{name}.lora")
        self._put(name, ModulePlan("pretrained", options), Port("states", size.width))
        self.layers[name] = size.layers + 1

    def _read_layers(self, encoder: str, wanted: Mapping[str, int]) -> None:
        """Let an encoder give all its layers; `wanted` has the numbers of those that are read, each under its place.

        WiringError for numbers that no layer has, or that come twice.
        """
        plan, count = self.plans[encoder], self.layers[encoder]
        self.plans[encoder] = replace(plan, options={**plan.options, "layers": True})
        wrong: list[Problem] = []
        seen: set[int] = set()
        for place, layer in wanted.items():
            if not -count <= layer < count:
                rule = f"the layers of {encoder!r} are 0 (embeddings) to {count - 1}, or -{count} to -1 from above"
                wrong.append(Problem(rule, place, str(layer), str(min(max(layer, -count), count - 1))))
            elif layer % count in seen:
                wrong.append(Problem("the layer is named twice", place, str(layer)))
            else:
                seen.add(layer % count)
        if wrong:
            raise WiringError(*wrong)

    def _put(self, name: str, plan: ModulePlan, gives: Port) -> None:
        self.plans[name], self.gives[name] = plan, gives
