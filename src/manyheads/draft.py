"""A commented recipe from data files: what `manyheads init` writes. Looks at a sample of rows and says what it guessed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manyheads.config.recipe import DataSpec
from manyheads.data.read import columns_of, read_rows
from manyheads.errors import DataError, Problem
from manyheads.types import Row

_SAMPLE = 2000  # rows that the guesses rest on
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "tag", "score", "y")
_TEXT_NAMES = ("text", "sentence", "sentence1", "premise", "question", "content", "review", "title")
_PAIR_NAMES = ("pair", "sentence2", "hypothesis", "answer", "passage", "text2")


@dataclass(frozen=True, slots=True)
class Guess:
    """One task guessed from a file. `notes` say why, and what to look at."""

    name: str
    type: str
    data: Mapping[str, str]
    notes: tuple[str, ...]


def draft(files: Sequence[Path], encoder: str, base: Path) -> str:
    """The text of a recipe with one task a file, paths relative to `base`. Raises DataError for what cannot be read."""
    guesses = [guess(file, base) for file in files]
    names = Counter(g.name for g in guesses)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataError(Problem("two files would give tasks of the same name; rename one", value=twice[0]))
    lines = [
        "# yaml-language-server: $schema=recipe.schema.json",
        "# Made by `manyheads init`. Every key and its default: docs/recipe.md, or `manyheads schema`.",
        "version: 1",
        "seed: 13",
        "",
        "modules:                     # the pool; a task's path names its modules",
        f"  encoder: {{type: pretrained, name: {_text(encoder)}, max_length: 128}}",
        "",
        "tasks:",
    ]
    for g in guesses:
        lines += [f"  {g.name}:{''.join(f'  # {n}' for n in g.notes[:1])}"]
        lines += [f"    # {note}" for note in g.notes[1:]]
        lines += [f"    type: {g.type}", "    path: [encoder]", "    data:"]
        lines += [f"      {key}: {value}" for key, value in g.data.items()]
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
    rows = read_rows(DataSpec(train=str(file.resolve()), bad_rows="skip"), "train", base).rows[:_SAMPLE]
    columns = columns_of(rows)
    path = _text(os.path.relpath(file, base))
    data = {"train": path, "split": "{dev: 0.1, test: 0.1}   # set aside from train; or name files: dev: …, test: …"}
    name = re.sub(r"[^A-Za-z0-9_]+", "_", file.name.split(".")[0]).strip("_") or "task"
    name = name if name[0].isalpha() else f"task_{name}"
    words = next((c for c in columns if isinstance(rows[0].values.get(c), list | tuple)), None)
    if words is not None:
        return _tagging(name, data, rows, columns, words)
    label = _column(columns, _LABEL_NAMES) or columns[-1]
    rest = [c for c in columns if c != label]
    if not rest:
        raise DataError(Problem("a text and a label column are wanted", str(file), ", ".join(columns)))
    text = _column(rest, _TEXT_NAMES) or max(rest, key=lambda c: _length(rows, c))
    pair = _column([c for c in rest if c != text], _PAIR_NAMES)
    data = {**data, "text": _text(text), **({"pair": _text(pair)} if pair else {}), "label": _text(label)}
    kind, note = _kind([row.values.get(label) for row in rows])
    return Guess(name, kind, data, (f"guessed from {len(rows)} rows with columns {', '.join(columns)}", note))


def _tagging(name: str, data: dict[str, str], rows: Sequence[Row], columns: Sequence[str], words: str) -> Guess:
    others = [c for c in columns if c != words and isinstance(rows[0].values.get(c), list | tuple)]
    tags = others[-1] if others else words
    found = {str(t) for row in rows for t in _list(row.values.get(tags))}
    scheme = "BIO" if any(t.startswith("B-") for t in found) and found <= _spelled(found, "BI") else "none"
    if any(t.startswith(("L-", "U-")) for t in found):
        scheme = "BIOUL"
    elif any(t.startswith(("E-", "S-")) for t in found):
        scheme = "IOBES"
    data = {**data, "words": _text(words), "label": _text(tags)}
    kind = "tagging" if scheme == "BIO" else f"tagging\n    scheme: {scheme}"
    return Guess(name, kind, data, (f"guessed from {len(rows)} sentences, {len(found)} tags, scheme {scheme}",))


def _spelled(tags: set[str], prefixes: str) -> set[str]:
    return {t for t in tags if t == "O" or (len(t) > 2 and t[0] in prefixes and t[1] == "-")}


def _kind(values: Sequence[object]) -> tuple[str, str]:
    known = [v for v in values if v not in (None, "")]
    different = len(set(map(str, known)))
    if any(isinstance(v, list | tuple) for v in known):
        return "multilabel", "the label column holds lists"
    if different > 20 and all(_is_number(v) for v in known):
        return "regression", f"{different} different numbers in the label column"
    note = f"{different} labels" if different <= 50 else f"{different} labels: is this a label column?"
    return "classification", note


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    folded = {c.casefold(): c for c in reversed(columns)}
    return next((folded[n] for n in names if n in folded), None)


def _length(rows: Sequence[Row], column: str) -> int:
    return sum(len(str(row.values.get(column) or "")) for row in rows)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _text(value: str) -> str:
    """`value` as YAML: bare where that is safe, else quoted."""
    if re.fullmatch(r"[A-Za-z_./-][\w./-]*", value) and value.lower() not in ("null", "true", "false"):
        return value
    return "'" + value.replace("'", "''") + "'"
