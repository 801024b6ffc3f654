"""`manyheads predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from manyheads.cli.console import note, out, print_json, printable
from manyheads.errors import DataError, Problem, RecipeError
from manyheads.predict import Answer, Input, Predictor


def predict(artefact: Path, texts: Sequence[str], source: Path | None, tasks: Sequence[str] | None, as_json: bool) -> None:
    """Answers on standard output: readable for texts typed here, JSON lines for files and pipes."""
    if texts and source is not None:
        raise RecipeError(Problem("texts are given here and by --input; one of them is wanted", value=str(source)))
    predictor = Predictor.load(find_artefact(artefact))
    lines = as_json or not texts
    chunk = 1 if not texts and sys.stdin.isatty() else 512  # whoever types wants an answer a line
    for answer in predictor.stream(texts or _inputs(source), tasks, chunk):
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
        if sys.stdin.isatty():
            note("one text a line, end with Ctrl-D:")
        yield from _lines(sys.stdin.buffer, "standard input")
        return
    try:
        with source.open("rb") as file:
            yield from _lines(file, str(source), source.suffix in (".jsonl", ".ndjson"))
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", str(source))) from error


def _lines(file: BinaryIO, name: str, as_json: bool = False) -> Iterator[Input]:
    """Plain lines, or JSON objects where the file says so or its first line with text is one. Empty lines are no inputs."""
    first = True
    for number, raw in enumerate(file, 1):
        place = f"{name}:{number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(Problem(f"is not UTF-8 at byte {error.start + 1} of the line", place)) from error
        if line.strip():
            as_json, first = as_json or (first and line.startswith("{")), False
            yield _parsed(line, place) if as_json else line


def _parsed(line: str, place: str) -> Input:
    try:
        data: Any = json.loads(line)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(Problem("holds half of a character (a lone surrogate)", place, line)) from error
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(f"a JSON object is wanted: {error}", place, line)) from error
    match data:
        case {"text": str(text), "pair": str(pair)}:
            return (text, pair)
        case {"text": str(text)} if "pair" not in data:
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
