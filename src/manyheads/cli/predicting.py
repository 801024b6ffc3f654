"""`manyheads predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from manyheads.cli.console import out, print_json, printable
from manyheads.errors import DataError, Problem
from manyheads.predict import Answer, Input, Predictor


def predict(artefact: Path, texts: Sequence[str], source: Path | None, tasks: Sequence[str] | None, as_json: bool) -> None:
    """Answers on standard output: readable for texts typed here, JSON lines for files and pipes."""
    predictor = Predictor.load(find_artefact(artefact))
    lines = as_json or not texts
    for answer in predictor.stream(texts or _inputs(source), tasks):
        if lines:
            print_json(answer.to_json())
        else:
            _show(answer)


def find_artefact(path: Path) -> Path:
    """The artefact itself, or the one inside a run's folder."""
    inner = path / "artefact"
    return inner if not (path / "manifest.json").exists() and inner.is_dir() else path


def _inputs(source: Path | None) -> Iterator[Input]:
    if source is None or str(source) == "-":
        yield from _lines(sys.stdin, "standard input", sys.stdin.isatty())
        return
    try:
        with source.open(encoding="utf-8-sig", newline="\n") as file:
            yield from _lines(file, str(source), False, source.suffix == ".jsonl")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(Problem(f"cannot be read: {error}", str(source))) from error


def _lines(file: TextIO, name: str, typed: bool, as_json: bool = False) -> Iterator[Input]:
    """Plain lines, or JSON objects where the file says so or its first line is one."""
    if typed:
        print("one text a line, end with Ctrl-D:", file=sys.stderr)
    for number, raw in enumerate(file, 1):
        line = raw.rstrip("\r\n")
        if number == 1:
            as_json = as_json or line.startswith("{")
        if line.strip():
            yield _parsed(line, f"{name}:{number}") if as_json else line


def _parsed(line: str, place: str) -> Input:
    try:
        data: Any = json.loads(line)
    except ValueError as error:
        raise DataError(Problem(f"a JSON object is wanted: {error}", place, line)) from error
    match data:
        case {"text": str(text), "pair": str(pair)}:
            return (text, pair)
        case {"text": str(text)}:
            return text
        case {"words": list(words)} if all(isinstance(w, str) for w in words):
            return words
    raise DataError(Problem("an object with text, with text and pair, or with a list of words is wanted", place, line))


def _show(answer: Answer) -> None:
    out.print(printable(str(answer.input)), style="bold")
    for task, found in answer.to_json()["tasks"].items():
        out.print(f"  {printable(task)}: {_summary(found)}")


def _summary(found: dict[str, Any]) -> str:
    if "value" in found:
        return f"{found['value']:.3f}"
    if "label" in found:
        return f"{printable(found['label'])} ({found['probabilities'][found['label']]:.2f})"
    if "labels" in found:
        return ", ".join(map(printable, found["labels"])) or "none"
    return ", ".join(f"{printable(s['text'])} [{printable(s['label'])}]" for s in found["spans"]) or "none"
