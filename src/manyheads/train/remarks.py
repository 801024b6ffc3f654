"""What a user should hear of encoded rows: what is not read of them, and labels that no answer of the model can equal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast, get_args

import numpy as np
from torch import Tensor

from manyheads.data.dataset import TextDataset
from manyheads.errors import DataError, shown
from manyheads.task.base import TaskType
from manyheads.task.question_answering import QuestionAnswering
from manyheads.text.tags import Scheme, legal_moves
from manyheads.types import IGNORE

_ROWS = 512


def remarks(datasets: Iterable[TextDataset], types: Mapping[str, TaskType]) -> Iterator[str]:
    """Sentences about the rows of each data set; `types` are those of its tasks."""
    for data in datasets:
        yield from data.lost()
        for task in data.tasks:
            known = types[task]
            if known.scheme in get_args(Scheme):
                yield from _misread(data, task, known.labels, cast(Scheme, known.scheme))
            if isinstance(known, QuestionAnswering):
                yield from _unanswerable(data, task, known)


def _unanswerable(data: TextDataset, task: str, known: QuestionAnswering) -> Iterator[str]:
    """Rows whose answer the model never gives: one that is too long, and none where it always gives one."""
    if count := data.longer(task, known.longest):
        what = f"have an answer of more than {known.longest} pieces, and task {task} gives none; raise its `longest`"
        yield f"{data.name}: {data.share(count)} {what}"
    if not known.no_answer and (count := data.impossible(task)):
        what = f"have no answer, and task {task} always gives one; train it with `no_answer: true`"
        yield f"{data.name}: {data.share(count)} {what}"


def _misread(data: TextDataset, task: str, labels: tuple[str, ...], scheme: Scheme) -> Iterator[str]:
    """Rows whose tags break the scheme: spans that do are not seen, neither in training nor by scores."""
    rows = _tags(data, task)
    broken = [(row, at) for row, tags in rows.items() if (at := _break(tags, *_moves(labels, scheme))) is not None]
    if not broken:
        return
    row, at = broken[0]
    named = ["the row's begin", *(shown(labels[tag]) for tag in rows[row]), "the row's end"]
    example = f"the first: {data.place(row)}: {named[at + 1]} after {named[at]}"
    fit = [other for other in get_args(Scheme) if _fits(rows.values(), labels, other)]
    remedy = (
        f"all their tags fit {' and '.join(f'`scheme: {other}`' for other in fit)}" if fit else "no scheme fits all their tags"
    )
    yield f"{data.name}: {data.share(len(broken))} have tags of task {task} that break `scheme: {scheme}`; {example}; {remedy}"


def _tags(data: TextDataset, task: str) -> dict[int, np.ndarray]:
    """The numbers of the tags of each row that has some, those of words that were cut off as well."""
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(data), _ROWS):
        rows = range(start, min(start + _ROWS, len(data)))
        gold = cast(Tensor, data.gold(task, rows)).numpy()
        found |= {row: tags[tags != IGNORE] for row, tags in zip(rows, gold, strict=True)}
    return {row: tags for row, tags in found.items() if len(tags)}


def _moves(labels: tuple[str, ...], scheme: Scheme) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    between, first, last = legal_moves(labels, scheme)
    return np.array(between), np.array(first), np.array(last)


def _break(tags: np.ndarray, between: np.ndarray, first: np.ndarray, last: np.ndarray) -> int | None:
    """Where the first tag stands that may not follow the one before it; behind the tags where the last may not end them."""
    legal = np.concatenate(([first[tags[0]]], between[tags[:-1], tags[1:]], [last[tags[-1]]]))
    return None if legal.all() else int(legal.argmin())


def _fits(rows: Iterable[np.ndarray], labels: tuple[str, ...], scheme: Scheme) -> bool:
    """Whether all rows keep to a scheme, of which the labels need not be."""
    try:
        moves = _moves(labels, scheme)
    except DataError:
        return False
    return all(_break(tags, *moves) is None for tags in rows)
