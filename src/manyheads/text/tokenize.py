"""Text to pieces, with the `tokenizers` library alone: loading takes a tenth of a second and no transformers import."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.models import WordLevel
from tokenizers.normalizers import Normalizer, Replace
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.processors import TemplateProcessing

from manyheads.errors import ArtefactError, Problem, RecipeError
from manyheads.text import words as running

_CHUNK = 1024  # rows handed to the library at once: enough to keep its threads busy, little to hold
_LARGEST = 128 * 2**20  # bytes of a tokenizer.json; four times the largest known one
RESERVED = ("<pad>", "<sep>", "<s>", "</s>")
"""Pieces of a vocabulary of words that no word of a text is, however it is spelled."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """One input as pieces, special pieces included.

    `ids` and `types` have one entry a piece. `words` holds, for an input that came as words, the position of each word's
    first piece, -1 for a word that was cut off. `offsets` are the characters (from, to) of each piece in its text or word;
    empty unless asked for. `cut` counts the pieces that did not fit. `spelled` is each piece as the input has it; empty unless
    the tokenizer spells.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    words: tuple[int, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    cut: int = 0
    spelled: tuple[str, ...] = ()


class Tokenizer:
    """The tokenizer of a pretrained encoder; gives what transformers' `AutoTokenizer` gives for the same folder.

    Inputs that are too long are cut here and not by the library: its truncation is a setting of the shared object, which
    two threads would fight over, and it builds every overflowing part, of pairs every combination.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, fingerprint: str | None = None, spells: bool = False, bounds: bool = False
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.spells = spells
        """Whether pieces come with their spelling, for modules that read characters."""
        self._bounds = bounds
        told = fingerprint or hashlib.sha256(backend.to_str().encode()).hexdigest()
        self.fingerprint = f"{told} spelled" if spells else told
        """sha256 of the tokenizer's definition."""

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """The tokenizer that `folder` holds as tokenizer.json, or in an older form that transformers converts."""
        file = Path(folder) / "tokenizer.json"
        if not file.is_file():
            return cls(_converted(Path(folder)))
        if (size := file.stat().st_size) > _LARGEST:
            raise ArtefactError(Problem(f"a tokenizer.json has at most {_LARGEST} bytes", str(file), str(size)))
        content = file.read_bytes()
        try:
            backend = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises bare Exception
            raise ArtefactError(Problem("is not a tokenizer.json", str(file), str(error))) from None
        return cls(backend, hashlib.sha256(content).hexdigest())

    def __len__(self) -> int:
        """Number of known pieces, added ones included."""
        return self._backend.get_vocab_size()

    @property
    def special(self) -> dict[str, int]:
        """The pieces that stand for no text, and their numbers."""
        added = self._backend.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def piece(self, number: int) -> str | None:
        """The piece of this number; None where there is none."""
        return self._backend.id_to_token(number)

    def number(self, word: str) -> int | None:
        """The number of a word in a vocabulary of words, folded as it folds; None where it is not known."""
        folded = self._backend.normalizer.normalize_str(word) if self._backend.normalizer else word
        return None if word in RESERVED or folded in RESERVED else self._backend.token_to_id(folded)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Characters (from, to) of each word of a text, as a vocabulary of words parts it; of `words` where there is none."""
        split = self._backend.pre_tokenizer if self._knows_words else running.SPLITS["words"]
        return running.words(text, split)

    @property
    def _knows_words(self) -> bool:
        return isinstance(self._backend.model, WordLevel) and isinstance(self._backend.pre_tokenizer, Split)

    def to_json(self) -> str:
        """The definition, as a tokenizer.json holds it."""
        return self._backend.to_str()

    def spelling(self) -> Tokenizer:
        """This tokenizer, its pieces with their spelling."""
        return Tokenizer(self._backend, self.fingerprint, spells=True, bounds=self._bounds)

    def bounded(self) -> Tokenizer:
        """This vocabulary of words, a text between pieces that say where it begins and ends, as a language model reads it.

        A text that is cut has no end.
        """
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        ends = [(piece, backend.token_to_id(piece)) for piece in ("<s>", "</s>")]
        backend.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
        return Tokenizer(backend, spells=self.spells, bounds=True)

    def encode_texts(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int, offsets: bool = False
    ) -> list[Pieces]:
        """Pieces of each text, or of each text and its pair; where too long, the longer of the two loses its end first."""
        room = self._room(max_length, pair=pairs is not None)
        inputs: Sequence[Any] = texts if pairs is None else list(zip(texts, pairs, strict=True))
        encode = self._backend.encode_batch if offsets or self.spells else self._backend.encode_batch_fast
        found = []
        for start in range(0, len(inputs), _CHUNK):
            chunk = inputs[start : start + _CHUNK]
            for given, encoding in zip(chunk, encode(chunk), strict=True):
                sides = (given,) if isinstance(given, str) else given
                found.append(self._read(encoding, room, offsets, spelled_from=sides))
        return found

    def encode_words(self, rows: Sequence[Sequence[str]], max_length: int, offsets: bool = False) -> list[Pieces]:
        """Pieces of rows that come as words. A word that has no piece (zero-width, control characters) becomes unknown."""
        room = self._room(max_length, pair=False)
        found = []
        for start in range(0, len(rows), _CHUNK):
            chunk = [list(row) for row in rows[start : start + _CHUNK]]
            for words, encoding in zip(chunk, self._word_backend.encode_batch(chunk, is_pretokenized=True), strict=True):
                seen = set(encoding.word_ids)
                if any(i not in seen for i in range(len(words))):
                    words = [w if i in seen else self._unknown for i, w in enumerate(words)]
                    encoding = self._word_backend.encode(words, is_pretokenized=True)
                found.append(self._read(encoding, room, offsets, len(words), spelled_from=words))
        return found

    def encode_windows(
        self, questions: Sequence[str], contexts: Sequence[str], max_length: int, stride: int
    ) -> list[tuple[Pieces, ...]]:
        """Windows over each context, every one behind the question; of a question at most half of the room is read.

        Neighbours share `stride` pieces of the context, fewer where half a window is less. `words` of a window are its first
        special piece, and then its pieces of the context; `offsets` are in the question and in the whole context. What is
        cut of a question counts in the first window. ArtefactError of a tokenizer without special pieces.
        """
        room = self._room(max_length, pair=True)
        if room < 2:
            raise RecipeError(Problem("max_length must leave room for a piece of each text", "", str(max_length)))
        pairs = list(zip(questions, contexts, strict=True))
        found: list[tuple[Pieces, ...]] = []
        for start in range(0, len(pairs), _CHUNK):
            for encoding in self._backend.encode_batch(pairs[start : start + _CHUNK]):
                found.append(_windows(encoding, room, stride))
        return found

    def _read(
        self, encoding: tokenizers.Encoding, room: int, offsets: bool, words: int = 0, *, spelled_from: Sequence[str]
    ) -> Pieces:
        """The pieces of one input; where it has none at all, and no special piece stands around it, an unknown one."""
        pieces = self._with_spelling(encoding, room, offsets, words, spelled_from)
        return _endless(pieces) if self._bounds and pieces.cut else pieces

    def _with_spelling(
        self, encoding: tokenizers.Encoding, room: int, offsets: bool, words: int, spelled_from: Sequence[str]
    ) -> Pieces:
        pieces = _pieces(encoding, room, offsets or self.spells, words)
        if not pieces.ids:
            return Pieces(self._filler, (0,), pieces.words, ((0, 0),) if offsets else (), spelled=("",) if self.spells else ())
        if not self.spells:
            return pieces
        kept = range(len(encoding)) if len(pieces.ids) == len(encoding) else _kept(encoding.sequence_ids, room)
        sources = encoding.word_ids if words else encoding.sequence_ids
        spelled = tuple(
            "" if source is None else spelled_from[source][a:b]
            for source, (a, b) in zip((sources[i] for i in kept), pieces.offsets, strict=True)
        )
        return replace(pieces, spelled=spelled, offsets=pieces.offsets if offsets else ())

    @cached_property
    def _filler(self) -> tuple[int, ...]:
        """The unknown piece."""
        number = self._backend.token_to_id(getattr(self._backend.model, "unk_token", None) or "")
        if number is None:
            raise ArtefactError("the tokenizer gives no piece for an empty text")
        return (number,)

    def _room(self, max_length: int, pair: bool) -> int:
        """Pieces that the text itself may have."""
        room = max_length - self._backend.num_special_tokens_to_add(pair)
        if room < 1:
            raise RecipeError(Problem("max_length must leave room for a piece of text", "", str(max_length)))
        return room

    @cached_property
    def _word_backend(self) -> tokenizers.Tokenizer:
        """For words; a byte-level tokenizer has to be told that each begins after a space, one of words not to part them."""
        before = self._backend.pre_tokenizer
        if self._knows_words:
            backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
            backend.pre_tokenizer = None
            backend.normalizer = unreserved(backend.normalizer, texts=False)
            return backend
        if not isinstance(before, ByteLevel) or before.add_prefix_space:
            return self._backend
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.pre_tokenizer.add_prefix_space = True
        return backend

    @cached_property
    def _unknown(self) -> str:
        """A word that surely has a piece: the unknown piece, or a question mark where the tokenizer knows every byte."""
        named = (getattr(self._backend.model, "unk_token", None), "[UNK]", "<unk>")
        known = [name for name in named if name and self._backend.token_to_id(name) is not None]
        for word in (*known, "?"):
            if self._word_backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids:
                return word
        raise ArtefactError("the tokenizer has no piece for an unknown word")


def unreserved(normalizer: Normalizer | None, *, texts: bool) -> Normalizer:
    """And words that are spelled as reserved pieces become unknown ones: in texts that spaces part, or each by itself."""
    spelled = f"<(?:{'|'.join(piece[1:-1] for piece in RESERVED)})>"
    replaced = Replace(tokenizers.Regex(rf"(?<!\S){spelled}(?!\S)" if texts else rf"\A{spelled}\z"), "<unk>")
    return replaced if normalizer is None else Normalizers([normalizer, replaced])


def _endless(pieces: Pieces) -> Pieces:
    """Without the last piece."""
    ends = {name: getattr(pieces, name)[:-1] for name in ("ids", "types", "offsets", "spelled")}
    return replace(pieces, **ends)


def _pieces(encoding: tokenizers.Encoding, room: int, offsets: bool, words: int = 0) -> Pieces:
    """The encoding, cut to `room` pieces of text beside its special pieces."""
    kept: Sequence[int] | None = None
    ids, types = encoding.ids, encoding.type_ids
    if len(ids) > room:  # special pieces may explain it, so look closer
        kept = _kept(encoding.sequence_ids, room)
        ids, types = [ids[i] for i in kept], [types[i] for i in kept]
    first = _first_pieces(encoding.word_ids, kept, words) if words else ()
    spans = tuple(encoding.offsets if kept is None else [encoding.offsets[i] for i in kept]) if offsets else ()
    return Pieces(tuple(ids), tuple(types), first, spans, len(encoding) - len(ids))


def _windows(encoding: tokenizers.Encoding, room: int, stride: int) -> tuple[Pieces, ...]:
    """A question and its context, a window for each part of the context that fits beside the question."""
    special, question, context = (
        [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == wanted] for wanted in (None, 0, 1)
    )
    if not special:
        raise ArtefactError("answers are found beside a special piece, and this tokenizer puts none before a text")
    asked = question[: max(room // 2, room - len(context))]
    width = room - len(asked)
    step = max(width - stride, (width + 1) // 2, 1)
    found: list[Pieces] = []
    for begin in range(0, max(len(context) - width, 0) + step, step):
        part = context[begin : begin + width]
        kept = sorted([*special, *asked, *part])
        at = {piece: position for position, piece in enumerate(kept)}
        found.append(
            Pieces(
                ids=tuple(encoding.ids[i] for i in kept),
                types=tuple(encoding.type_ids[i] for i in kept),
                words=tuple(at[i] for i in (special[0], *part)),
                offsets=tuple(encoding.offsets[i] for i in kept),
                cut=0 if found else len(question) - len(asked),
            )
        )
        if begin + width >= len(context):
            break
    return tuple(found)


def _kept(sequences: Sequence[int | None], room: int) -> list[int]:
    """Positions that stay: all special pieces, and the beginnings of both texts, cut longest first."""
    left = list(longest_first(sequences.count(0), sequences.count(1), room))
    kept = []
    for position, sequence in enumerate(sequences):
        if sequence is None:
            kept.append(position)
        elif left[sequence]:
            left[sequence] -= 1
            kept.append(position)
    return kept


def longest_first(one: int, two: int, room: int) -> tuple[int, int]:
    """Lengths after cutting the longer of two texts until both fit; where they meet, the second keeps an odd piece.

    >>> longest_first(10, 3, 8), longest_first(10, 10, 9)
    ((5, 3), (4, 5))
    """
    if one + two <= room:
        return one, two
    short = min(one, two, room // 2)
    return (short, room - short) if one <= two else (room - short, short)


def _first_pieces(word_ids: Sequence[int | None], kept: Sequence[int] | None, words: int) -> tuple[int, ...]:
    first = [-1] * words
    for position, piece in enumerate(range(len(word_ids)) if kept is None else kept):
        word = word_ids[piece]
        if word is not None and first[word] < 0:
            first[word] = position
    return tuple(first)


def _converted(folder: Path) -> tokenizers.Tokenizer:
    """What transformers makes of vocab.txt and other older forms."""
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        raise ArtefactError(Problem("a tokenizer's folder holds tokenizer.json or tokenizer_config.json", str(folder)))
    if b"auto_map" in settings.read_bytes():
        raise ArtefactError(Problem("the tokenizer asks for code of its own, which is never run", str(settings)))
    from transformers import AutoTokenizer  # here, since the import costs seconds and most folders need none of it

    try:
        converted = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
        return converted.backend_tokenizer
    except Exception as error:  # transformers raises whatever a broken file makes it stumble over
        raise ArtefactError(Problem("holds no tokenizer that can be read", str(folder), str(error))) from None
