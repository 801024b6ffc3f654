"""Files of predictions of a model for the rows that its recipe set aside, and those that the server of GLUE takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath

from manyheads.artefact import Artefact
from manyheads.cli.console import note, warn
from manyheads.config.load import Loaded
from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.glue import task_of, told
from manyheads.errors import DataError, Problem, RecipeError, listed, shown
from manyheads.folder import write_text
from manyheads.inputs import Input
from manyheads.predict import Answer, Predictor
from manyheads.prepare import Source, sources
from manyheads.rescore import held_out
from manyheads.task.base import Prediction
from manyheads.train.engine import Engine
from manyheads.types import Row

_BINARY, _ENTAILED = ("0", "1"), ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_UPLOAD: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "CoLA": (1063, _BINARY),
    "SST-2": (1821, _BINARY),
    "MRPC": (1725, _BINARY),
    "STS-B": (1379, ()),
    "QQP": (390965, _BINARY),
    "MNLI-m": (9796, _NLI),
    "MNLI-mm": (9847, _NLI),
    "QNLI": (5463, _ENTAILED),
    "RTE": (3000, _ENTAILED),
    "WNLI": (146, _BINARY),
    "AX": (1104, _NLI),
}
"""The files that the server of GLUE takes: rows of the published test file, and the labels; none where it takes numbers."""
_NUMBERED: Mapping[str, tuple[str, str]] = {
    "CoLA": ("unacceptable", "acceptable"),
    "SST-2": ("negative", "positive"),
    "MRPC": ("not_equivalent", "equivalent"),
    "QQP": ("not_duplicate", "duplicate"),
    "WNLI": ("not_entailment", "entailment"),
}
"""What the hub calls the labels 0 and 1."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of one split of a data set, each with the answer of all its tasks."""

    source: Source
    split: str
    rows: list[Row]
    answers: list[Answer]


def answered(found: Artefact, loaded: Loaded) -> Iterator[Answered]:
    """Dev and test rows in the order of their files, with labels or without; what cannot be read is left out with a warning.

    A data set is read as it is scored, within a limit of its own where it has one.
    """
    homes = sources(loaded.recipe)
    limits = {task: source.longest(found.blueprint.longest(task)) for source in homes for task in source.tasks}
    predictor = Predictor(found, Engine(loaded.recipe.training).device, limits)
    for source in homes:
        try:
            parts = held_out(found, loaded, source)
        except DataError as error:
            for problem in error.problems:
                warn(f"no predictions: {problem}")
            continue
        for split, rows in parts.items():
            inputs = (_input(row, source) for row in rows)
            yield Answered(source, split, rows, list(predictor.stream(inputs, list(source.tasks))))


def write_predictions(parts: list[Answered], folder: Path) -> None:
    """<task>.<split>.jsonl: an object a row, with `index`, the file's own or counted from 0, and what `predict` says.

    Beside it, for answers found in texts, <task>.<split>.json as the scorers of SQuAD take them, if rows have their `id`.
    """
    _make(folder)
    for part in parts:
        told = [answer.to_json()["tasks"] for answer in part.answers]
        for task in part.source.tasks:
            lines = [
                {"index": _index(row, i), **found[task]} for i, (row, found) in enumerate(zip(part.rows, told, strict=True))
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            _write(folder / f"{task}.{part.split}.jsonl", text, len(lines))
            if by_id := _by_id(part, task):
                _write(folder / f"{task}.{part.split}.json", json.dumps(by_id, ensure_ascii=False) + "\n", len(by_id))


def _by_id(part: Answered, task: str) -> dict[str, str]:
    """The id of each row to the answer found in its text; nothing for tasks without such answers, or where no row has an id.

    DataError for an id that stands twice, or a row without one among others that have it.
    """
    found = [answer.predictions[task] for answer in part.answers]
    names = [row.values.get("id") for row in part.rows]
    if not any(isinstance(name, str) for name in names) or any(prediction.found is None for prediction in found):
        return {}
    seen: set[str] = set()
    for row, name in zip(part.rows, names, strict=True):
        if not isinstance(name, str) or name in seen:
            rule = "an earlier question has the same `id`" if isinstance(name, str) else "this question has no text as its `id`"
            rule = f"no {task}.{part.split}.json is written, which has an answer for each id: {rule}"
            raise DataError(Problem(rule, str(row.place), str(name)))
        seen.add(name)
    return {str(name): str(prediction.value) for name, prediction in zip(names, found, strict=True)}


def write_glue(parts: list[Answered], folder: Path) -> None:
    """A file a test file of GLUE, as its server takes them: tab-separated `index` and `prediction`, in the file's order.

    So is a test split of the hub whose `config` names a task of GLUE. RecipeError where the recipe has neither, or two for one
    file; DataError for labels that the server does not know. Test files that lack, or have another number of rows than the
    published ones, are told of.
    """
    texts: dict[str, tuple[str, int]] = {}
    for part in parts:
        if part.split != "test":
            continue
        for path, group in groupby(zip(part.rows, part.answers, strict=True), key=lambda pair: pair[0].place.path):
            name, pairs = _file(path, part.source.spec), list(group)
            if name is None or name not in _UPLOAD:
                continue
            if name in texts:
                raise RecipeError(Problem(f"two test files of the recipe are answered in {name}.tsv", path))
            (task, *_) = part.source.tasks
            lines = [f"{_index(row, i)}\t{_said(answer.predictions[task], name)}\n" for i, (row, answer) in enumerate(pairs)]
            texts[name] = ("index\tprediction\n" + "".join(lines), len(lines))
    if not texts:
        remedy = "name `test` files under it; of `format: hub` a `test` split, and under `config` its task: sst2"
        raise RecipeError(Problem("no data set of the recipe has test files of `format: glue`", "--glue", remedy=remedy))
    _make(folder)
    for name, (text, count) in texts.items():
        _write(folder / f"{name}.tsv", text, count)
        if count != _UPLOAD[name][0]:
            warn(f"{name}.tsv has {count:,} rows, and the published test file {_UPLOAD[name][0]:,}: the server will refuse it")
    if lacks := [f"{name}.tsv" for name in _UPLOAD if name not in texts]:
        warn(f"the server wants these files too: {listed(lacks)}")


def _file(path: str, spec: DataSpec) -> str | None:
    """The server's name for the answers to a test file, or to a test split of the hub; None where it is not of GLUE."""
    if spec.format not in ("glue", "hub"):
        return None
    task = told(spec.config or "") if spec.format == "hub" else task_of(path, spec.config)
    if task != "MNLI":
        return task
    return "MNLI-mm" if re.search(r"mismatched|mm(?![a-z])", f"{PurePath(path).stem} {spec.config}") else "MNLI-m"


def _said(found: Prediction, name: str) -> str:
    labels, numbered = _UPLOAD[name][1], _NUMBERED.get(name, ())
    if isinstance(found.value, float) and not labels:
        return f"{min(max(found.value, 0.0), 5.0):.3f}"
    if found.value in numbered:
        return labels[numbered.index(str(found.value))]
    if not isinstance(found.value, str) or found.value not in labels:
        rule = f"{name}.tsv takes {listed(labels) if labels else 'numbers'}, and task {found.task} answers otherwise"
        raise DataError(Problem(rule, value=str(found.value)))
    return found.value


def _input(row: Row, source: Source) -> Input:
    """The row's columns as `predict` takes them; DataError for a column that is not there or is no text."""
    inputs = source.inputs
    if inputs.words is not None:
        return _list(row, inputs.words, "words")
    names = [name for name in (inputs.text, inputs.pair) if name is not None]
    for name in names:
        if not isinstance(row.values.get(name), str):
            raise DataError(Problem(f"column {shown(name)} must be a text", str(row.place)))
    texts = [str(row.values[name]) for name in names]
    if inputs.choices is not None:
        choices = _list(row, inputs.choices, "texts")
        return (texts[0], texts[1], choices) if len(texts) == 2 else (texts[0], choices)
    return (texts[0], texts[1]) if len(texts) == 2 else texts[0]


def _list(row: Row, column: str, what: str) -> list[str]:
    found = row.values.get(column)
    if isinstance(found, list | tuple) and all(isinstance(text, str) for text in found):
        return [str(text) for text in found]
    raise DataError(Problem(f"column {shown(column)} must be a list of {what}", str(row.place)))


def _index(row: Row, number: int) -> int | str:
    found = row.values.get("index", row.values.get("idx"))
    return found if isinstance(found, int | str) and not isinstance(found, bool) else number


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(Problem(f"the folder cannot be made: {error.strerror or error}", str(folder))) from error


def _write(path: Path, text: str, count: int) -> None:
    write_text(path, text)
    note(f"wrote {path}: {count:,} rows")
