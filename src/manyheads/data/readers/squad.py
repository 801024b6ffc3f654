"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016 and 2018): one JSON object of articles, their paragraphs, and questions on these.

A row a question: `id`, `title` (None where the file has none), `question`, `context`, `answers` (texts), `starts` (the offset
of each answer in `context`, in characters) and `impossible`. `plausible_answers` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source, refuse_columns
from manyheads.data.readers.decode import line_ends, read_text
from manyheads.data.readers.nested import BrokenRule, Nested, walk, want, want_objects
from manyheads.errors import shown
from manyheads.text.answers import misplaced
from manyheads.types import Place, Row, Value


@READERS.register("squad")
def read_squad(source: Source, spec: DataSpec) -> Rows:
    """A row a question, placed at the line on which it begins; rules name the question, for official files are one line.

    Bad rows: keys that are missing, an id that stood before, answers to what is impossible, and an answer that does not stand
    in the context at its offset, or begins or ends inside a character. DataError for what is no such file.
    """
    refuse_columns(spec, "SQuAD")
    text, fact = read_text(source, spec.encoding)
    if not text.strip():
        return Rows([], (), (fact,))
    rows: list[Row] = []
    bad: list[BadRow] = []
    known: set[Value] = set()
    line, counted = 1, 0
    for around in _questions(walk(text, source.name, ("data", "paragraphs", "qas"))):
        question = around[-1]
        line, counted = line + line_ends(text, counted, question.start), question.start
        place = Place(source.name, line)
        try:
            values = _values(around, known)
            known.add(values["id"])
            rows.append(Row(values, place))
        except BrokenRule as error:
            bad.append(BadRow(place, f"question {_id(question)}: {error}", text[question.start : question.stop]))
    return Rows(rows, tuple(bad), (fact,))


def _questions(file: Nested) -> Iterator[tuple[Nested, ...]]:
    """Each question with what is around it: file, article, paragraph, question."""
    for article in file.values["data"]:
        for paragraph in article.values["paragraphs"]:
            for question in paragraph.values["qas"]:
                yield file, article, paragraph, question


def _values(around: tuple[Nested, ...], known: set[Value]) -> dict[str, Value]:
    for part in around:
        if part.faults:
            raise BrokenRule(part.faults[0])
    _, article, paragraph, question = (part.values for part in around)
    context = want(paragraph, "context", str)
    answers = [(want(answer, "text", str), want(answer, "answer_start", int)) for answer in want_objects(question, "answers")]
    impossible = want(question, "is_impossible", bool) if "is_impossible" in question else False
    if impossible and answers:
        raise BrokenRule("it is said to be impossible, and has answers")
    for answer, start in answers:
        if rule := misplaced(answer, start, context):
            raise BrokenRule(rule)
    if (name := want(question, "id", str)) in known:
        raise BrokenRule("an earlier question has the same id")
    return {
        "id": name,
        "title": want(article, "title", str) if "title" in article else None,
        "question": want(question, "question", str),
        "context": context,
        "answers": [answer for answer, _ in answers],
        "starts": [start for _, start in answers],
        "impossible": impossible,
    }


def _id(question: Nested) -> str:
    name = question.values.get("id")
    return shown(name) if isinstance(name, str) else "without an id"
