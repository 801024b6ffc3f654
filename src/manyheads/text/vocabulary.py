"""A vocabulary of words, counted over training rows, as a tokenizer whose pieces are whole words.

Whatever reads pieces reads words by it: batches, caches, predictions and artefacts know no second kind of tokenizer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from manyheads.errors import Problem, RecipeError, ResourceError
from manyheads.text.listed import listed_lines
from manyheads.text.tokenize import RESERVED, Tokenizer, unreserved
from manyheads.text.words import LOWERCASE, SPLITS, without_capitals

PADDING, BETWEEN, BEGIN, END = RESERVED
UNKNOWN = "<unk>"
SPECIAL = (PADDING, UNKNOWN, BETWEEN, BEGIN, END)
_COLUMN = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which words get a number of their own.

    lower    fold capitals; `A` and `a` are one word
    split    how texts are parted into words, as `manyheads.text.words.SPLITS` has it
    least    words that come less often in the training rows are unknown
    most     of the others so many, the commonest; None: all
    listed   words that are known whether they come or not, in this order, before those that are counted
    """

    lower: bool = True
    split: str = "words"
    least: int = 1
    most: int | None = None
    listed: tuple[str, ...] = ()


def count(rows: Iterable[str | Sequence[str]], wanted: Wanted) -> Counter[str]:
    """How often each word comes, as `wanted` folds it and parts texts; of lists their entries are the words."""
    found: Counter[str] = Counter()
    fold = without_capitals if wanted.lower else str
    split = SPLITS[wanted.split]
    for row in rows:
        found.update([word for word, _ in split.pre_tokenize_str(fold(row))] if isinstance(row, str) else map(fold, row))
    return found


def vocabulary(counted: Mapping[str, int], wanted: Wanted) -> Tokenizer:
    """The tokenizer of the words that `count` found: 0 padding, 1 unknown, 2 between two texts, 3 begin, 4 end, then words.

    Commonest first; equally common ones in alphabetical order. A word that is spelled as one of these five is unknown.
    RecipeError where no word is left.
    """
    known = (word for word, times in counted.items() if times >= wanted.least and word not in SPECIAL)
    frequent = sorted(known, key=lambda word: (-counted[word], word))
    listed = map(without_capitals, wanted.listed) if wanted.lower else wanted.listed
    words = [word for word in dict.fromkeys([*listed, *frequent[: wanted.most]]) if word and word not in SPECIAL]
    if not words:
        if not counted:
            raise RecipeError(Problem("no word is left in the vocabulary: the training rows hold none"))
        rule = f"no word is left in the vocabulary: of {len(counted)} different words none comes {wanted.least} times"
        raise RecipeError(Problem(rule, remedy="lower `min_count`, or name a vocabulary's `file`"))
    kept = [*SPECIAL, *words]
    backend = tokenizers.Tokenizer(WordLevel({word: i for i, word in enumerate(kept)}, unk_token=UNKNOWN))
    fold = LOWERCASE if wanted.lower else None
    normalizer = unreserved(fold, texts=True) if wanted.split == "spaces" else fold
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = SPLITS[wanted.split]
    between = (BETWEEN, kept.index(BETWEEN))
    backend.post_processor = TemplateProcessing(single="$A", pair=f"$A {BETWEEN} $B:1", special_tokens=[between])
    return Tokenizer(backend)


def read_list(path: Path, place: str) -> tuple[str, ...]:
    """The words in a file, one a line; of lines with more columns, behind spaces or tabs, the first.

    ResourceError where it cannot be read, DataError where it is no text, RecipeError where it has no word.
    """
    try:
        lines = listed_lines(path)
    except OSError as error:
        rule = f"the list of words cannot be read: {error.strerror or error}"
        raise ResourceError(Problem(rule, place, str(path), remedy="name a file relative to the recipe")) from error
    found = tuple(_COLUMN.split(line)[0] for line in (line.strip(" \t") for line in lines) if line)
    if not found:
        raise RecipeError(Problem("the list of words is empty", place, str(path)))
    return found
