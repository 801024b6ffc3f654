"""The tasks of SuperGLUE (Wang et al., 2019) as their own jsonl files have them, told apart by their keys.

    task     a row        columns
    BoolQ    a line       as the file has them: question, passage
    CB       a line       as the file has them: premise, hypothesis
    WiC      a line       as the file has them: sentence1, sentence2, word, start1, …
    COPA     a line       premise, question (cause or effect), asked (the same as a sentence), choices
    WSC      a line       text, span1, span2, marked (the text with both spans marked)
    MultiRC  an answer    passage, question, answer, asked (question and answer), group (that all answers to a question share)
    ReCoRD   a query      passage, query, choices (the entities)

All have the `idx` of the file, and `label`, None where the file has none; of ReCoRD 1 for each right choice, 0 for others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source
from manyheads.data.readers.jsonl import read_jsonl
from manyheads.data.readers.nested import BrokenRule, want, want_objects
from manyheads.errors import listed, shown
from manyheads.types import Row, Value

Record: TypeAlias = Mapping[str, Any]
Values: TypeAlias = dict[str, Value]

_ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}
_HIGHLIGHT = re.compile(r"([.?!\"'])?\n@highlight\n")
_WORD = re.compile(r"\S+")


@READERS.register("superglue")
def read_superglue(source: Source, spec: DataSpec) -> Rows:
    """The rows of one task's file. A line of which one part is bad is a bad row as a whole."""
    found = read_jsonl(source, spec)
    rows: list[Row] = []
    bad = list(found.bad)
    for record in found.rows:
        try:
            rows += [Row(values, record.place) for values in _task(record.values)(record.values)]
        except BrokenRule as error:
            bad.append(BadRow(record.place, str(error), json.dumps(record.values, ensure_ascii=False)))
    return Rows(rows, tuple(sorted(bad, key=lambda row: row.place.line)), found.files)


def _task(record: Record) -> Callable[[Record], Iterator[Values]]:
    """What makes rows of the record, by the key that only its task has."""
    if isinstance(record.get("passage"), Mapping):
        return _record if "qas" in record else _multirc
    own = next((key for key in _TASKS if key in record), None)
    if own is None:
        raise BrokenRule(f"a line of SuperGLUE has one of the keys {listed(_TASKS)}")
    return _TASKS[own]


def _plain(*texts: str) -> Callable[[Record], Iterator[Values]]:
    """The record as it is, once `texts` are sure to be texts."""

    def rows(record: Record) -> Iterator[Values]:
        for key in texts:
            want(record, key, str)
        yield {**record, "label": record.get("label")}

    return rows


def _copa(record: Record) -> Iterator[Values]:
    question = want(record, "question", str)
    if question not in _ASKED:
        raise BrokenRule(f"the question must be {listed(_ASKED)}, not {shown(question)}")
    yield {
        "premise": want(record, "premise", str),
        "question": question,
        "asked": _ASKED[question],
        "choices": [want(record, "choice1", str), want(record, "choice2", str)],
        **_label(record),
    }


def _wsc(record: Record) -> Iterator[Values]:
    text, target = want(record, "text", str), want(record, "target", dict)
    marks: list[tuple[int, str]] = []
    for name, mark in (("span1", "*"), ("span2", "#")):
        start, stop = _span(text, want(target, f"{name}_text", str), want(target, f"{name}_index", int))
        marks += [(start, mark), (stop, mark)]
    marked = text
    for offset, mark in sorted(marks, reverse=True):
        marked = marked[:offset] + mark + marked[offset:]
    yield {"text": text, "span1": target["span1_text"], "span2": target["span2_text"], "marked": marked, **_label(record)}


def _span(text: str, span: str, index: int) -> tuple[int, int]:
    """Offsets of the span that begins with word `index`. Capitals, spaces and a final full stop may differ from the text's."""
    words = list(_WORD.finditer(text))
    if not 0 <= index < len(words):
        raise BrokenRule(f"the text has {len(words)} words, and {shown(span)} begins with word {index}")
    pattern = r"\s+".join(map(re.escape, span.rstrip(".").split()))
    found = re.compile(rf"[^\w\s]*?({pattern})(?!\w)", re.IGNORECASE).match(text, words[index].start())
    if not pattern or found is None:
        raise BrokenRule(f"{shown(span)} does not begin with word {index}, {shown(words[index][0])}")
    return found.span(1)


def _multirc(record: Record) -> Iterator[Values]:
    passage, number = want(record, "passage", dict), want(record, "idx", int)
    read = want(passage, "text", str)
    for question in want_objects(passage, "questions"):
        text, group = want(question, "question", str), f"{number}-{want(question, 'idx', int)}"
        for answer in want_objects(question, "answers"):
            told = want(answer, "text", str)
            both = {"question": text, "answer": told, "asked": f"{text} {told}"}
            yield {"passage": read, **both, "group": group, **_label(answer)}


def _record(record: Record) -> Iterator[Values]:
    passage = want(record, "passage", dict)
    text = want(passage, "text", str)
    choices = list(dict.fromkeys(_entity(text, entity) for entity in want_objects(passage, "entities")))
    text = _HIGHLIGHT.sub(lambda found: f"{found[1] or '.'} ", text)  # as T5 has it: a highlight is a sentence of its own
    for query in want_objects(record, "qas"):
        right = {want(answer, "text", str) for answer in want_objects(query, "answers")} if "answers" in query else None
        if unknown := sorted((right or set()) - set(choices)):
            raise BrokenRule(f"the answer {shown(unknown[0])} is no entity of the passage")
        label = None if right is None else [int(choice in right) for choice in choices]
        yield {"passage": text, "query": want(query, "query", str), "choices": choices, **_label({**query, "label": label})}


def _entity(text: str, entity: Record) -> str:
    """The text from `start` to `end`, which here is the offset of the last character."""
    start, end = want(entity, "start", int), want(entity, "end", int)
    if not 0 <= start <= end < len(text):
        raise BrokenRule(f"an entity from {start} to {end} does not stand in a passage of {len(text)} characters")
    return text[start : end + 1]


def _label(record: Record) -> Values:
    return {"label": record.get("label"), **({"idx": record["idx"]} if "idx" in record else {})}


_TASKS: Mapping[str, Callable[[Record], Iterator[Values]]] = {
    "choice1": _copa,
    "choice2": _copa,
    "target": _wsc,
    "word": _plain("sentence1", "sentence2", "word"),
    "hypothesis": _plain("premise", "hypothesis"),
    "passage": _plain("question", "passage"),
}
