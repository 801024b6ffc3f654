"""A saved model scored again, on the rows that its recipe set aside or on other files, with the labels it was saved with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from manyheads.artefact import DATA, LABELS, RESOLVED, Artefact, reading
from manyheads.config.load import Loaded
from manyheads.config.spec.data import DataSpec
from manyheads.data.cache import Cache
from manyheads.data.dataset import TextDataset
from manyheads.data.label_column import require_column
from manyheads.data.labels import CORRECT
from manyheads.data.read import Split, read_rows, reread
from manyheads.data.readers.glue import told
from manyheads.data.targets import KnownTarget, target_from_json
from manyheads.errors import ArtefactError, DataError, Problem, RecipeError, listed, nearest, shown
from manyheads.folder import read_json
from manyheads.prepare import Prepared, Source, encoded, groups_of, origin, read_splits, sifted, sources
from manyheads.train.engine import Engine
from manyheads.train.evaluate import evaluate
from manyheads.train.remarks import remarks
from manyheads.types import Record, Row


def rescore(artefact: Artefact, loaded: Loaded) -> tuple[list[Record], list[str]]:
    """Records on the dev and test rows of the model's recipe, and sentences about what was not scored or not read of them.

    `loaded` is the artefact's own resolved.yaml. A data set whose files are not those of the training is not at hand:
    other rows would be set aside, and the model may have been trained on them. Raises DataError when nothing is scored,
    ArtefactError where the files of the artefact do not fit together.
    """
    _check_tasks(artefact, loaded)
    records: list[Record] = []
    told: list[str] = []
    missed: list[Problem] = []
    for source in sources(loaded.recipe):
        try:
            rows = held_out(artefact, loaded, source)
        except DataError as error:
            missed += error.problems
            continue
        found, of_rows = _records(artefact, loaded, source, list(source.tasks), rows)
        told += of_rows
        scored = {(r.task, r.split) for r in found}
        bare = [(task, split) for split in rows for task in source.tasks if (task, split) not in scored]
        missed += [Problem(f"task {task}: no {split} row has a label") for task, split in bare]
        records += found
    if not records:
        remedy = "name files with labels that the model was not trained on: --data task=file"
        rule = "no data set of the recipe has dev or test rows with labels, as they were in training"
        raise DataError(*missed, Problem(rule, remedy=remedy))
    return records, [*(f"left out: {problem}" for problem in missed), *told]


def held_out(artefact: Artefact, loaded: Loaded, source: Source) -> dict[Split, list[Row]]:
    """The dev and test rows of a data set of the model's recipe, in the order of the files.

    Raises DataError for files that cannot be read, or are not those of the training.
    """
    base = loaded.path.parent if loaded.path else Path()
    rows, read = read_splits(source.spec, base, loaded.recipe.seed, held_out=True)
    now = origin(source.name, read)
    with reading(artefact.folder / DATA):
        noted = _entry(artefact.folder / DATA, source.name)
        then = {split: [[name, digest] for name, digest in noted[split]] for split in now}
    _check_same(source.name, then, now)
    return rows


def rescore_file(
    artefact: Artefact, loaded: Loaded, task: str, file: str, format_: str | None = None
) -> tuple[list[Record], list[str]]:
    """Records of one task on a file that has the columns of its training data, and sentences about what was not read of it.

    The split is called like the file, which `format_` says how to read (`manyheads.data.read.reread`).

    Raises DataError for a file without a label of the task, ArtefactError as `rescore`.
    """
    _check_tasks(artefact, loaded)
    if task not in artefact.model.tasks:
        known = list(artefact.model.tasks)
        rule = f"the model has no such task (there are: {listed(known)})"
        raise RecipeError(Problem(rule, "--data", task, nearest(task, known)))
    source = next(s for s in sources(loaded.recipe) if task in s.tasks)
    inputs = source.inputs  # the columns stay those of the training, whatever another format would have by itself
    changed: dict[str, object] = {key: getattr(inputs, key) for key in ("text", "pair", "words", "choices")}
    if source.spec.format == "glue":
        changed["config"] = None if told(file) else source.spec.config or told(_first(source.spec))
    changed |= {"test": file, "train": None, "dev": None, "split": {}, **reread(source.spec, file, format_)}
    spec = source.spec.model_copy(update=changed)
    base = loaded.path.parent if loaded.path and spec.format == "hub" else Path()  # of which `file` is a split
    rows: dict[Split, list[Row]] = {"test": read_rows(spec, "test", base).rows}
    try:
        found, lost = _records(artefact, loaded, Source(source.name, spec, source.tasks), [task], rows)
    except DataError as error:
        labels = listed(artefact.model.tasks[task].type.labels)
        remedy = f"the model answers with {labels} and no others: correct the row, or score a file without it"
        raise DataError(*(replace(p, remedy=remedy) if p.remedy == CORRECT else p for p in error.problems)) from error
    if not found:
        column = _targets(artefact, [task])[task].column
        require_column(rows["test"], column, f"task {task}")
        raise DataError(Problem(f"task {task}: no row has a label in column {shown(column)}", file))
    return [Record(r.step, r.task, r.dataset, PurePath(file).name, r.metric, r.value) for r in found], lost


def _check_same(dataset: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """DataError for each file that is not, by name and sha256, the one that the model was trained beside."""
    problems = []
    for split, files in now.items():
        if files != then[split]:
            changed = [f"{name} {digest[:12]}" for name, digest in files if [name, digest] not in then[split]]
            before = [f"{name} {digest[:12]}" for name, digest in then[split] if [name, digest] not in files]
            told = f"{', '.join(before) or 'in another order'} then, {', '.join(changed) or 'none of them'} now"
            rule = f"the {split} files have changed since the training (sha256: {told}), so its rows cannot be told apart"
            problems.append(Problem(rule, f"data set {dataset}"))
    if problems:
        raise DataError(*problems)


def _records(
    artefact: Artefact, loaded: Loaded, source: Source, tasks: Sequence[str], rows: Mapping[Split, list[Row]]
) -> tuple[list[Record], list[str]]:
    """Scores, and sentences about rows that were left out or did not fit."""
    targets = _targets(artefact, tasks)
    trunk = artefact.blueprint.reader(tasks[0])
    good, bad = sifted(source, rows, targets, groups_of(source, targets).values())
    prepared = Prepared(source, good, targets, {})
    tokenizer = artefact.tokenizers[trunk]
    tokenizer = tokenizer.bounded() if source.bounded else tokenizer
    datasets: Mapping[Split, TextDataset] = encoded(prepared, tokenizer, artefact.blueprint.longest(tasks[0]), Cache())
    engine = Engine(loaded.recipe.training)
    told = [*prepared.blank, *remarks(datasets.values(), {task: artefact.model.tasks[task].type for task in tasks})]
    if bad:
        told.append(f"{source.name}: {len(bad)} bad rows are left out; the first: {bad[0].place}: {bad[0].rule}")
    return evaluate(artefact.model.to(engine.device), datasets.values(), engine=engine), told


def _targets(artefact: Artefact, tasks: Sequence[str]) -> dict[str, KnownTarget]:
    """How the labels of tasks are read: the very labels, in their order, that the model answers with."""
    file = artefact.folder / LABELS
    with reading(file):
        targets = {task: target_from_json(_entry(file, task)) for task in tasks}
    for task, target in targets.items():
        known = getattr(target, "labels", None)
        names = list(known.names) if known else []
        answers = list(artefact.blueprint.tasks[task].options.get("labels", []))
        if names != answers:
            rule = f"task {task} has the labels {listed(names)}, and the model {listed(answers)}"
            raise ArtefactError(Problem(rule, str(file)))
    return targets


def _check_tasks(artefact: Artefact, loaded: Loaded) -> None:
    """ArtefactError where the saved recipe is that of another model."""
    told, there = list(loaded.recipe.tasks), list(artefact.model.tasks)
    if set(told) != set(there):
        rule = f"has the tasks {listed(told)}, and the model {listed(there)}"
        raise ArtefactError(Problem(rule, str(artefact.folder / RESOLVED)))


def _entry(file: Path, name: str) -> Any:
    """What a JSON file of the artefact says about one name."""
    data = read_json(file)
    if not isinstance(data, dict) or name not in data:
        raise ArtefactError(Problem(f"has no entry {shown(name)}", str(file)))
    return data[name]


def _first(spec: DataSpec) -> str:
    """The first training file."""
    return spec.train if isinstance(spec.train, str) else (spec.train or [""])[0]
