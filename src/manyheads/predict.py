"""Answers of all tasks for a text, from one pass through the encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from manyheads.artefact import Artefact, load_artefact
from manyheads.data.encode import windows_of, with_choices
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.task.base import Prediction, Reading
from manyheads.text.tokenize import Pieces, Tokenizer
from manyheads.text.words import first_pieces, words
from manyheads.types import LETTERS, Batch, Output, Tokens

Choices: TypeAlias = tuple[str, list[str]] | tuple[str, str, list[str]]
Input: TypeAlias = str | tuple[str, str] | list[str] | Choices
"""A text; a pair of texts, or a question and the text to find its answer in; a sentence as words; a text and its choices, and
perhaps a text between them, which is read in front of each choice."""

_TOKENS = 4096  # padded pieces in a batch
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What all asked tasks say about one input.

    predictions  task name to its prediction
    words        for tasks that tag: characters (from, to) of each word of a text; empty for other inputs
    cut          pieces of the input that did not fit the encoder and were not read; the most of all ways in which tasks read it
    """

    input: Input
    predictions: Mapping[str, Prediction]
    words: tuple[tuple[int, int], ...] = ()
    cut: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values: a label with probabilities, a number, labels, tags with spans, a choice, an order, an answer."""
        data: dict[str, Any] = {"input": self.input, "tasks": {t: self._task(p) for t, p in self.predictions.items()}}
        return {**data, "cut": self.cut} if self.cut else data

    def _task(self, prediction: Prediction) -> dict[str, Any]:
        value, found = prediction.value, prediction.found
        if prediction.guesses is not None:
            return {"words": [dict(guesses) for guesses in prediction.guesses]}
        if isinstance(value, float):
            return {prediction.measure: value}
        if found is not None:
            return {"answer": value, "start": found.start, "stop": found.stop, "probability": found.probability}
        probabilities = dict(prediction.probabilities)
        if prediction.ranking:
            return {"ranking": list(prediction.ranking), "scores": list(prediction.scores), "text": value[0]}
        if prediction.index is not None:
            return {"choice": prediction.index, "text": value, "probabilities": list(probabilities.values())}
        if isinstance(value, str):
            return {"label": value, "probabilities": probabilities}
        if probabilities:
            return {"labels": list(value), "probabilities": probabilities}
        return {"tags": list(value), "spans": [self._span(s.label, s.start, s.stop) for s in prediction.spans]}

    def _span(self, label: str, start: int, stop: int) -> dict[str, Any]:
        """Characters of a text, or words of a sentence that came as words; `stop` is the first one after the span."""
        if isinstance(self.input, str):
            first, last = self.words[start][0], self.words[stop - 1][1]
            return {"label": label, "start": first, "stop": last, "text": self.input[first:last]}
        return {"label": label, "start": start, "stop": stop, "text": " ".join(_texts(self.input)[start:stop])}


@dataclass(frozen=True, slots=True)
class _Read:
    """One input as the pieces of its sequences, the positions of the words of each, and what an answer has to know of it."""

    place: int
    sequences: tuple[Pieces, ...]
    firsts: tuple[tuple[int, ...], ...]
    reading: Reading
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def cut(self) -> int:
        return sum(pieces.cut for pieces in self.sequences)

    @property
    def longest(self) -> int:
        return max(len(pieces.ids) for pieces in self.sequences)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tasks that read alike have in common.

    reader  the module that they begin with
    reads   single (texts, words), pair, choices, towers or windows, which share `stride` pieces; `bounded` texts stand between
            marks of their begin and end
    """

    reader: str
    reads: str
    stride: int | None = None
    bounded: bool = False

    def fits(self, value: Input) -> bool:
        return self.reads in _READABLE[_shape(value)]


class Predictor:
    """A loaded artefact that answers.

    >>> predictor = Predictor.load("runs/quickstart/artefact")          # doctest: +SKIP
    >>> predictor(["Apple opens a shop in Paris"])[0].predictions       # doctest: +SKIP
    """

    def __init__(self, artefact: Artefact, device: torch.device | str = "cpu") -> None:
        self.model = artefact.model.to(device).eval()
        self.device = torch.device(device)
        self._artefact = artefact
        self._readers = {name: _reader(artefact, artefact.blueprint.reader(name)) for name in artefact.blueprint.tasks}

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Predictor:
        """The predictor in an artefact's folder. Raises ArtefactError."""
        return cls(load_artefact(folder), device)

    @property
    def tasks(self) -> dict[str, str]:
        """Task name to what it reads: text, pair, words, choices, towers (two texts, each by itself), or windows.

        Windows are those on the text in which a question's answer is to be found.
        """
        return {name: plan.reads for name, plan in self._artefact.blueprint.tasks.items()}

    def __call__(self, inputs: Sequence[Input], tasks: Sequence[str] | None = None, tokens: int = _TOKENS) -> list[Answer]:
        """One answer an input, in order. A task is asked what it can read: pair tasks pairs, others texts and words.

        All tasks of one encoder that read alike share one pass a batch of at most `tokens` padded pieces. Raises RecipeError
        for an unknown task, for a text by itself, for what is no input, and for an input that no asked task can read.
        """
        asked = self._asked(tasks)
        _require_several(inputs)
        for number, value in enumerate(inputs):
            self._check(number, value, asked)
        return self._answers(inputs, asked, tokens)

    def embed(self, texts: Sequence[str], task: str | None = None, tokens: int = _TOKENS) -> np.ndarray:
        """(N, D) float32: the vectors of texts, in their order, in which the path of a `matching` task ends.

        The cosine of two of them is what the task answers for the pair. `task` may be left out where the model has one such
        task alone. Raises RecipeError for another task, and for what is no text.
        """
        name = self._embedding(task)
        _require_several(texts)
        for number, text in enumerate(texts):
            _require_input(number, text)
            if not isinstance(text, str):
                raise RecipeError(
                    Problem(f"input {number} must be a text; vectors are those of single texts", value=repr(text))
                )
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(texts)
        read = self._read(list(texts), list(range(len(texts))), _Kind(self._readers[name], "single"))
        for group in _batches(read, tokens):
            vectors = self._outputs(group, [name])[name].scores.float().cpu().numpy()
            for item, vector in zip(group, vectors, strict=True):
                found[item.place] = vector
        return np.stack(found) if found else np.zeros((0, 0), np.float32)

    def stream(self, inputs: Iterable[Input], tasks: Sequence[str] | None = None, chunk: int = 512) -> Iterator[Answer]:
        """Answers for any number of inputs, `chunk` of them in memory at a time.

        An unknown task, or a text by itself, is an error at once. An error in an input, or of `inputs` itself, comes after
        the answers to everything before it.
        """
        _require_several(inputs)
        return self._stream(enumerate(inputs), self._asked(tasks), chunk)

    def _stream(self, inputs: Iterator[tuple[int, Input]], asked: list[str], chunk: int) -> Iterator[Answer]:
        failed: Exception | None = None
        more = True
        while more:
            block: list[Input] = []
            try:
                for number, value in islice(inputs, chunk):
                    self._check(number, value, asked)
                    block.append(value)
            except Exception as error:
                failed = error
            yield from self._answers(block, asked)
            more = len(block) == chunk
        if failed is not None:
            raise failed

    def _answers(self, inputs: Sequence[Input], asked: list[str], tokens: int = _TOKENS) -> list[Answer]:
        """One answer an input; every input has been checked."""
        predictions: list[dict[str, Prediction]] = [{} for _ in inputs]
        spans: list[tuple[tuple[int, int], ...]] = [()] * len(inputs)
        cut = [0] * len(inputs)
        for kind in dict.fromkeys(self._kind(t) for t in asked):
            names = [t for t in asked if self._kind(t) == kind]
            places = [i for i, value in enumerate(inputs) if kind.fits(value)]
            for group in _batches(self._read([inputs[i] for i in places], places, kind), tokens):
                for item, found in zip(group, self._answer(group, names), strict=True):
                    predictions[item.place].update(found)
                    spans[item.place], cut[item.place] = item.spans, max(cut[item.place], item.cut)
        return [
            Answer(one, {t: found[t] for t in asked if t in found}, at, unread)
            for one, found, at, unread in zip(inputs, predictions, spans, cut, strict=True)
        ]

    def _kind(self, task: str) -> _Kind:
        plan = self._artefact.blueprint.tasks[task]
        reads = "single" if plan.reads in ("text", "words") else plan.reads
        return _Kind(self._readers[task], reads, plan.stride, plan.bounded)

    def _asked(self, tasks: Sequence[str] | None) -> list[str]:
        known = list(self._readers)
        if tasks is not None and (isinstance(tasks, str) or not tasks):
            rule = f"`tasks` is a list of names, or None for all of them (there are: {listed(known)})"
            raise RecipeError(Problem(rule, value=repr(tasks)))
        for name in tasks or ():
            if name not in known:
                raise RecipeError(
                    Problem(f"the model has no such task (there are: {listed(known)})", "", name, nearest(name, known))
                )
        return known if tasks is None else list(tasks)

    def _embedding(self, task: str | None) -> str:
        """The task, or the only one, whose path ends in vectors of single texts."""
        known = [name for name, reads in self.tasks.items() if reads == "towers"]
        if task is None and len(known) == 1:
            return known[0]
        if task not in known:
            rule = f"vectors come from a task of type matching (there are: {listed(known)})"
            rule = rule if known else "the model has no task of type matching, which vectors come from"
            raise RecipeError(Problem(rule, value=task, nearest=nearest(task, known) if task else None))
        return str(task)

    def _check(self, number: int, value: object, asked: Sequence[str]) -> None:
        """RecipeError for what is no input, or none that an asked task can read."""
        value = _require_input(number, value)
        kinds = [self._kind(task) for task in asked]
        if not any(kind.fits(value) for kind in kinds):
            wanted = " and ".join(dict.fromkeys(_WANTED[kind.reads] for kind in kinds))
            rule = f"the tasks {listed(asked)} read {wanted}, but the input is {_SHAPES[_shape(value)]}"
            raise RecipeError(Problem(rule, value=str(value)))

    def _read(self, inputs: list[Input], places: list[int], kind: _Kind) -> list[_Read]:
        tokenizer = self._artefact.tokenizers[kind.reader]
        tokenizer = tokenizer.bounded() if kind.bounded else tokenizer
        longest = int(self._artefact.blueprint.modules[kind.reader].options["max_length"])
        return [_one(value, place, tokenizer, longest, kind) for value, place in zip(inputs, places, strict=True)]

    @torch.inference_mode()
    def _outputs(self, group: list[_Read], names: list[str], parts: tuple[int, ...] | None = None) -> dict[str, Output]:
        tokens = _collate(group).to(self.device)
        return self.model.answer(Batch("predict", {"text": tokens}, {}, range(len(group)), parts=parts), names)

    @torch.inference_mode()
    def _answer(self, group: list[_Read], names: list[str]) -> list[dict[str, Prediction]]:
        several = self.tasks[names[0]] in ("choices", "windows", "towers")
        outputs = self._outputs(group, names, tuple(len(item.sequences) for item in group) if several else None)
        readings = [item.reading for item in group]
        found: list[dict[str, Prediction]] = [{} for _ in group]
        for name, output in outputs.items():
            for row, prediction in zip(found, self.model.tasks[name].type.predict(name, output.scores, readings), strict=True):
                row[name] = prediction
        return found


def _require_input(number: int, value: object) -> Input:
    """RecipeError for what no task could read."""
    if not _is_input(value):
        rule = f"input {number} must be a text, a pair (tuple) of texts, a list of words or a text with a list of choices"
        raise RecipeError(Problem(rule, value=repr(value)))
    if _SURROGATE.search("\n".join(_texts(value))):
        raise RecipeError(Problem(f"input {number} holds half of a character (a lone surrogate)", value=repr(value)))
    return value


def _require_several(inputs: object) -> None:
    """RecipeError for a text by itself: as a sequence it would be asked letter by letter."""
    if isinstance(inputs, str | bytes):
        remedy = "put a text by itself into a list: predictor([text])"
        raise RecipeError(Problem("the inputs are a list of texts, pairs or lists of words", value=repr(inputs), remedy=remedy))


def _reader(artefact: Artefact, name: str) -> str:
    if name in artefact.tokenizers:
        return name
    rule = "only models whose paths begin with an encoder, or with a module that reads words, read text"
    raise RecipeError(Problem(rule, f"modules.{name}"))


_SHAPES = {"text": "one text", "words": "a list of words", "pair": "a pair", "choices": "a text with choices"}
_READABLE = {"text": ("single",), "words": ("single",), "pair": ("pair", "windows", "towers"), "choices": ("choices",)}
_WANTED = {
    "single": "single texts",
    "pair": "pairs",
    "towers": "pairs",
    "choices": "texts with choices",
    "windows": "questions with the text to answer from",
}


def _shape(value: Input) -> str:
    """text, words, pair or choices."""
    if isinstance(value, tuple):
        return "choices" if isinstance(value[-1], list) else "pair"
    return "words" if isinstance(value, list) else "text"


def _is_input(value: object) -> TypeGuard[Input]:
    if isinstance(value, tuple) and len(value) in (2, 3) and isinstance(value[-1], list):
        return all(isinstance(v, str) for v in (*value[:-1], *value[-1])) and len(value[-1]) > 1
    if isinstance(value, tuple):
        return len(value) == 2 and all(isinstance(v, str) for v in value)
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _texts(value: Input) -> list[str]:
    """All texts of an input."""
    if isinstance(value, str):
        return [value]
    return [text for part in value for text in ([part] if isinstance(part, str) else part)]


def _one(value: Input, place: int, tokenizer: Tokenizer, longest: int, kind: _Kind) -> _Read:
    if isinstance(value, tuple):
        return _one_of_several(value, place, tokenizer, longest, kind)
    if isinstance(value, list):
        pieces = tokenizer.encode_words([value], longest)[0]
        return _Read(place, (pieces,), (pieces.words,), Reading(len(value), pieces=pieces.ids, names=tokenizer.piece))
    pieces, spans = tokenizer.encode_texts([value], None, longest, offsets=True)[0], words(value)
    reading = Reading(len(spans), pieces=pieces.ids, names=tokenizer.piece)
    return _Read(place, (pieces,), (tuple(first_pieces(spans, pieces.offsets)),), reading, tuple(spans))


def _one_of_several(value: tuple[str, str] | Choices, place: int, tokenizer: Tokenizer, longest: int, kind: _Kind) -> _Read:
    """A pair, as it is or through windows, or a text with choices."""
    first, last = value[0], value[-1]
    if isinstance(last, list):
        between = value[1] if len(value) == 3 else None
        sequences = tuple(tokenizer.encode_texts(*with_choices(first, between, last), longest))
        return _Read(place, sequences, ((),) * len(last), Reading(choices=tuple(last)))
    if kind.reads == "towers":
        return _Read(place, tuple(tokenizer.encode_texts([first, last], None, longest)), ((), ()), Reading())
    if kind.stride is None:
        return _Read(place, (tokenizer.encode_texts([first], [last], longest)[0],), ((),), Reading(names=tokenizer.piece))
    windows = tokenizer.encode_windows([first], [last], longest, kind.stride)[0]
    return _Read(place, windows, tuple(w.words for w in windows), Reading(passage=windows_of(last, windows)))


def _batches(items: list[_Read], tokens: int) -> Iterator[list[_Read]]:
    """Groups of like length, longest first, within a budget of padded pieces."""
    group: list[_Read] = []
    for item in sorted(items, key=lambda r: r.longest, reverse=True):
        if group and sum(len(r.sequences) for r in (*group, item)) * group[0].longest > tokens:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _collate(group: list[_Read]) -> Tokens:
    sequences = [pieces for item in group for pieces in item.sequences]
    words = [firsts for item in group for firsts in item.firsts]
    longest, most = max(len(pieces.ids) for pieces in sequences), max(map(len, words))
    ids, types = (torch.zeros(len(sequences), longest, dtype=torch.long) for _ in range(2))
    mask = torch.zeros(len(sequences), longest, dtype=torch.bool)
    firsts = torch.full((len(sequences), most), -1)
    for i, (pieces, at) in enumerate(zip(sequences, words, strict=True)):
        n = len(pieces.ids)
        ids[i, :n], types[i, :n], mask[i, :n] = torch.tensor(pieces.ids), torch.tensor(pieces.types), True
        firsts[i, : len(at)] = torch.tensor(at, dtype=torch.long)
    return Tokens(ids, mask, types, firsts, _letters(sequences, longest))


def _letters(sequences: Sequence[Pieces], longest: int) -> Tensor | None:
    """(S, longest, L) bytes of the pieces; None of a tokenizer that does not spell."""
    if not any(pieces.spelled for pieces in sequences):
        return None
    spelled = [[word.encode()[:LETTERS] for word in pieces.spelled] for pieces in sequences]
    found = torch.zeros(len(spelled), longest, max((len(w) for row in spelled for w in row), default=0) or 1, dtype=torch.uint8)
    for i, row in enumerate(spelled):
        for j, word in enumerate(row):
            found[i, j, : len(word)] = torch.tensor(list(word), dtype=torch.uint8)
    return found
