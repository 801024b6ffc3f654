"""A vocabulary of words, counted over training rows, as a tokenizer whose pieces are whole words.

Whatever reads pieces reads words by it: batches, caches, predictions and artefacts know no second kind of tokenizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from manyheads.errors import DataError, Problem, RecipeError, ResourceError
from manyheads.text.tokenize import Tokenizer
from manyheads.text.words import PATTERN, words

PADDING, UNKNOWN, BETWEEN, BEGIN, END = SPECIAL = ("<pad>", "<unk>", "<sep>", "<s>", "</s>")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which words get a number of their own.

    lower    fold capitals; `A` and `a` are one word
    least    words that come less often in the training rows are unknown
    most     of the others so many, the commonest; None: all
    listed   words that are known whether they come or not, in this order, before those that are counted
    """

    lower: bool = True
    least: int = 1
    most: int | None = None
    listed: tuple[str, ...] = ()


def count(rows: Iterable[str | Sequence[str]]) -> Counter[str]:
    """How often each word comes, as it is spelled: of texts by `manyheads.text.words`, of lists their entries."""
    found: Counter[str] = Counter()
    for row in rows:
        found.update([row[a:b] for a, b in words(row)] if isinstance(row, str) else row)
    return found


def vocabulary(counted: Mapping[str, int], wanted: Wanted) -> Tokenizer:
    """The tokenizer of the counted words: 0 padding, 1 unknown, 2 between two texts, 3 and 4 begin and end, then words.

    Commonest first; equally common ones in alphabetical order. RecipeError where no word is left.
    """
    fold = Lowercase() if wanted.lower else None
    totals: Counter[str] = Counter()
    for word, times in counted.items():
        totals[fold.normalize_str(word) if fold else word] += times
    frequent = sorted((w for w, n in totals.items() if n >= wanted.least), key=lambda w: (-totals[w], w))
    listed = [fold.normalize_str(w) if fold else w for w in wanted.listed]
    kept = [w for w in dict.fromkeys([*SPECIAL, *listed, *frequent[: wanted.most]]) if w]
    if len(kept) == len(SPECIAL):
        if not totals:
            raise RecipeError(Problem("no word is left in the vocabulary: the training rows hold none"))
        rule = f"no word is left in the vocabulary: of {len(totals)} different words none comes {wanted.least} times"
        raise RecipeError(Problem(rule, remedy="lower `min_count`, or name a vocabulary's `file`"))
    backend = tokenizers.Tokenizer(WordLevel({word: i for i, word in enumerate(kept)}, unk_token=UNKNOWN))
    if fold:
        backend.normalizer = fold
    backend.pre_tokenizer = Split(tokenizers.Regex(PATTERN), "removed", invert=True)
    between = (BETWEEN, kept.index(BETWEEN))
    backend.post_processor = TemplateProcessing(single="$A", pair=f"$A {BETWEEN} $B:1", special_tokens=[between])
    return Tokenizer(backend)


def read_list(path: Path, place: str) -> tuple[str, ...]:
    """The words in a file, one a line; of lines with more columns the first.

    ResourceError where it cannot be read, DataError where it is no text, RecipeError where it has no word.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        rule = f"the list of words cannot be read: {error.strerror or error}"
        raise ResourceError(Problem(rule, place, str(path), remedy="name a file relative to the recipe")) from error
    except UnicodeDecodeError as error:
        rule = f"a list of words is text in UTF-8: {error.reason} at byte {error.start + 1}"
        raise DataError(Problem(rule, str(path))) from error
    found = tuple(line.split()[0] for line in lines if line.strip())
    if not found:
        raise RecipeError(Problem("the list of words is empty", place, str(path)))
    return found
