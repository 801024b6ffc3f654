"""Rules between the parts of a recipe that no single field can check: names that must exist, keys that exclude each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import get_args

from manyheads.config.check_adapters import check_adapters, under_adapters
from manyheads.config.check_idle import idle_keys
from manyheads.config.check_language import check_language, check_streams
from manyheads.config.check_lengths import check_lengths
from manyheads.config.check_mixture import check_learning, check_mixture, settled
from manyheads.config.check_rates import check_rates, idle
from manyheads.config.check_sharing import check_sharing, idle_sharing
from manyheads.config.check_words import check_words
from manyheads.config.criterion import check_select
from manyheads.config.node import Finding, KeyPath, Node, absent, dotted
from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import BESIDE_FROM, DataSpec
from manyheads.config.spec.modules import LayerModule, OverEncoder, PretrainedModule, ScalarMixModule
from manyheads.config.spec.tasks import (
    PER_LABEL,
    BinaryTask,
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
from manyheads.errors import listed, nearest

_BATCH = "batch"
_FIELDS = ("text",)  # the fields of a batch of text
_LAYERED = PretrainedModule | OverEncoder | ElmoModule  # modules whose layers can be read one by one


def check(recipe: Recipe, root: Node, plugins: Mapping[str, Collection[str]]) -> list[Finding]:
    """All rules that the recipe breaks. `root` gives the names that exist, those of entries with mistakes included.

    `plugins` as in `config.load.load_recipe`.
    """
    formats = [*_formats(), *sorted(plugins.get("reader", ()))]
    findings = [*_training(recipe, root), *check_rates(recipe)]
    findings += check_mixture(settled(recipe.mixture, recipe.training), _datasets(root))
    findings += check_learning(recipe.mixture, recipe.training)
    findings += check_select(recipe, _names(root, "tasks"))
    findings += check_adapters(recipe, _names(root, "modules"))
    findings += check_sharing(recipe)
    findings += check_words(recipe)
    for name, spec in recipe.data.items():
        findings.extend(_data(("data", name), spec, formats))
    for name, task in recipe.tasks.items():
        findings.extend(_path(name, task, root))
        findings.extend(_layers(name, task, recipe))
        findings.extend(_task_data(name, task, root, formats))
        findings.extend(check_lengths(task, recipe, _home(name, task, recipe)))
        findings.extend(_parts(name, task, recipe))
        findings.extend(_labels(name, task))
        findings.extend(_likeness(name, task))
        findings.extend(_answers(name, task))
        findings.extend(_metrics(name, task, plugins.get("metric")))
        findings.extend(check_language(name, task, recipe, _home(name, task, recipe)))
    findings.extend(check_streams(recipe))
    findings.extend(_weights(recipe, root))
    return findings


def warnings_of(recipe: Recipe, root: Node) -> list[str]:
    """What stands in the recipe and has no effect."""
    modules = {_module(step) for task in recipe.tasks.values() for step in task.path} | set(under_adapters(recipe))
    named = {task.data.from_ for task in recipe.tasks.values()}
    unused = [("modules", n, "no task's path uses the module") for n in recipe.modules if n not in modules]
    unused += [("data", n, "no task learns from the data set") for n in recipe.data if n not in named]
    findings = [Finding((section, name), rule, name, at="key") for section, name, rule in unused]
    return [str(f.problem(root)) for f in (*findings, *idle(recipe), *idle_sharing(recipe), *idle_keys(recipe, root))]


def _names(root: Node, section: str) -> list[str]:
    node = root.child(section)
    return list(node.value) if node is not None and isinstance(node.value, dict) else []


def _datasets(root: Node) -> list[str]:
    """The data sets that batches come from, by the names that were meant: a task's own has the task's name."""
    found, shared = list[str](), _names(root, "data")
    for task in _names(root, "tasks"):
        lent = root.find(("tasks", task, "data", "from"))
        meant = nearest(lent.value, shared) if lent is not None and isinstance(lent.value, str) else task
        found.append(meant or task)
    return list(dict.fromkeys(found))


# paths --------------------------------------------------------------------------------------------------------------


def _module(step: str | StepSpec) -> str:
    return step if isinstance(step, str) else step.module


def _path(task_name: str, task: TaskBase, root: Node) -> Iterator[Finding]:
    modules = _names(root, "modules")
    results: list[str] = []
    for i, step in enumerate(task.path):
        path: KeyPath = ("tasks", task_name, "path", i)
        spelled = isinstance(step, StepSpec)
        if _module(step) not in modules:
            yield absent((*path, "module") if spelled else path, "no module has this name", _module(step), modules)
        if isinstance(step, StepSpec):
            yield from _inputs(path, step, results, isinstance(task, OwnTask))
            if step.name in modules and step.name not in (step.module, *results):
                yield Finding((*path, "name"), "a step cannot have the name of another module", step.name)
        result = step.name or step.module if isinstance(step, StepSpec) else step
        if result not in modules and result == _module(step):
            result = nearest(result, modules) or result  # what was meant, for the steps that take it as input
        if result in results:
            remedy = "write the step out and give it a `name`: {module: …, name: …}"
            yield Finding(path, "two steps of one path have the same name", result, remedy=remedy)
        results.append(result)


def _inputs(path: KeyPath, step: StepSpec, earlier: list[str], own: bool) -> Iterator[Finding]:
    """`earlier.attribute` and `batch.field.attribute` are inputs too; the fields of a plug-in's data are its own matter."""
    for i, name in enumerate(step.inputs):
        head, _, rest = name.partition(".")
        field = rest.partition(".")[0]
        if head == _BATCH and (own or field in _FIELDS):
            continue
        if head not in earlier:
            known = [*earlier, *(f"{_BATCH}.{f}" for f in _FIELDS)]
            yield absent((*path, "inputs", i), "no earlier step and no field of the batch has this name", name, known)


def _layers(name: str, task: TaskBase, recipe: Recipe) -> Iterator[Finding]:
    """A step that reads the layers of an encoder comes after one, or names one. What is not there at all is told elsewhere."""
    earlier: dict[str, str] = {}  # result to module
    for i, step in enumerate(task.path):
        inputs, result = (step.inputs, step.name or step.module) if isinstance(step, StepSpec) else ([], step)
        if isinstance(recipe.modules.get(_module(step)), LayerModule | ScalarMixModule):
            encoders = [r for r, m in earlier.items() if isinstance(recipe.modules.get(m), _LAYERED)]
            source = inputs[0] if inputs else next(reversed(earlier), _BATCH)
            head = source.partition(".")[0]
            if source not in encoders and (head == _BATCH or earlier.get(head) in recipe.modules):
                path: KeyPath = ("tasks", name, "path", i)
                rule = (
                    f"module {_module(step)!r} reads the layers of an encoder, an earlier step of a pretrained or `elmo` module"
                )
                yield absent((*path, "inputs", 0) if inputs else path, rule, source, encoders)
        earlier[result] = _module(step)


# data ---------------------------------------------------------------------------------------------------------------


def _formats() -> list[str]:
    annotation = DataSpec.model_fields["format"].annotation
    return [name for part in get_args(annotation) for name in get_args(part)]


def _data(path: KeyPath, spec: DataSpec, formats: Collection[str]) -> Iterator[Finding]:
    """What a data set that names files must have."""
    here = dotted(path)
    if spec.format not in formats:
        yield absent((*path, "format"), "no file format is called this", spec.format, formats)
    if spec.format == "hub" and spec.hub is None:
        yield Finding((*path, "format"), f"`{here}` needs the key 'hub' for this format", "hub")
    if spec.format != "hub":
        for key, needed in (("hub", "`format: hub`"), ("config", "`format: hub` or `format: glue`")):
            if getattr(spec, key) is not None and f"`format: {spec.format}`" not in needed:
                yield Finding((*path, key), f"`{key}` needs {needed}", getattr(spec, key), at="key")
        if not spec.train:
            remedy = "give `train`, or `from` with a data set's name" if path[0] == "tasks" else "give `train`"
            yield Finding(path, f"`{here}` has no rows to train on", remedy=remedy, at="key")
    if spec.words is not None:
        for key in ("text", "pair", "choices"):
            if getattr(spec, key) is not None:
                rule = f"`words` and `{key}` exclude each other: rows come as words or as text"
                yield Finding((*path, key), rule, getattr(spec, key), at="key")
    for part in ("dev", "test"):
        if part in spec.split and getattr(spec, part) is not None:
            yield Finding((*path, "split", part), f"`{here}.{part}` has files already", str(spec.split[part]), at="key")
    if sum(spec.split.values()) >= 1:
        yield Finding((*path, "split"), "the shares set aside leave nothing to train on", at="key")


def _task_data(name: str, task: TaskBase, root: Node, formats: Collection[str]) -> Iterator[Finding]:
    path: KeyPath = ("tasks", name, "data")
    known = _names(root, "data")
    if task.data.from_ is None:
        yield from _data(path, task.data, formats)
        if name in known:
            yield Finding(path[:2], "a data set has the name of a task with data of its own", name, at="key")
        return
    if task.data.from_ not in known:
        yield absent((*path, "from"), "no data set has this name", task.data.from_, known)
    for key in sorted(task.data.model_fields_set.difference(BESIDE_FROM, {"from_"})):
        remedy = f"set it in `{dotted(('data', task.data.from_))}`" if key in DataSpec.model_fields else ""
        rule = "beside `from` only `label`, `weight`, `group` and `missing` may stand"
        yield Finding((*path, key), rule, key, remedy=remedy, at="key")


def _home(name: str, task: TaskBase, recipe: Recipe) -> tuple[KeyPath, DataSpec | None]:
    """The data set of a task, and where it stands; None: the one that is named is not there."""
    if task.data.from_ is None:
        return ("tasks", name, "data"), task.data
    return ("data", task.data.from_), recipe.data.get(task.data.from_)


def _parts(name: str, task: TaskBase, recipe: Recipe) -> Iterator[Finding]:
    """Rows of choices and rows that are read through windows are several sequences, which only some tasks can learn from."""
    home, spec = _home(name, task, recipe)
    if spec is None or isinstance(task, OwnTask):
        return
    type_path: KeyPath = ("tasks", name, "type")
    kind = task.type  # type: ignore[attr-defined]  # every task of a recipe has one
    chooses = isinstance(task, MultipleChoiceTask | RankingTask)
    if chooses and spec.choices is None:
        learned = "the order of candidates" if isinstance(task, RankingTask) else "one of several choices"
        yield Finding(type_path, f"the task learns {learned}, and `{dotted(home)}` names no `choices`", kind)
    if not chooses and spec.choices is not None:
        yield Finding(type_path, "rows of choices are learned by a task of type 'multiple_choice' or 'ranking'", kind)
    if isinstance(task, QuestionAnsweringTask) and spec.words is not None:
        yield Finding(type_path, "answers are found in texts, and the rows come as words", kind)
    if isinstance(task, MatchingTask) and spec.words is not None:
        yield Finding(type_path, "two texts are compared, and the rows come as words", kind)
    others = {n: t for n, t in recipe.tasks.items() if t.data.from_ is not None and t.data.from_ == task.data.from_}
    asked = [n for n, t in others.items() if isinstance(t, QuestionAnsweringTask)]
    if asked and not isinstance(task, QuestionAnsweringTask):
        rule = f"the data set is read through windows for {listed(asked)}, and only question answering learns from windows"
        yield Finding(type_path, rule, kind, remedy="name the same files as a data set of the task's own")
    apart = [n for n, t in others.items() if isinstance(t, MatchingTask)]
    if apart and not asked and not isinstance(task, MatchingTask):
        rule = f"the two texts of a row are read each by itself for {listed(apart)}, and only matching learns from that"
        yield Finding(type_path, rule, kind, remedy="name the same files as a data set of the task's own")


def _labels(name: str, task: TaskBase) -> Iterator[Finding]:
    """Labels once each, and weights only for labels that there are; losses that fit; a range that is not empty."""
    path: KeyPath = ("tasks", name)
    labels: list[str] = getattr(task, "labels", None) or []
    for i, label in enumerate(labels):
        if label in labels[:i]:
            yield Finding((*path, "labels", i), "the label is given twice", label)
    for key in PER_LABEL:
        values = getattr(task, key, None)
        for label in values if labels and isinstance(values, dict) else ():
            if label not in labels:
                yield absent((*path, key, label), "no label is called this", label, labels, at_key=True)
    thresholded = isinstance(task, MultilabelTask) and task.threshold != MultilabelTask.model_fields["threshold"].default
    if isinstance(task, MultilabelTask) and task.top is not None and thresholded:
        rule = "so many labels are predicted whatever their probability, so no threshold is looked at"
        yield Finding((*path, "top"), rule, str(task.top), remedy="take `top` or `threshold` out")
    if labels and isinstance(task, BinaryTask) and task.positive not in (None, *labels):
        yield absent((*path, "positive"), "no label is called this", str(task.positive), labels)
    for key in ("focal", "class_weights", "label_smoothing") if isinstance(task, TaggingTask) and task.decoder == "crf" else ():
        if getattr(task, key):
            rule = f"`{key}` is for the losses of single words, and `decoder: crf` learns the likelihood of a whole path"
            yield Finding((*path, key), rule, at="key", remedy=f"take `{key}` out, or write `decoder: softmax`")
    ranged = task if isinstance(task, RegressionTask | MatchingTask) else None
    if ranged is not None and ranged.low is not None and ranged.high is not None and ranged.low >= ranged.high:
        yield Finding((*path, "low"), f"`low` must be less than `high`, which is {ranged.high:g}", f"{ranged.low:g}")


def _likeness(name: str, task: TaskBase) -> Iterator[Finding]:
    """Keys of the loss that a matching task has, and a label from which on rows belong together that rows can have."""
    if not isinstance(task, MatchingTask):
        return
    path: KeyPath = ("tasks", name)
    for key in ("scale", "positive") if task.loss == "cosine" else ():
        if getattr(task, key) != MatchingTask.model_fields[key].default:
            rule = f"`{key}` is for `loss: contrastive`"
            yield Finding((*path, key), rule, f"{getattr(task, key):g}", remedy="take it out, or change the loss", at="key")
    if task.positive is not None and not task.low < task.positive <= task.high:
        rule = f"no label from `low`, {task.low:g}, to `high`, {task.high:g}, would be told apart by `positive`"
        yield Finding((*path, "positive"), rule, f"{task.positive:g}")


def _answers(name: str, task: TaskBase) -> Iterator[Finding]:
    """Comparisons that answers do not have: of paths of tags, of another's windows, of numbers otherwise than by squares."""
    path: KeyPath = ("tasks", name)
    for key, given in (("teacher", task.teacher is not None), ("consistency", task.consistency > 0)):
        if given and isinstance(task, TaggingTask) and task.decoder == "crf":
            rule = f"`{key}` compares the answers to single words, and `decoder: crf` gives paths"
            yield Finding((*path, key), rule, at="key", remedy="use `decoder: softmax`")
    if task.teacher is not None and isinstance(task, QuestionAnsweringTask):
        rule = "`teacher` compares two answers to the same words, and each encoder reads a text through windows of its own"
        yield Finding((*path, "teacher"), rule, at="key", remedy="take it out")
    if task.perturbation is not None and not task.consistency:
        rule = "`perturbation` sets two answers apart, and `consistency` says what that costs"
        yield Finding((*path, "perturbation"), rule, at="key", remedy="add it, for example `consistency: 1.0`")
    if task.teacher is None:
        return
    numbers = isinstance(task, RegressionTask | MatchingTask)
    if numbers and task.teacher.loss not in (None, "mse"):
        rule = "numbers have squared differences, and no other comparison with a teacher"
        yield Finding((*path, "teacher", "loss"), rule, task.teacher.loss, "mse")
    if (numbers or task.teacher.loss == "mse") and task.teacher.temperature is not None:
        rule = "squared differences have no temperature"
        yield Finding((*path, "teacher", "temperature"), rule, f"{task.teacher.temperature:g}", at="key")
    folders = task.teacher.folders
    for i, folder in enumerate(folders):
        if folder in folders[:i]:
            yield Finding((*path, "teacher", "from", i), "the teacher is given twice", folder)


def _metrics(name: str, task: TaskBase, known: Collection[str] | None) -> Iterator[Finding]:
    """Metrics that nobody has; whether one fits the labels is seen with the data. None: they are not known here."""
    named: list[tuple[KeyPath, str]] = [(("tasks", name, "metrics", i), metric) for i, metric in enumerate(task.metrics)]
    if task.metric is not None:
        named.insert(0, (("tasks", name, "metric"), task.metric))
    for path, metric in named:
        if known is not None and metric not in known:
            yield absent(path, "no metric is called this", metric, sorted(known))


def _weights(recipe: Recipe, root: Node) -> Iterator[Finding]:
    """At least one task must count; one whose entry has mistakes may."""
    names = _names(root, "tasks")
    if names and all(name in recipe.tasks and not recipe.tasks[name].weight for name in names):
        yield Finding(("tasks", names[0], "weight"), "all tasks have the weight 0, so nothing would be learned", "0")


# training -----------------------------------------------------------------------------------------------------------


def _training(recipe: Recipe, root: Node) -> Iterator[Finding]:
    training, epoch = recipe.training, recipe.mixture.epoch
    steps = training.steps
    if steps is None and isinstance(epoch, int):
        steps = max(1, training.epochs * epoch // training.accumulate)
    if steps is not None and training.schedule.warmup >= 1 and training.schedule.warmup > steps:
        rule = f"the warm-up is longer than the run, which has {steps} steps"
        yield Finding(("training", "schedule", "warmup"), rule, f"{training.schedule.warmup:g}")
    bare = [name for name, task in recipe.tasks.items() if task.patience is None]
    if training.stop == "votes" and training.patience is None and bare:
        rule = f"a vote that can never end the run: no patience for {listed(bare)}"
        remedy = "set `training.patience`, or `patience` of each of these tasks"
        yield Finding(("training", "stop"), rule, "votes", remedy=remedy)
