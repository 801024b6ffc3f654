"""Objects in lists in objects: where each begins in a JSON file, and what must stand under its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from manyheads.data.labels import kind_of
from manyheads.data.readers.decode import line_at
from manyheads.data.readers.jsonl import StrictParser, broken_rule, past_space
from manyheads.errors import DataError, Problem, shown

T = TypeVar("T")

_KINDS: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a map"}


class BrokenRule(ValueError):
    """A record that cannot be a row; its text is the rule that the record breaks."""


def want(record: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """The value under `key`. Raises BrokenRule if there is none, or one of another type."""
    if key not in record:
        raise BrokenRule(f"the key {shown(key)} is missing")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise BrokenRule(f"{shown(key)} must be {_KINDS[kind]}, not {kind_of(value)}")
    return value


def want_objects(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under `key`. Raises BrokenRule for all else."""
    found: list[Any] = want(record, key, list)
    if wrong := [value for value in found if not isinstance(value, dict)]:
        raise BrokenRule(f"{shown(key)} must be a list of maps, this one holds {kind_of(wrong[0])}")
    return found


@dataclass(slots=True)
class Nested:
    """An object of a file: its values, the offsets of its first character and behind its last, and what JSON forbids in it.

    Under a key of the path stands a list of `Nested`.
    """

    values: dict[str, Any]
    start: int
    stop: int = 0
    faults: list[str] = field(default_factory=list)


def walk(text: str, name: str, path: Sequence[str]) -> Nested:
    """The one object of a file. Objects in the list under `path[0]` are `Nested` in turn, with the rest of the path.

    Raises DataError, with the line in file `name`: broken JSON, a key of the path that is missing or holds no list of objects.
    """
    cursor = _Cursor(text, name)
    found = cursor.object(path)
    if cursor.at < len(text):
        raise cursor.error("nothing may follow the object")
    return found


class _Cursor:
    """A place in the text that moves on. It stands behind spaces, always."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._parser = StrictParser()
        self.at = past_space(text, 0)
        self._behind = 0  # the mark taken last

    def object(self, path: Sequence[str]) -> Nested:
        """The object that begins here."""
        found = Nested({}, self.at)
        self._expect("{")
        more = not self._take("}")
        while more:
            key = self._value(found)
            if not isinstance(key, str):
                raise self.error("a key in double quotes is expected before this")
            if key in found.values:
                found.faults.append(f"the key {shown(key)} stands twice")
            self._expect(":")
            found.values[key] = self._objects(path[1:]) if key in path[:1] else self._value(found)
            more = self._take(",")
            if not more:
                self._expect("}")
        found.stop = self._behind
        if missing := [key for key in path[:1] if key not in found.values]:
            raise self.error(f"the object that begins here lacks the list {shown(missing[0])}", found.start)
        return found

    def error(self, rule: str, at: int | None = None) -> DataError:
        """DataError for what stands here."""
        at = self.at if at is None else at
        return DataError(Problem(rule, f"{self._name}:{line_at(self._text, at)}", self._text[at : at + 200]))

    def _objects(self, path: Sequence[str]) -> list[Nested]:
        found: list[Nested] = []
        self._expect("[")
        more = not self._take("]")
        while more:
            found.append(self.object(path))
            more = self._take(",")
            if not more:
                self._expect("]")
        return found

    def _value(self, owner: Nested) -> Any:
        try:
            value, stop = self._parser.value(self._text, self.at)
        except ValueError as error:
            raise self.error(broken_rule(error), getattr(error, "pos", self.at)) from error
        owner.faults += self._parser.faults
        self.at = past_space(self._text, stop)
        return value

    def _take(self, mark: str) -> bool:
        found = self._text.startswith(mark, self.at)
        if found:
            self._behind = self.at + 1
            self.at = past_space(self._text, self._behind)
        return found

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self.error(f"{mark} is expected here")
