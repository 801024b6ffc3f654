"""What a trained model is asked, and how it reads that: inputs as the pieces of their sequences, in batches of like length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor

from manyheads.data.encode import windows_of, with_choices
from manyheads.errors import Problem, RecipeError
from manyheads.task.base import Reading
from manyheads.text.tokenize import Pieces, Tokenizer
from manyheads.text.words import first_pieces
from manyheads.types import LETTERS, Tokens

Choices: TypeAlias = tuple[str, list[str]] | tuple[str, str, list[str]]
Input: TypeAlias = str | tuple[str, str] | list[str] | Choices
"""A text; a pair of texts, or a question and the text to find its answer in; a sentence as words; a text and its choices, and
perhaps a text between them, which is read in front of each choice."""

_SURROGATE = re.compile("[\ud800-\udfff]")
SHAPES = {"text": "one text", "words": "a list of words", "pair": "a pair", "choices": "a text with choices"}
_READABLE = {"text": ("single",), "words": ("single",), "pair": ("pair", "windows", "towers"), "choices": ("choices",)}
WANTED = {
    "single": "single texts",
    "pair": "pairs",
    "towers": "pairs",
    "choices": "texts with choices",
    "windows": "questions with the text to answer from",
}


@dataclass(frozen=True, slots=True)
class Read:
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
class Kind:
    """What tasks that read alike have in common.

    reader   the module that they begin with
    longest  most pieces of a sequence
    reads    single (texts, words), pair, choices, towers or windows, which share `stride` pieces; `bounded` texts stand between
             marks of their begin and end
    """

    reader: str
    longest: int
    reads: str
    stride: int | None = None
    bounded: bool = False

    def fits(self, value: Input) -> bool:
        return self.reads in _READABLE[shape_of(value)]


def require_input(number: int, value: object) -> Input:
    """RecipeError for what no task could read."""
    if not _is_input(value):
        rule = f"input {number} must be a text, a pair (tuple) of texts, a list of words or a text with a list of choices"
        raise RecipeError(Problem(rule, value=repr(value)))
    if _SURROGATE.search("\n".join(texts_in(value))):
        raise RecipeError(Problem(f"input {number} holds half of a character (a lone surrogate)", value=repr(value)))
    return value


def require_several(inputs: object) -> None:
    """RecipeError for a text by itself: as a sequence it would be asked letter by letter."""
    if isinstance(inputs, str | bytes):
        remedy = "put a text by itself into a list: predictor([text])"
        raise RecipeError(Problem("the inputs are a list of texts, pairs or lists of words", value=repr(inputs), remedy=remedy))


def shape_of(value: Input) -> str:
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


def texts_in(value: Input) -> list[str]:
    """All texts of an input."""
    if isinstance(value, str):
        return [value]
    return [text for part in value for text in ([part] if isinstance(part, str) else part)]


def read_input(value: Input, place: int, tokenizer: Tokenizer, kind: Kind) -> Read:
    """The pieces of one input, whose place among all inputs is kept."""
    if isinstance(value, tuple):
        return _one_of_several(value, place, tokenizer, kind)
    if isinstance(value, list):
        pieces = tokenizer.encode_words([value], kind.longest)[0]
        return Read(place, (pieces,), (pieces.words,), Reading(len(value), pieces=pieces.ids, names=tokenizer.piece))
    pieces, spans = tokenizer.encode_texts([value], None, kind.longest, offsets=True)[0], tokenizer.spans(value)
    reading = Reading(len(spans), pieces=pieces.ids, names=tokenizer.piece)
    return Read(place, (pieces,), (tuple(first_pieces(spans, pieces.offsets)),), reading, tuple(spans))


def _one_of_several(value: tuple[str, str] | Choices, place: int, tokenizer: Tokenizer, kind: Kind) -> Read:
    """A pair, as it is or through windows, or a text with choices."""
    first, last = value[0], value[-1]
    if isinstance(last, list):
        between = value[1] if len(value) == 3 else None
        sequences = tuple(tokenizer.encode_texts(*with_choices(first, between, last), kind.longest))
        return Read(place, sequences, ((),) * len(last), Reading(choices=tuple(last)))
    if kind.reads == "towers":
        return Read(place, tuple(tokenizer.encode_texts([first, last], None, kind.longest)), ((), ()), Reading())
    if kind.stride is None:
        return Read(place, (tokenizer.encode_texts([first], [last], kind.longest)[0],), ((),), Reading(names=tokenizer.piece))
    windows = tokenizer.encode_windows([first], [last], kind.longest, kind.stride)[0]
    return Read(place, windows, tuple(w.words for w in windows), Reading(passage=windows_of(last, windows)))


def batches_of(items: list[Read], tokens: int) -> Iterator[list[Read]]:
    """Groups of like length, longest first, within a budget of padded pieces."""
    group: list[Read] = []
    for item in sorted(items, key=lambda r: r.longest, reverse=True):
        if group and sum(len(r.sequences) for r in (*group, item)) * group[0].longest > tokens:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def collate(group: list[Read]) -> Tokens:
    """All sequences of the inputs, one after the other, padded to the longest."""
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
