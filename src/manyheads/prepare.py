"""The data of a recipe: files read, rows set aside, labels counted, texts encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec, StreamSpec
from manyheads.config.spec.tasks import (
    BinaryTask,
    LanguageModellingTask,
    MaskedLanguageModellingTask,
    MatchingTask,
    MultilabelTask,
    MultipleChoiceTask,
    OwnTask,
    QuestionAnsweringTask,
    RankingTask,
    RegressionTask,
    TaggingTask,
    TaskBase,
)
from manyheads.data.cache import Cache, key, schema, to_table
from manyheads.data.chunks import Cut, chunked
from manyheads.data.dataset import TextDataset
from manyheads.data.encode import InputSpec, encode, sift
from manyheads.data.inner_targets import AnswerTarget, ChoiceTarget, HiddenTarget, NeighbourTarget, RelevanceTarget
from manyheads.data.labels import CORRECT, Found, LabelMap, is_blank
from manyheads.data.number_target import LikenessTarget, NumberTarget
from manyheads.data.read import BadRow, FileFact, Rows, Split, default_columns, read_rows, split_rows
from manyheads.data.row_columns import RowColumn, RowGroups, RowWeights
from manyheads.data.targets import BinaryTarget, ClassTarget, KnownTarget, MultilabelTarget, TagTarget
from manyheads.errors import DataError, Problem, RecipeError, shown
from manyheads.task.base import TASKS
from manyheads.text.tokenize import Tokenizer
from manyheads.types import Row

_ASIDE = (
    "no training row has this label, for `split` set this row aside: name all labels under `labels`, "
    "change `split` or `seed`, or correct the row"
)
_LONG = 512  # words of a chunk of which no gradient is taken
_WHOLE = 2**31 - 1  # pieces of a row that is not cut
_FILES = 50  # above this a data set's files are told as one


@dataclass(frozen=True, slots=True)
class Source:
    """A data set of the recipe and the tasks that learn from it: a named one, or a task's own, of the task's name."""

    name: str
    spec: DataSpec
    tasks: Mapping[str, TaskBase]

    @property
    def reads(self) -> str:
        """text, pair, words, choices, windows or towers."""
        inputs = self.inputs
        if inputs.parts:
            return "towers" if inputs.towers else "choices" if inputs.choices else "windows"
        return "words" if inputs.words else "pair" if inputs.pair else "text"

    @property
    def bounded(self) -> bool:
        """Whether each text stands between marks that say where it begins and ends, as a language model reads it."""
        return any(isinstance(task, LanguageModellingTask) for task in self.tasks.values())

    def longest(self, most: int) -> int:
        """Most pieces of a sequence, where the module that reads it takes `most`; of rows that are one text all."""
        return _WHOLE if self.spec.stream is not None else min(most, self.spec.max_length or most)

    @property
    def own_words(self) -> bool:
        """Whether nothing is asked of a row but its own words."""
        kinds = LanguageModellingTask | MaskedLanguageModellingTask
        return self.spec.stream is None and all(isinstance(task, kinds) for task in self.tasks.values())

    @property
    def slots(self) -> int:
        """Of rows that are one text: how many parts of it, over all splits, have a state that is carried."""
        return 0 if self.spec.stream is None else self.spec.stream.rows + 2

    @property
    def inputs(self) -> InputSpec:
        """The input columns; where none is named those of the format, else `words` for data that are tagged, else `text`."""
        spec, usual = self.spec, default_columns(self.spec)
        if any(isinstance(task, QuestionAnsweringTask) for task in self.tasks.values()):
            return InputSpec(text=spec.text or "question", pair=spec.pair or "context", stride=spec.stride)
        if any(isinstance(task, MatchingTask) for task in self.tasks.values()):
            text, pair = spec.text or usual.text or "text", spec.pair or usual.pair or "pair"
            return InputSpec(text=text, pair=pair, towers=True)
        if spec.choices is not None:
            return InputSpec(text=spec.text or "text", pair=spec.pair, choices=spec.choices)
        if spec.words is not None:
            return InputSpec(words=spec.words)
        if spec.text is not None or spec.pair is not None:
            return InputSpec(text=spec.text or usual.text or "text", pair=spec.pair)
        if usual.text is not None:
            return InputSpec(text=usual.text, pair=usual.pair)
        tagged = any(isinstance(task, TaggingTask) for task in self.tasks.values())
        return InputSpec(words=usual.words or "words") if usual.words or tagged else InputSpec(text="text")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows of a source by split, the fitted target of each task, and what was read for the rows: train, dev, test files.

    `unfit` are rows that were read but break a rule of the input, of a label or of a weight, and were left out; `silent` is the
    number of training rows that were, since nothing is asked of them but their own words, and they have none. `weights` has
    (N,) of the training rows for each task that names a column of them.
    """

    source: Source
    rows: Mapping[Split, list[Row]]
    targets: Mapping[str, KnownTarget]
    read: Mapping[Split, Rows]
    unfit: tuple[BadRow, ...] = ()
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    silent: int = 0

    @property
    def bad(self) -> tuple[BadRow, ...]:
        """All rows that were left out."""
        return (*(row for part in self.read.values() for row in part.bad), *self.unfit)

    @property
    def blank(self) -> tuple[str, ...]:
        """Sentences about rows, of all splits, that have nothing but space in a column of the input that holds texts."""
        inputs = self.source.inputs
        rows = [row for part in self.rows.values() for row in part]
        if self.source.spec.stream is not None:
            return ()  # in one text, a row of nothing is an end
        texts = [column for column in inputs.columns if column not in inputs.lists]
        counts = {column: sum(is_blank(row.values.get(column)) for row in rows) + self.silent for column in texts}
        unasked = ", and nothing is asked of them" if self.source.own_words else ""
        return tuple(f"{self.source.name}: {n} rows have no text in column {shown(c)}{unasked}" for c, n in counts.items() if n)


def sources(recipe: Recipe) -> list[Source]:
    """The data sets in the order of the tasks; tasks that name one data set share a source."""
    shared: dict[str, dict[str, TaskBase]] = {}
    found: dict[str, DataSpec] = {}
    for name, task in recipe.tasks.items():
        home = task.data.from_ or name
        found[home] = recipe.data[home] if task.data.from_ else task.data
        shared.setdefault(home, {})[name] = task
    return [Source(name, spec, shared[name]) for name, spec in found.items()]


def prepare(source: Source, base: Path, seed: int) -> Prepared:
    """Read all splits and fit the targets on the training rows. Raises DataError for files, rows, columns, labels, weights."""
    with _at(source):
        rows, read = read_splits(source.spec, base, seed)
    rows["train"], silent = _telling(source, rows["train"])
    unfitted = {name: _target(name, task, source) for name, task in source.tasks.items()}
    columns = {name: RowWeights(unfitted[name], task.data.weight) for name, task in source.tasks.items() if task.data.weight}
    groups = groups_of(source, unfitted)
    training, unfit = sifted(source, {"train": rows.pop("train")}, unfitted, [*columns.values(), *groups.values()])
    targets = {name: target.fit(training["train"]) for name, target in unfitted.items()}
    held_out, more = sifted(source, rows, targets, groups.values())
    if source.spec.bad_rows == "error":
        found = [name for name, t in unfitted.items() if getattr(t, "labels", ()) is None]
        _require_seen([row for split in source.spec.split for row in held_out[split]], [targets[name] for name in found])
    weights = {name: column.read(training["train"]) for name, column in columns.items()}
    return Prepared(source, {**training, **held_out}, targets, read, (*unfit, *more), weights, silent)


def _telling(source: Source, rows: list[Row]) -> tuple[list[Row], int]:
    """The rows without those that have no word, where their own words are all that is asked; and how many those are."""
    if not source.own_words:
        return rows, 0
    told = [row for row in rows if not is_blank(row.values.get(source.inputs.columns[0]))]
    return (told, len(rows) - len(told)) if told else (rows, 0)


@contextmanager
def _at(source: Source) -> Iterator[None]:
    """Problems with keys of a data set get the place of that data set in the recipe."""
    try:
        yield
    except RecipeError as error:
        home = "data.{}" if any(task.data.from_ for task in source.tasks.values()) else "tasks.{}.data"
        own = DataSpec.model_fields
        raise type(error)(
            *(
                replace(p, place=f"{home.format(source.name)}.{p.place}") if p.place.partition(".")[0] in own else p
                for p in error.problems
            )
        ) from error


def sifted(
    source: Source,
    rows: Mapping[Split, list[Row]],
    targets: Mapping[str, KnownTarget],
    beside: Collection[RowColumn[Any]] = (),
) -> tuple[dict[Split, list[Row]], list[BadRow]]:
    """The rows of each split that can be encoded, and the others; under `bad_rows: error` all rows, for encoding tells why not.

    Raises DataError where a split has no row that can be encoded.
    """
    if source.spec.bad_rows == "error":
        return dict(rows), []
    good: dict[Split, list[Row]] = {}
    bad: list[BadRow] = []
    for split, part in rows.items():
        good[split], unfit = sift(part, source.inputs, targets, split == "train", beside)
        if not good[split]:
            rule = f"data set {source.name}: no {split} row is left, {len(unfit)} break a rule; the first: {unfit[0].rule}"
            raise DataError(Problem(rule, str(unfit[0].place)))
        bad += unfit
    return good, bad


def _require_seen(aside: Iterable[Row], targets: Sequence[KnownTarget]) -> None:
    """DataError for rows that `split` set aside whose labels were not found among the training rows."""
    problems = Found()
    terse = [target.terse for target in targets]
    for row in aside:
        for target in terse if problems.full else targets:
            problems.collect(_check_seen, target, row)
    problems.check()


def _check_seen(target: KnownTarget, row: Row) -> None:
    try:
        target.check(row)
    except DataError as error:
        raise DataError(*(replace(p, remedy=_ASIDE) if p.remedy == CORRECT else p for p in error.problems)) from None


def read_splits(
    spec: DataSpec, base: Path, seed: int, held_out: bool = False
) -> tuple[dict[Split, list[Row]], dict[Split, Rows]]:
    """The rows of each split, and the files' whole content behind them; `held_out` leaves out what only training needs.

    Raises DataError.
    """
    rows: dict[Split, list[Row]] = {}
    read: dict[Split, Rows] = {}
    if spec.split or not held_out:
        read["train"] = read_rows(spec, "train", base)
        rows = split_rows(read["train"].rows, spec, seed)
    named: tuple[tuple[Split, object], ...] = (("dev", spec.dev), ("test", spec.test))
    for split, names in named:
        if names:
            read[split] = read_rows(spec, split, base)
            rows[split] = read[split].rows
    if held_out:
        rows.pop("train", None)
    return rows, read


def hashes(name: str, files: Iterable[FileFact]) -> list[tuple[str, str]]:
    """sha256 of each file as data set `name` calls it; above 50 files one for all of them."""
    found = [(fact.path, fact.sha256) for fact in files]
    if len(found) <= _FILES:
        return found
    lines = "".join(f"{path}\0{digest}\n" for path, digest in sorted(found))
    return [(f"the {len(found)} files of {name}", hashlib.sha256(lines.encode()).hexdigest())]


def origin(name: str, read: Mapping[Split, Rows]) -> dict[str, list[list[str]]]:
    """By split the files' own names, without folders, and their sha256: all that decides which rows are set aside."""
    found: dict[str, list[list[str]]] = {}
    for split, part in read.items():
        own = [replace(fact, path=PurePath(fact.path).name) for fact in part.files]
        found[split] = [list(pair) for pair in hashes(name, own)]
    return found


def encoded(
    prepared: Prepared, tokenizer: Tokenizer, max_length: int, cache: Cache | None, slot: int = 0
) -> dict[Split, TextDataset]:
    """The data set of each split, from the cache where the same rows were encoded before; without one, in memory.

    `max_length` is the encoder's; the data set may have a lower one of its own. Only training rows must have labels. Rows that
    are one text are cut into chunks, whose states are carried in slots from `slot` on.
    """
    inputs, targets, stream = prepared.source.inputs, prepared.targets, prepared.source.spec.stream
    max_length = prepared.source.longest(max_length)
    columns = schema(targets, inputs, tokenizer.spells)
    found: dict[Split, TextDataset] = {}
    for split, rows in prepared.rows.items():
        build = partial(encode, rows, inputs, tokenizer, targets, max_length, labelled=split == "train")
        if cache is None:
            table = to_table(build(), columns)
        else:
            table = cache.load_or_build(key(rows, inputs, tokenizer, targets, max_length), columns, build)
        weights, together = prepared.weights if split == "train" else None, 0
        if stream is not None:
            table, together = chunked(table, _cut(stream, split, slot))
        groups = {name: column.read(rows) for name, column in groups_of(prepared.source, targets).items()}
        found[split] = TextDataset(prepared.source.name, split, table, weights, together, groups)
    return found


def groups_of(source: Source, targets: Mapping[str, KnownTarget]) -> dict[str, RowGroups]:
    """The columns of groups, by the task that names one."""
    tasks = {name: task for name, task in source.tasks.items() if name in targets}
    return {name: RowGroups(targets[name], task.data.group) for name, task in tasks.items() if task.data.group}


def _cut(stream: StreamSpec, split: Split, slot: int) -> Cut:
    """Of dev and test rows one part, so that each word is told from all before it, in chunks that need not be short."""
    if split == "train":
        return Cut(stream.rows, stream.words, slot)
    return Cut(1, max(stream.words, _LONG), slot + stream.rows + (split == "test"))


def _target(name: str, task: TaskBase, source: Source) -> KnownTarget:
    """How the task's label column is read. Its default name is `label`, for tags that of the format or `tags`."""
    if isinstance(task, LanguageModellingTask):
        joined = source.spec.stream is not None
        return NeighbourTarget(name, source.inputs.columns[0], direction=task.direction, joined=joined)
    if isinstance(task, MaskedLanguageModellingTask):
        return HiddenTarget(name, source.inputs.columns[0], share=task.share)
    missing = tuple(task.data.missing or source.spec.missing)
    declared = getattr(task, "labels", None)
    labels = LabelMap(tuple(declared)) if declared else None
    kind = getattr(TASKS[task.type], "target", "class") if isinstance(task, OwnTask) else ""  # a plug-in's class says
    if isinstance(task, TaggingTask) or kind == "tags":
        if source.inputs.words is None:
            rule = "tags are learned a word at a time, but the data set has no column of words"
            raise DataError(Problem(rule, f"tasks.{name}.data", remedy="name it under `words`"))
        scheme = getattr(task, "scheme", "none")
        column = task.data.label or default_columns(source.spec).tags
        return TagTarget(name, column, words=source.inputs.words, scheme=scheme, missing=missing, labels=labels)
    if isinstance(task, QuestionAnsweringTask):
        context = source.inputs.pair or ""
        return AnswerTarget(name, task.data.label or "answers", context=context, starts=task.starts, missing=missing)
    column = task.data.label or "label"
    if isinstance(task, MultipleChoiceTask | RankingTask) or kind in ("choice", "relevances"):
        ranked = isinstance(task, RankingTask) or kind == "relevances"
        if source.inputs.choices is None:
            learned = "the order of a row's candidates" if ranked else "one of a row's choices"
            rule = f"{learned} is learned, but the data set has no column of choices"
            raise DataError(Problem(rule, f"tasks.{name}.data", remedy="name it under `choices`"))
        return (RelevanceTarget if ranked else ChoiceTarget)(name, column, choices=source.inputs.choices, missing=missing)
    if isinstance(task, MultilabelTask) or kind == "multilabel":
        return MultilabelTarget(name, column, separator=getattr(task, "separator", "|"), missing=missing, labels=labels)
    if isinstance(task, MatchingTask):
        bare = task.loss == "contrastive" and task.data.label is None
        scale = {"low": task.low, "high": task.high, "bottom": task.bottom}
        return LikenessTarget(name, column, **scale, bare=bare, missing=missing)
    if isinstance(task, RegressionTask) or kind == "number":
        low, high = getattr(task, "low", None), getattr(task, "high", None)
        return NumberTarget(name, column, low=low, high=high, missing=missing)
    soft, order = getattr(task, "soft_labels", False), tuple(declared or ())
    if isinstance(task, BinaryTask):
        return BinaryTarget(name, column, missing=missing, labels=labels, soft=soft, order=order, positive=task.positive)
    return ClassTarget(name, column, missing=missing, labels=labels, soft=soft, order=order)
