"""`manyheads predict`."""

from __future__ import annotations

import json
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from manyheads.cli.console import note, out, print_json, printable, warn
from manyheads.cli.streams import unread
from manyheads.data.labels import kind_of
from manyheads.errors import DataError, Problem, RecipeError, listed
from manyheads.inputs import Input
from manyheads.predict import Answer, Predictor


@dataclass(frozen=True, slots=True)
class Line:
    """An input, the place where it stands, and what its answer repeats: its `id`, if it has one."""

    input: Input
    place: str = ""
    repeated: Mapping[str, Any] = field(default_factory=dict)


def predict(artefact: Path, texts: Sequence[str], source: Path | None, tasks: Sequence[str] | None, as_json: bool) -> None:
    """Answers on standard output: readable for texts typed here, JSON lines for files and pipes."""
    lines = lines_of(texts, source)
    predictor = Predictor.load(find_artefact(artefact))
    chunk = 1 if not texts and sys.stdin.isatty() else 512  # whoever types wants an answer a line
    for line, answer in _answered(predictor, lines, tasks, chunk):
        if texts and not as_json:
            _show(answer)
        else:
            print_json({**line.repeated, **answer.to_json()})
        if unread():
            return


def _answered(
    predictor: Predictor, lines: Iterable[Line], tasks: Sequence[str] | None, chunk: int
) -> Iterator[tuple[Line, Answer]]:
    """Each line with its answer. A line that no asked task can read is a DataError with its place."""
    waiting: deque[Line] = deque()

    def inputs() -> Iterator[Input]:
        for line in lines:
            waiting.append(line)
            yield line.input

    try:
        for answer in predictor.stream(inputs(), tasks, chunk):
            yield waiting.popleft(), answer
    except RecipeError as error:
        if not waiting or not waiting[0].place:
            raise
        raise DataError(*(replace(p, place=waiting[0].place) for p in error.problems)) from error


def find_artefact(path: Path) -> Path:
    """The artefact itself, or the one inside a run's folder."""
    inner = path / "artefact"
    return inner if not (path / "manifest.json").exists() and inner.is_dir() else path


def lines_of(texts: Sequence[str], source: Path | None) -> Iterable[Line]:
    """Texts as they were typed, or the inputs of a file; None is standard input. RecipeError where both are given."""
    if texts and source is not None:
        raise RecipeError(Problem("texts are given here and by --input; one of them is wanted", value=str(source)))
    return [Line(text) for text in texts] if texts else _inputs(source)


def _inputs(source: Path | None) -> Iterator[Line]:
    if source is None or str(source) == "-":
        if sys.stdin.isatty():
            note("one text a line, end with Ctrl-D:")
        yield from _lines(sys.stdin.buffer, "standard input")
        return
    try:
        with source.open("rb") as file:
            yield from _lines(file, str(source), source.suffix.lower() in (".jsonl", ".ndjson"))
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", str(source))) from error


def _lines(file: BinaryIO, name: str, as_json: bool = False) -> Iterator[Line]:
    """Every line as a text; or JSON objects, where the file says so or its first line that is not empty is one.

    An empty line is a text like any other, so that answers keep step with lines; between JSON objects it is nothing.
    """
    begin = [] if as_json else _up_to_text(file)
    as_json = as_json or (bool(begin) and _is_object(begin[-1]))
    for number, raw in enumerate(chain(begin, file), 1):
        place = f"{name}:{number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(Problem(f"is not UTF-8 at byte {error.start + 1} of the line", place)) from error
        if not as_json:
            yield Line(line, place)
        elif line.strip():
            yield _parsed(line, place)


def _up_to_text(file: BinaryIO) -> list[bytes]:
    """The first lines, down to one that is not empty."""
    begin = []
    for raw in file:
        begin.append(raw)
        if raw.strip():
            break
    return begin


def _is_object(raw: bytes) -> bool:
    try:
        text = raw.decode("utf-8-sig").strip()
        return isinstance(json.loads(text), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    except (ValueError, RecursionError):  # too many digits or brackets for Python, but JSON as far as it was read
        return text.startswith("{")


def _parsed(line: str, place: str) -> Line:
    try:
        data: Any = json.loads(line)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(Problem("holds half of a character (a lone surrogate)", place, line)) from error
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(";")[0]  # Python goes on to advise on a setting of its own
        raise DataError(Problem(f"a JSON object is wanted: {reason}", place, line)) from error
    match data:
        case {"text": str(text), "choices": list(choices)} if isinstance(data.get("pair", ""), str) and _several(choices):
            between = (data["pair"],) if "pair" in data else ()
            return Line((text, *between, choices), place, _repeated(data, place))
        case {"text": str(text), "pair": str(pair)} if "choices" not in data:
            return Line((text, pair), place, _repeated(data, place))
        case {"question": str(text), "context": str(pair)}:
            return Line((text, pair), place, _repeated(data, place))
        case {"text": str(text)} if "pair" not in data and "choices" not in data:
            return Line(text, place, _repeated(data, place))
        case {"words": list(words)} if all(isinstance(w, str) for w in words):
            return Line(words, place, _repeated(data, place))
    wanted = "text, with text and pair, with a list of words, with question and context, or with text and two or more choices"
    raise DataError(Problem(f"an object with {wanted} is wanted{_amiss(data)}", place, line))


def _amiss(data: Any) -> str:
    """What keeps an object from being an input, where it has one of the keys."""
    if not isinstance(data, dict):
        return f", and this is {kind_of(data)}"
    for key in ("text", "pair", "question", "context"):
        if key in data and not isinstance(data[key], str):
            return f"; `{key}` is {kind_of(data[key])}"
    for one, other in (("question", "context"), ("context", "question"), ("pair", "text"), ("choices", "text")):
        if one in data and other not in data:
            return f"; `{one}` is there without `{other}`"
    if isinstance(choices := data.get("choices"), list) and len(choices) < 2:
        return "; `choices` has one choice" if choices else "; `choices` is empty"
    for key in ("choices", "words"):
        if key in data:
            return f"; `{key}` is not a list of texts"
    return f"; this one has {listed(data)}"


def _several(choices: list[Any]) -> bool:
    return len(choices) > 1 and all(isinstance(choice, str) for choice in choices)


def _repeated(data: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The `id` of an object; null is none."""
    found = data.get("id")
    if found is None:
        return {}
    text_or_whole = isinstance(found, str | int) and not isinstance(found, bool)
    if text_or_whole or (isinstance(found, float) and math.isfinite(found)):
        return {"id": found}
    raise DataError(Problem("`id` must be a text or a number", place, repr(found)))


def _show(answer: Answer) -> None:
    out.print(printable(str(answer.input)), style="bold")
    if answer.cut:
        warn(f"the text is longer than the encoder reads; {answer.cut} pieces at its end are not read")
    for task, found in answer.to_json()["tasks"].items():
        out.print(f"  {printable(task)}: {_summary(found) or _tags(answer, found['tags'])}")


def _tags(answer: Answer, tags: list[str]) -> str:
    """The words with their tags, where these spell no spans; none where all are outside of any."""
    if set(tags) <= {"O"}:
        return "none"
    given = answer.input
    told = [given[a:b] for a, b in answer.words] if isinstance(given, str) else map(str, given)
    return " ".join(f"{printable(word)}/{printable(tag)}" for word, tag in zip(told, tags, strict=False))


def _summary(found: dict[str, Any]) -> str:
    """The answer in a line; empty for tags that spell no span."""
    if "value" in found:
        return f"{found['value']:.3f}"
    if "label" in found:
        return f"{printable(found['label'])} ({found['probabilities'][found['label']]:.2f})"
    if "choice" in found:
        return f"{printable(found['text'])} ({found['probabilities'][found['choice']]:.2f})"
    if "ranking" in found:
        return f"{printable(found['text'])} ({found['scores'][0]:.2f})"
    if "words" in found:
        return (
            ", ".join(f"{printable(word)} ({p:.2f})" for word, p in (next(iter(w.items())) for w in found["words"])) or "none"
        )
    if "answer" in found:
        return f"{printable(found['answer']) or 'no answer'} ({found['probability']:.2f})"
    if "labels" in found:
        return ", ".join(map(printable, found["labels"])) or "none"
    if "spans" not in found:
        return ", ".join(f"{measure} {value:.3f}" for measure, value in found.items())
    return ", ".join(f"{printable(s['text'])} [{printable(s['label'])}]" for s in found["spans"])
