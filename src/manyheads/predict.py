"""Answers of all tasks for a text, from one pass through the encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manyheads.artefact import Artefact, load_artefact
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.inputs import (
    SHAPES,
    WANTED,
    Input,
    Kind,
    Read,
    batches_of,
    collate,
    read_input,
    require_input,
    require_several,
    shape_of,
    texts_in,
)
from manyheads.task.base import Prediction
from manyheads.types import Batch, Output

_TOKENS = 4096  # padded pieces in a batch


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
        return {"label": label, "start": start, "stop": stop, "text": " ".join(texts_in(self.input)[start:stop])}


class Predictor:
    """A loaded artefact that answers.

    >>> predictor = Predictor.load("runs/quickstart/artefact")          # doctest: +SKIP
    >>> predictor(["Apple opens a shop in Paris"])[0].predictions       # doctest: +SKIP
    """

    def __init__(self, artefact: Artefact, device: torch.device | str = "cpu", limits: Mapping[str, int] | None = None) -> None:
        """`limits` are the most pieces that tasks read of a sequence, where these are not those of their modules."""
        self.model = artefact.model.to(device).eval()
        self.device = torch.device(device)
        self._artefact, self._limits = artefact, limits or {}
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
        require_several(inputs)
        for number, value in enumerate(inputs):
            self._check(number, value, asked)
        return self._answers(inputs, asked, tokens)

    def embed(self, texts: Sequence[str], task: str | None = None, tokens: int = _TOKENS) -> np.ndarray:
        """(N, D) float32: the vectors of texts, in their order, in which the path of a `matching` task ends.

        The cosine of two of them is what the task answers for the pair. `task` may be left out where the model has one such
        task alone. What a text has beyond the model's limit is not read; `vectors` says how much that is. Raises RecipeError
        for another task, and for what is no text.
        """
        return self.vectors(texts, task, tokens)[0]

    def vectors(self, texts: Sequence[str], task: str | None = None, tokens: int = _TOKENS) -> tuple[np.ndarray, list[int]]:
        """The vectors as `embed` gives them, and of each text how many pieces were not read."""
        name = self._embedding(task)
        require_several(texts)
        for number, text in enumerate(texts):
            require_input(number, text)
            if not isinstance(text, str):
                raise RecipeError(
                    Problem(f"input {number} must be a text; vectors are those of single texts", value=repr(text))
                )
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(texts)
        cut = [0] * len(texts)
        read = self._read(list(texts), list(range(len(texts))), replace(self._kind(name), reads="single"))
        for group in batches_of(read, tokens):
            vectors = self._outputs(group, [name])[name].scores.float().cpu().numpy()
            for item, vector in zip(group, vectors, strict=True):
                found[item.place], cut[item.place] = vector, item.cut
        return np.stack(found) if found else np.zeros((0, 0), np.float32), cut

    def stream(self, inputs: Iterable[Input], tasks: Sequence[str] | None = None, chunk: int = 512) -> Iterator[Answer]:
        """Answers for any number of inputs, `chunk` of them in memory at a time.

        An unknown task, or a text by itself, is an error at once. An error in an input, or of `inputs` itself, comes after
        the answers to everything before it.
        """
        require_several(inputs)
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
            for group in batches_of(self._read([inputs[i] for i in places], places, kind), tokens):
                for item, found in zip(group, self._answer(group, names), strict=True):
                    predictions[item.place].update(found)
                    spans[item.place], cut[item.place] = item.spans, max(cut[item.place], item.cut)
        return [
            Answer(one, {t: found[t] for t in asked if t in found}, at, unread)
            for one, found, at, unread in zip(inputs, predictions, spans, cut, strict=True)
        ]

    def _kind(self, task: str) -> Kind:
        plan = self._artefact.blueprint.tasks[task]
        reads = "single" if plan.reads in ("text", "words") else plan.reads
        longest = self._limits.get(task, self._artefact.blueprint.longest(task))
        return Kind(self._readers[task], longest, reads, plan.stride, plan.bounded)

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
        value = require_input(number, value)
        kinds = [self._kind(task) for task in asked]
        if not any(kind.fits(value) for kind in kinds):
            wanted = " and ".join(dict.fromkeys(WANTED[kind.reads] for kind in kinds))
            rule = f"the tasks {listed(asked)} read {wanted}, but the input is {SHAPES[shape_of(value)]}"
            raise RecipeError(Problem(rule, value=str(value)))

    def _read(self, inputs: list[Input], places: list[int], kind: Kind) -> list[Read]:
        tokenizer = self._artefact.tokenizers[kind.reader]
        tokenizer = tokenizer.bounded() if kind.bounded else tokenizer
        return [read_input(value, place, tokenizer, kind) for value, place in zip(inputs, places, strict=True)]

    @torch.inference_mode()
    def _outputs(self, group: list[Read], names: list[str], parts: tuple[int, ...] | None = None) -> dict[str, Output]:
        tokens = collate(group).to(self.device)
        return self.model.answer(Batch("predict", {"text": tokens}, {}, range(len(group)), parts=parts), names)

    @torch.inference_mode()
    def _answer(self, group: list[Read], names: list[str]) -> list[dict[str, Prediction]]:
        several = self.tasks[names[0]] in ("choices", "windows", "towers")
        outputs = self._outputs(group, names, tuple(len(item.sequences) for item in group) if several else None)
        readings = [item.reading for item in group]
        found: list[dict[str, Prediction]] = [{} for _ in group]
        for name, output in outputs.items():
            for row, prediction in zip(found, self.model.tasks[name].type.predict(name, output.scores, readings), strict=True):
                row[name] = prediction
        return found


def _reader(artefact: Artefact, name: str) -> str:
    if name in artefact.tokenizers:
        return name
    rule = "only models whose paths begin with an encoder, or with a module that reads words, read text"
    raise RecipeError(Problem(rule, f"modules.{name}"))
