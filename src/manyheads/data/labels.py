"""Labels as a file spells them, and the sorted, hashed map from their names to indices."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from manyheads.errors import ArtefactError, DataError, Problem, RecipeError, nearest
from manyheads.types import Value

T = TypeVar("T")

UNKNOWN = "the label is not in the schema"
CORRECT = "correct the row, or name the label under `labels`"
_MANY = 1000  # names above which the nearest is not looked for: so many are seldom typed by hand


def is_blank(value: Value) -> bool:
    """Whether it is a text with nothing but space."""
    return isinstance(value, str) and not value.strip()


def is_missing(value: Value, missing: Collection[str]) -> bool:
    """True for null, and for a value whose text the recipe declares to mean "no label" (`NaN` for a number that is none)."""
    if value is None:
        return True
    if isinstance(value, float) and math.isnan(value):
        return "NaN" in missing or "nan" in missing
    return label_text(value) in missing


def label_text(value: Value) -> str | None:
    """The name of a label: text as it is, whole numbers as digits, true and false in lower case; None for all else.

    JSON has one type of number, so 1 and 1.0 are one label; 1.5 is no label, since its digits depend on who prints it.

    >>> [label_text(v) for v in ("01", 1, 1.0, True, 1.5, None, [1])]
    ['01', '1', '1', 'true', None, None, None]
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return None


def kind_of(value: Value) -> str:
    """The word for a value's type in a message."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if value is None:
        return "null"
    return "text" if isinstance(value, str) else "a map" if isinstance(value, Mapping) else "a list"


class Found:
    """The problems of many rows: the first `limit` whole, the others counted."""

    def __init__(self, limit: int = 20) -> None:
        self.shown: list[Problem] = []
        self.count, self.limit = 0, limit

    @property
    def full(self) -> bool:
        """True when a further problem is only counted."""
        return len(self.shown) >= self.limit

    def collect(self, work: Callable[..., T], *args: Any) -> T | None:
        """What `work` gives for `args`; None where it raises DataError, whose problems are kept."""
        try:
            return work(*args)
        except DataError as error:
            self.count += len(error.problems)
            self.shown += error.problems[: max(self.limit - len(self.shown), 0)]
            return None

    def check(self) -> None:
        """DataError with all of them, if there are any."""
        if self.count > len(self.shown):
            raise DataError(*self.shown, f"and {self.count - len(self.shown)} more such problems")
        if self.count:
            raise DataError(*self.shown)


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Names of labels in the order of their indices.

    hints  whether the problem of an unknown label names the nearest one, for which all names are gone through

    >>> LabelMap.fit(["pos", "neg", "pos"]).names
    ('neg', 'pos')
    """

    names: tuple[str, ...]
    hints: bool = field(default=True, repr=False, compare=False, kw_only=True)
    _index: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _alike: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise RecipeError(*(Problem("a label is named twice", "labels", name) for name in twice))
        object.__setattr__(self, "_index", {name: i for i, name in enumerate(self.names)})
        object.__setattr__(self, "_alike", {_folded(name): name for name in reversed(self.names)} if self.hints else {})

    @classmethod
    def fit(cls, values: Iterable[str], first: str | None = None) -> LabelMap:
        """The distinct values, sorted by code point; `first` leads if it is among them."""
        return cls(tuple(sorted(set(values), key=lambda name: (name != first, name))))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def index(self, name: str, place: str = "", rule: str = UNKNOWN) -> int:
        """The index of a label. DataError naming the nearest label for one that is not there."""
        if name not in self._index:
            raise DataError(self.unknown(name, place, rule))
        return self._index[name]

    @property
    def sha256(self) -> str:
        """Hash of the names and their order."""
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()

    def variants(self) -> list[tuple[str, ...]]:
        """Groups of labels that differ only in case, space or Unicode form: most likely one label, spelled twice."""
        groups: dict[str, list[str]] = {}
        for name in self.names:
            groups.setdefault(_folded(name), []).append(name)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def to_json(self) -> dict[str, Any]:
        return {"names": list(self.names), "sha256": self.sha256}

    @classmethod
    def from_json(cls, data: object) -> LabelMap:
        """The map that `to_json` wrote. ArtefactError if a key, a type or the hash is another."""
        if not isinstance(data, dict) or set(data) != {"names", "sha256"}:
            raise ArtefactError(Problem("a label map has the keys 'names' and 'sha256'", value=repr(data)))
        names = data["names"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
            raise ArtefactError(Problem("the names of a label map are distinct texts", value=repr(names)))
        found = cls(tuple(names))
        if found.sha256 != data["sha256"]:
            raise ArtefactError(Problem("the names of a label map do not fit its hash", value=repr(data["sha256"])))
        return found

    def unknown(self, name: str, place: str, rule: str, remedy: str = CORRECT) -> Problem:
        """What is wrong with a label that is not there, with the nearest one; `remedy` unless the text itself tells more."""
        if self.hints and (known := self._alike.get(_folded(name))) is not None:
            return Problem(rule, place, name, known, "the two differ only in case, space or Unicode form; spell them alike")
        if not name:
            return Problem(rule, place, name, remedy='if an empty label means "no label", set `missing: [""]`')
        close = _nearest(name, self.names) if self.hints and len(self.names) <= _MANY else None
        return Problem(rule, place, name, close, remedy)


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The closest known label; of tags with the same letter (`B-PER`) only what follows it is compared.

    >>> _nearest("B-locaton", ["B-location", "I-location", "B-loan"]), _nearest("B-ORG", ["B-LOC", "B-PER"])
    ('B-location', None)
    """
    letter = name[:2]
    alike = [label[2:] for label in known if label.startswith(letter)] if letter[1:] == "-" else []
    if not alike:
        return nearest(name, known)
    close = nearest(name[2:], alike)
    return None if close is None else letter + close


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())
