"""A whole configuration to the text of a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from manyheads.config.dump import flow, key_text
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.pytext.pool import Pool, slug
from manyheads.pytext.reader import Outcome
from manyheads.pytext.remarks import judge
from manyheads.pytext.section import Ledger, Remark, Section, read_json
from manyheads.pytext.source import Files
from manyheads.pytext.task import KNOWN, MULTITASK, read_task
from manyheads.pytext.training import mixture, seed, training

_NEWEST = 24  # version of configurations whose keys are known here
_ONLY_ONE = "one trainer trains all tasks: that of the multi-task task"
_WIDTH = 118  # characters of a line up to which a section stands on it
_REMEDY = "the configuration's `task` is {Class: {…}}; multi-task ones are NewDisjointMultitask, with `tasks` in them"
_BLOCKS = ("modules", "data", "tasks", "mixture", "training")  # sections that go over several lines


@dataclass(frozen=True, slots=True)
class Conversion:
    """A recipe, and what of the configuration is not in it.

    text    the recipe as YAML, with comments
    recipe  the same as plain values
    lost    what could not be carried over
    idle    what has no meaning here, or says what PyText does anyway and has no effect
    """

    text: str
    recipe: dict[str, Any]
    lost: tuple[Remark, ...]
    idle: tuple[Remark, ...]


def convert(file: Path, base: Path | None = None) -> Conversion:
    """The recipe of a configuration of PyText; its files are named from `base`, the folder of the recipe.

    The configuration names them from the folder in which PyText was started, which is taken to be the working directory.
    Raises DataError for a file that cannot be read, RecipeError for one that is no configuration, whose values are of
    another type than PyText's, whose modules of one `shared_module_key` differ, or of whose tasks none can be carried over.
    """
    node = read_json(file)
    ledger = Ledger()
    root = Section(node, (), ledger)
    if root.has("config") and not root.has("task"):
        root = root.section("config")
    kind, task = _task(root, node.place)
    files = Files(Path.cwd(), PurePath(base.absolute() if base is not None else Path.cwd()))
    recipe, notes = _Recipe(root, task, kind, files).build()
    ledger.refuse()
    lost, idle = judge(node, ledger)
    text = "\n".join(_text(recipe, notes, file.name, kind, lost, idle)) + "\n"
    return Conversion(text, recipe, tuple(lost), tuple(idle))


def _task(root: Section, place: str) -> tuple[str, Section]:
    """The class of the configuration's task and what it says."""
    if not root.has("task"):
        rule = f"this is no configuration of PyText: there is no key `task`, only {listed(root.keys[:8])}"
        raise RecipeError(Problem(rule, place, nearest="task" if nearest("task", root.keys) else None, remedy=_REMEDY))
    if (version := root.whole("version", 0)) > _NEWEST:
        root.remark("version", version, f"keys are known up to version {_NEWEST}; what came later is listed as unknown")
    kind, task = root.variant("task", "")
    if not kind:
        name = next(iter(task.keys), "")
        rule = f"a task is wanted, {{Class: {{…}}}}; there are {listed(KNOWN[:8])} …"
        raise RecipeError(Problem(rule, root.place_of("task"), name, nearest(name, KNOWN), _REMEDY))
    return kind, task


@dataclass
class _Recipe:
    """A recipe while it is built."""

    root: Section
    task: Section
    kind: str
    files: Files

    def build(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The recipe, and PyText's class of each of its tasks and modules."""
        pool, notes, outcomes, names = Pool(self.files), dict[str, str](), list[Outcome](), dict[str, str]()
        for name, kind, section in self._tasks():
            plain = slug(name or _plain_name(kind))
            outcome = read_task(plain, kind, section, pool, f"{plain}_" if name else "")
            if outcome is not None:
                outcomes.append(outcome)
                names[name] = plain
                notes |= {f"tasks.{task}": kind for task in outcome.tasks}
        notes |= {f"modules.{name}": draft.kind for name, draft in pool.modules.items()}
        if not outcomes:
            self.root.ledger.refuse()
            remedy = "of classes that no task type here is for, write a task of your own (docs/tutorial.md)"
            raise RecipeError(
                Problem("no task of this configuration can be carried over", self.task.place, self.kind, remedy=remedy)
            )
        return self._whole(pool, outcomes, names), notes

    def _tasks(self) -> Iterator[tuple[str, str, Section]]:
        """Name, class and section of each task; the name is empty where there is one only."""
        if self.kind not in MULTITASK:
            yield "", self.kind, self.task
            return
        tasks = self.task.section("tasks")
        for name in tasks.keys:
            if (
                tasks.node is None
                or not isinstance(tasks.node.value, dict)
                or not isinstance(tasks.node.value[name].value, dict)
            ):
                continue
            kind, section = tasks.variant(name, "")
            if not kind:
                section.problem("a task is wanted, {Class: {…}}", "", next(iter(section.keys), None), KNOWN)
                continue
            if section.has("trainer"):
                section.give_up(_ONLY_ONE, "trainer")
            yield name, kind, section

    def _whole(self, pool: Pool, outcomes: Sequence[Outcome], names: dict[str, str]) -> dict[str, Any]:
        recipe: dict[str, Any] = {"version": 1, "seed": seed(self.root, self.task)}
        recipe["modules"] = {name: {"type": d.type, **d.settings} for name, d in pool.modules.items()}
        trained = training(self.root, self.task)
        trained["batch"] = self._batches(outcomes)
        shared = {o.shared: o.data.settings for o in outcomes if o.shared}
        if shared:
            recipe["data"] = shared
        recipe["tasks"] = {name: task for outcome in outcomes for name, task in outcome.tasks.items()}
        weights = self.task.table("task_weights", [*names]) if self.kind in MULTITASK else {}
        for (name, _), outcome in zip(names.items(), outcomes, strict=True):
            _weigh(outcome, weights.get(name, 1.0))
            _shorten(outcome, pool)
        if mixed := mixture(self.task, names, len(outcomes)):
            recipe["mixture"] = mixed
        if selected := self._selected(names, outcomes):
            trained["select"] = selected
        recipe["training"] = trained
        return recipe

    def _batches(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The commonest batch for all, another one at the data that have it."""
        sizes = [(o.data.rows, o.data.grouped) for o in outcomes]
        (common, _), *_ = Counter(sizes).most_common(1)
        for outcome, size in zip(outcomes, sizes, strict=True):
            if size != common:
                outcome.said()["batch"] = _batch(*size)
        return _batch(*common)

    def _selected(self, names: dict[str, str], outcomes: Sequence[Outcome]) -> str | list[str]:
        """What chooses checkpoints: the target task, the mean of the tasks' scores, or the loss."""
        if self.kind not in MULTITASK:
            return ""
        reporter = self.task.section("metric_reporter")
        every = reporter.flag("use_subtask_select_metric", False)
        target = self.task.text("target_task_name")
        if not target:
            return "" if every else "loss"
        if target not in names:
            self.task.problem("no task is called this", "target_task_name", target, tuple(names))
            return ""
        chosen = [*outcomes[[*names].index(target)].tasks]
        return chosen[0] if len(chosen) == 1 else chosen


def _batch(rows: int, grouped: bool) -> dict[str, Any]:
    return {"rows": rows, **({} if grouped else {"group_by_length": False})}


def _weigh(outcome: Outcome, weight: float) -> None:
    for task in outcome.tasks.values():
        whole = task.get("weight", 1.0) * weight
        if whole != 1:
            task["weight"] = whole


def _shorten(outcome: Outcome, pool: Pool) -> None:
    """A limit of the task's own where the module that reads has a greater one, for another task."""
    if outcome.longest and pool.modules[outcome.reads].settings.get("max_length") != outcome.longest:
        outcome.said()["max_length"] = outcome.longest


def _plain_name(kind: str) -> str:
    """What a task is called that has no name: DocumentClassificationTask is `document_classification`."""
    letters = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.removesuffix("_Deprecated").removesuffix("Task"))
    return letters.strip("_").replace("q_a", "qa").replace("l_m", "lm").replace("n_n", "nn")


def _text(
    recipe: dict[str, Any], notes: dict[str, str], name: str, kind: str, lost: Sequence[Remark], idle: Sequence[Remark]
) -> Iterator[str]:
    yield f"# Made by `manyheads convert pytext` from {name}, a {kind}. Every key and its default: docs/recipe.md."
    yield "# What maps to what: docs/pytext.md."
    if lost:
        yield "#"
        yield f"# Not carried over ({len(lost)}):"
        yield from (_comment(remark) for remark in lost)
    if idle:
        yield "#"
        yield f"# Without meaning or effect here ({len(idle)}):"
        yield from (_comment(remark) for remark in idle)
    for key, value in recipe.items():
        if key in _BLOCKS:
            yield ""
            yield f"{key}:"
            for inner, part in value.items():
                if note := notes.get(f"{key}.{inner}", ""):
                    yield f"  # {note}"
                yield from _lines(inner, part, "  ", block=key == "tasks")
        else:
            yield f"{key}: {flow(value)}"


def _lines(key: str, value: Any, indent: str, block: bool = False) -> Iterator[str]:
    """A key and its value, on one line where that is short."""
    line = f"{indent}{key_text(key)}: {flow(value)}"
    if not isinstance(value, dict) or not value or (len(line) <= _WIDTH and not block):
        yield line
        return
    yield f"{indent}{key_text(key)}:"
    for inner, part in value.items():
        yield from _lines(inner, part, indent + "  ")


def _comment(remark: Remark) -> str:
    value = f" = {remark.value}" if remark.value else ""
    line = f"#   {remark.path}{value}: {remark.why}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
