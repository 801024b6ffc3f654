"""A commented recipe from data files: what `manyheads init` writes, with the reasons for what it guessed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manyheads.config.spec.data import DataSpec
from manyheads.data.labels import label_text
from manyheads.data.read import columns_of, read_rows
from manyheads.errors import DataError, Problem, listed
from manyheads.types import Row

SCHEMA = "recipe.schema.json"  # beside the recipe
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "tag", "score", "y")
_TEXT_NAMES = ("text", "sentence", "sentence1", "premise", "question", "content", "review", "title")
_PAIR_NAMES = ("pair", "sentence2", "hypothesis", "answer", "passage", "text2")
_MOST = 50  # labels that are written out; a column with more of them may be no label column
_CLASSES = 20  # different whole numbers that may still be classes
_WIDTH = 100  # characters of a line of labels
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BARE = re.compile(r"[A-Za-z_][\w/-]*(\.\w+)*|(\.\./)*[A-Za-z_][\w./-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Guess:
    """One task guessed from a file: its lines of YAML under `data` and above it, and the reasons."""

    name: str
    type: str
    settings: tuple[str, ...]
    data: tuple[str, ...]
    notes: tuple[str, ...]


def draft(files: Sequence[Path], encoder: str, base: Path) -> str:
    """The text of a recipe with one task a file, paths relative to `base`. Raises DataError for what cannot be read."""
    guesses = [guess(file, base) for file in files]
    twice = [name for name, count in Counter(g.name for g in guesses).items() if count > 1]
    if twice:
        raise DataError(Problem("two files would give tasks of the same name; rename one", value=twice[0]))
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        "# Made by `manyheads init`. Every key and its default: docs/recipe.md, or `manyheads schema`.",
        "version: 1",
        "seed: 13",
        "",
        "modules:                     # the pool; a task's path names its modules",
        f"  encoder: {{type: pretrained, name: {_yaml(encoder)}, max_length: 128}}",
        "",
        "tasks:",
    ]
    for g in guesses:
        lines += [f"  # {note}" for note in g.notes]
        lines += [f"  {g.name}:", f"    type: {g.type}", "    path: [encoder]", *(f"    {line}" for line in g.settings)]
        lines += ["    data:", *(f"      {line}" for line in g.data)]
    lines += [
        "",
        "mixture: {sampling: temperature, temperature: 2}   # proportional, uniform, shares, round_robin, sequential",
        "",
        "training:",
        "  epochs: 3",
        "  batch: {tokens: 2048}      # padded pieces in a batch",
        "  optimizer: {name: adamw, lr: 5.0e-5}",
    ]
    return "\n".join(lines) + "\n"


def guess(file: Path, base: Path) -> Guess:
    """What task a file is for: by its format, its column names and the values of its label column."""
    read = read_rows(DataSpec(train=str(file.resolve()), bad_rows="skip"), "train", base)
    rows, columns = read.rows, columns_of(read.rows)
    data = [f"train: {_yaml(os.path.relpath(file, base))}"]
    if len(rows) >= 10:
        data += ["split: {dev: 0.1, test: 0.1}   # set aside from train; or name files: dev: …, test: …"]
    if read.bad:
        data += [f"bad_rows: skip               # {len(read.bad)} rows break a rule; `error` lists them"]
    name = re.sub(r"[^A-Za-z0-9_]+", "_", file.name.split(".")[0]).strip("_")[:60] or "task"
    name = name if name[0].isalpha() else f"task_{name}"
    lists = [c for c in columns if all(isinstance(row.values.get(c), list | tuple) for row in rows)]
    tags = next((c for c in lists[:0:-1] if _parallel(rows, lists[0], c)), None)
    if tags is not None:
        return _tagging(name, data, rows, lists[0], tags)
    return _labels(name, data, rows, columns, str(file))


def _yaml(value: str) -> str:
    """`value` as YAML: bare where that is safe, else quoted as in JSON, which YAML reads."""
    plain = _BARE.fullmatch(value) and value.lower() not in ("null", "true", "false")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _labels(name: str, data: list[str], rows: Sequence[Row], columns: Sequence[str], file: str) -> Guess:
    """A task with a label a row: a column of texts, perhaps one of second texts, a column of labels."""
    label = _column(columns, _LABEL_NAMES) or columns[-1]
    rest = [c for c in columns if c != label]
    if not rest:
        raise DataError(Problem("a text and a label column are wanted", file, listed(columns)))
    first = _column(rest, _TEXT_NAMES) or max(rest, key=lambda c: _length(rows, c))
    pair = _column([c for c in rest if c != first], _PAIR_NAMES)
    values = [row.values.get(label) for row in rows]
    data += [f"text: {_yaml(first)}", *([f"pair: {_yaml(pair)}"] if pair else []), f"label: {_yaml(label)}"]
    if "" in values:
        data += [f'missing: [""]                # {values.count("")} rows have no label']
    kind, names = _kind([v for v in values if v not in (None, "")])
    about = f"{len(names)} labels" if names else "numbers in the label column"
    if len(names) > _MOST:
        about += ": is this a label column?"
    note = f"Guessed from {len(rows)} rows with the columns {listed(columns)}: {about}."
    return Guess(name, kind, tuple(_written(names)), tuple(data), (note,))


def _tagging(name: str, data: list[str], rows: Sequence[Row], words: str, tags: str) -> Guess:
    names = sorted({str(tag) for row in rows for tag in _list(row.values.get(tags))})
    scheme = _scheme(names)
    settings = [*([] if scheme == "BIO" else [f"scheme: {scheme}"]), *_written(names)]
    note = f"Guessed from {len(rows)} sentences: {len(names)} tags, scheme {scheme}."
    return Guess(name, "tagging", tuple(settings), (*data, f"words: {_yaml(words)}", f"label: {_yaml(tags)}"), (note,))


def _scheme(tags: Iterable[str]) -> str:
    """How tags spell spans, by their first letters."""
    marked = [tag for tag in tags if tag != "O"]
    letters = {tag[0] for tag in marked}
    if not marked or not all(len(tag) > 2 and tag[1] == "-" for tag in marked):
        return "none"
    schemes = {"BIO": "BI", "BIOUL": "BIUL", "IOBES": "BIES"}
    return next((scheme for scheme, known in schemes.items() if letters <= set(known) and letters & set("BUS")), "none")


def _kind(values: Sequence[object]) -> tuple[str, list[str]]:
    """The type of a task with these labels, and their names where they have names."""
    if any(isinstance(v, list | tuple) for v in values):
        return "multilabel", sorted({_name(part) for v in values for part in _list(v)})
    if any(isinstance(v, str) and "|" in v for v in values):
        return "multilabel", sorted({part for v in values for part in str(v).split("|")} - {""})
    names = sorted({_name(v) for v in values})
    if values and all(_NUMBER.fullmatch(name) for name in names):
        whole = all(name.lstrip("+-").isdigit() for name in names)
        if not whole or len(names) > _CLASSES:
            return "regression", []
    return "classification", names


def _written(names: Sequence[str]) -> list[str]:
    """`labels: [...]`, over several lines where it is long; nothing where there are too many."""
    if not names or len(names) > _MOST:
        return []
    lines = ["labels: ["]
    for i, name in enumerate(names):
        part = _yaml(name) + (", " if i + 1 < len(names) else "]")
        if len(lines[-1]) + len(part) > _WIDTH:
            lines.append("  ")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _parallel(rows: Sequence[Row], words: str, tags: str) -> bool:
    """True when each row has as many tags as words, all of them texts."""
    pairs = [(_list(row.values.get(words)), _list(row.values.get(tags))) for row in rows]
    return all(len(w) == len(t) and all(isinstance(part, str) for part in (*w, *t)) for w, t in pairs)


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    folded = {c.casefold(): c for c in reversed(columns)}
    return next((folded[n] for n in names if n in folded), None)


def _length(rows: Sequence[Row], column: str) -> int:
    return sum(len(value) for row in rows if isinstance(value := row.values.get(column), str))


def _name(value: object) -> str:
    return (label_text(value) if isinstance(value, str | int | float) else None) or str(value)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
