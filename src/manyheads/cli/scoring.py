"""`manyheads evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

from manyheads.api import load_recipe
from manyheads.artefact import RECORDS, RESOLVED, Artefact, load_artefact, reading, require_plugins
from manyheads.cli.console import print_json, warn
from manyheads.cli.predicting import find_artefact
from manyheads.cli.predictions import answered, write_glue, write_predictions
from manyheads.cli.training import print_scores, values_of
from manyheads.config.load import Loaded
from manyheads.data.read import READERS
from manyheads.errors import DataError, Problem, RecipeError
from manyheads.journal import Journal
from manyheads.metrics import METRICS, SELECTIONS
from manyheads.rescore import rescore, rescore_file
from manyheads.train.baseline import SUFFIX
from manyheads.types import Record


def evaluate(artefact: Path, data: Sequence[str], predictions: Path | None, glue: Path | None, as_json: bool) -> None:
    """Score on the rows that the recipe set aside, or on the files of `data`, each `task=file` or `task:format=file`.

    `predictions` and `glue` are folders for what the model answers to the rows that were set aside.
    """
    wanted = _wanted(data)
    option = "--predictions" if predictions else "--glue"
    if wanted and (predictions or glue):
        raise RecipeError(Problem(f"--data and {option} exclude each other: predictions are of the recipe's own rows", option))
    found = load_artefact(find_artefact(artefact))
    require_plugins(found.folder, METRICS, SELECTIONS, READERS)
    with reading(found.folder / RESOLVED):
        loaded = load_recipe(found.folder / RESOLVED)
    wrote = (predictions or glue) and _write_answers(found, loaded, predictions, glue)
    try:
        records = _on_files(found, loaded, wanted) if wanted else _set_aside(found, loaded)
    except DataError as error:
        if not wrote:
            raise
        warn(f"nothing is scored: {error}")  # the answers were all that was wanted of rows without labels
        records = []
    scores = [r for r in records if r.metric != "loss"]
    if as_json:
        print_json({"artefact": str(found.folder), "scores": values_of(scores)})
    else:
        print_scores(scores, f"Scores of {found.folder}")


def _write_answers(found: Artefact, loaded: Loaded, predictions: Path | None, glue: Path | None) -> bool:
    """Whether there were rows to answer."""
    parts = list(answered(found, loaded))
    if predictions and parts:
        write_predictions(parts, predictions)
    if glue:
        write_glue(parts, glue)
    return bool(parts)


def _set_aside(found: Artefact, loaded: Loaded) -> list[Record]:
    """The scores, and the baselines that training left for them."""
    records, told = rescore(found, loaded)
    for text in told:
        warn(text)
    scored = {(r.task, r.dataset, r.split) for r in records}
    saved = Journal(found.folder / RECORDS).read()
    return [*records, *(r for r in saved if r.metric.endswith(SUFFIX) and (r.task, r.dataset, r.split) in scored)]


def _on_files(found: Artefact, loaded: Loaded, wanted: Sequence[Wanted]) -> list[Record]:
    """The scores on files. Those of one task that have one name are told apart by their paths, as they were typed."""
    names = Counter((task, PurePath(file).name) for task, file, _ in wanted)
    records: list[Record] = []
    for task, file, format_ in wanted:
        scores, told = rescore_file(found, loaded, task, file, format_)
        for text in told:
            warn(f"{file}: {text}")
        records += scores if names[task, PurePath(file).name] == 1 else [replace(r, split=file) for r in scores]
    return records


class Wanted(NamedTuple):
    """A task, a file with rows of it, and the file's format where it is said."""

    task: str
    file: str
    format: str | None


def _wanted(data: Sequence[str]) -> list[Wanted]:
    """Tasks with their files. RecipeError for what is none, or is named twice."""
    twice = [text for text, count in Counter(data).items() if count > 1]
    if twice:
        raise RecipeError(*(Problem("the same task and file are named twice", "--data", text) for text in twice))
    return [_one(text) for text in data]


def _one(text: str) -> Wanted:
    told, _, file = text.partition("=")
    task, said, format_ = told.partition(":")
    if not (task and file and bool(said) == bool(format_)):
        raise RecipeError(Problem("--data wants task=file, or task:format=file", value=text))
    return Wanted(task, file, format_ or None)
