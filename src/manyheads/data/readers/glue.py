"""The tasks of GLUE (Wang et al., 2018) as their own files have them, and SNLI; told apart by the names of file and folders.

Whatever the file calls them, a row has `index`, `text`, `label` and, where two texts are compared, `pair`. `index` counts
rows from 0 where the file has none. `label` is the text of the file, None where it has none or `-` (no agreement).

    task            header                     text, pair                 label
    CoLA            only in test               sentence                   0 1
    SST-2           yes                        sentence                   0 1
    MRPC            yes, of two forms          #1 String, #2 String       Quality: 0 1
    STS-B           yes, 10 columns            sentence1, sentence2       score: 0 to 5
    QQP             yes, test of two columns   question1, question2       is_duplicate: 0 1
    MNLI, SNLI      yes, or jsonl              sentence1, sentence2       gold_label: entailment neutral contradiction
    QNLI            yes                        question, sentence         entailment not_entailment
    RTE             yes                        sentence1, sentence2       entailment not_entailment
    WNLI            yes                        sentence1, sentence2       0 1
    AX              yes                        sentence1, sentence2       as MNLI, in diagnostic-full.tsv only

Quotes are characters: none of the files quotes. Further copies call the columns of MNLI premise, hypothesis and label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, Rows, Source, refuse_columns
from manyheads.data.readers.decode import lines, read_text
from manyheads.data.readers.delimited import read_tsv
from manyheads.data.readers.jsonl import read_jsonl
from manyheads.errors import DataError, Problem, RecipeError, listed, nearest
from manyheads.types import Row, Value

_TWO, _NLI = ("sentence1", "sentence2"), ("premise", "hypothesis")
_COLA = ["source", "label", "star", "sentence"]
_JSON = (".jsonl", ".ndjson")
_NONE = ("-", "")  # no gold label: annotators did not agree, or the test's is not told


@dataclass(frozen=True, slots=True)
class Layout:
    """How names tell a task, and the columns that its texts and its label have in its files, the first that are there."""

    named: re.Pattern[str]
    texts: Sequence[tuple[str, ...]]
    labels: Sequence[str] = ("label",)

    @property
    def paired(self) -> bool:
        return len(self.texts[0]) == 2


def _layout(named: str, *texts: tuple[str, ...], labels: Sequence[str] = ("label",)) -> Layout:
    return Layout(re.compile(rf"(?<![a-z0-9])({named})(?![a-z0-9])", re.IGNORECASE), texts, labels)


LAYOUTS: Mapping[str, Layout] = {
    "CoLA": _layout("cola", ("sentence",)),
    "SST-2": _layout("sst[-_]?2?", ("sentence",)),
    "MRPC": _layout("mrpc|msr[-_]paraphrase", ("#1 String", "#2 String"), labels=("Quality",)),
    "STS-B": _layout("sts[-_]?b", _TWO, labels=("score",)),
    "QQP": _layout("qqp", ("question1", "question2"), labels=("is_duplicate",)),
    "MNLI": _layout("mnli|multinli", _TWO, _NLI, labels=("gold_label", "label")),
    "SNLI": _layout("snli", _TWO, _NLI, labels=("gold_label", "label")),
    "QNLI": _layout("qnli", ("question", "sentence")),
    "RTE": _layout("rte", _TWO),
    "WNLI": _layout("wnli", _TWO),
    "AX": _layout("ax|diagnostic", _TWO, ("Premise", "Hypothesis"), labels=("label", "Label")),
}


@READERS.register("glue")
def read_glue(source: Source, spec: DataSpec) -> Rows:
    """The rows of one task's file. RecipeError where nothing tells the task, DataError for a file of another task."""
    refuse_columns(spec, "GLUE")
    task = task_of(source.name, spec.config)
    layout = LAYOUTS[task]
    found = _read(source, spec, task)
    if not found.rows:
        return found
    known = found.rows[0].values
    texts = next((names for names in layout.texts if set(names) <= known.keys()), None)
    if texts is None:
        rule = f"a file of {task} has the columns {listed(layout.texts[0])}; there are {listed(known)}"
        raise DataError(Problem(rule, source.name, remedy="if it is of another task, name that under `config`"))
    label = next((name for name in layout.labels if name in known), None)
    names = dict(zip(("text", "pair"), texts, strict=False))
    rows = [Row(_values(row.values, number, names, label), row.place) for number, row in enumerate(found.rows)]
    return Rows(rows, found.bad, found.files)


def task_of(name: str, config: str | None = None) -> str:
    """The task that `config` says, else the file's name, else the nearest folder that names one; RecipeError if none does."""
    if config is not None:
        task = next((task for task in LAYOUTS if task.casefold() == config.casefold()), None)
        if task is None:
            rule = f"`config` names no task of GLUE; there are {listed(LAYOUTS)}"
            raise RecipeError(Problem(rule, "config", config, nearest(config.upper(), LAYOUTS)))
        return task
    task = told(name)
    if task is None:
        remedy = f"name it under `config`: {', '.join(LAYOUTS)}"
        raise RecipeError(Problem("neither file nor folder tells which task of GLUE this is", name, remedy=remedy))
    return task


def told(name: str) -> str | None:
    """The task that the file's name, or a folder's, tells."""
    for part in reversed(PurePath(name).parts):
        if (task := next((task for task, layout in LAYOUTS.items() if layout.named.search(part)), None)) is not None:
            return task
    return None


def is_paired(name: str, config: str | None) -> bool:
    """Whether the rows have a `pair`; False where nothing tells the task, which reading refuses."""
    try:
        return LAYOUTS[task_of(name, config)].paired
    except RecipeError:
        return False


def _read(source: Source, spec: DataSpec, task: str) -> Rows:
    if PurePath(source.name).suffix.lower() in _JSON:
        return read_jsonl(source, spec)
    if task == "CoLA":
        first = next(iter(lines(read_text(source, spec.encoding)[0])), "")
        if "sentence" not in first.split("\t"):
            spec = spec.model_copy(update={"columns": _COLA})
    return read_tsv(source, spec)


def _values(values: Mapping[str, Value], number: int, names: Mapping[str, str], label: str | None) -> dict[str, Value]:
    given, gold = values.get("index", values.get("id")), values.get(label) if label is not None else None
    index = int(given) if isinstance(given, str) and given.isdecimal() else number
    found: dict[str, Value] = {"index": index, **{ours: values[theirs] for ours, theirs in names.items()}}
    return {**found, "label": None if isinstance(gold, str) and gold in _NONE else gold}
