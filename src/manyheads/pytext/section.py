"""A configuration as sections that note what was read of them, so that at the end the rest is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from manyheads.config.compose import compose
from manyheads.config.node import KeyPath, Node, dotted
from manyheads.errors import DataError, Problem, RecipeError, nearest

T = TypeVar("T")
_REMEDY = "a configuration of PyText is one JSON object with the key `task`, or with `config`, in which that key stands"
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the recipe does not say: where it stands in the configuration, what it is there, why."""

    path: str
    value: str
    why: str


@dataclass
class Ledger:
    """What was read of a configuration, what was given up and why, and what is wrong."""

    used: set[KeyPath] = field(default_factory=set)
    asked: dict[KeyPath, set[str]] = field(default_factory=dict)
    classes: dict[KeyPath, str] = field(default_factory=dict)  # where one is named, and what is meant where none is
    given_up: dict[KeyPath, str] = field(default_factory=dict)  # whole sections, or single keys
    idle: dict[KeyPath, str] = field(default_factory=dict)
    further: list[Remark] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self) -> None:
        """RecipeError with all problems, if there are any."""
        if self.problems:
            raise RecipeError(*self.problems)


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of the configuration, or its absence (`node` None); whoever asks for a key has read it."""

    node: Node | None
    path: KeyPath
    ledger: Ledger
    around: str = ""  # place of the nearest section around an absent one

    @property
    def place(self) -> str:
        return self.node.place if self.node is not None else self.around

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.node.value) if self.node is not None and isinstance(self.node.value, dict) else ()

    def has(self, key: str) -> bool:
        """Whether there is something but null under the key."""
        return (found := self._child(key)) is not None and found.value is not None

    def place_of(self, key: str) -> str:
        """`file:line:column` of a value; empty where there is none."""
        found = self._child(key)
        return found.place if found is not None else ""

    def section(self, key: str) -> Section:
        """The section under a key, an absent one where nothing or null stands there."""
        inner = self._ask(key)
        path = (*self.path, key)
        if inner is None or inner.value is None or inner.value == {}:
            self.ledger.used.add(path)
        elif not isinstance(inner.value, dict):
            self.ledger.problems.append(Problem("a section is wanted, {…}", inner.place, inner.raw or None))
            self.ledger.used.add(path)
            inner = None
        return Section(inner if inner is not None and inner.value is not None else None, path, self.ledger, self.place)

    def emptied(self) -> Section:
        """The same section as if it said nothing."""
        return Section(None, self.path, self.ledger, self.place)

    def sections(self, key: str) -> list[Section]:
        """The sections of a list."""
        inner = self._ask(key)
        parts = inner.value if inner is not None and isinstance(inner.value, list) else []
        if not parts:
            self.ledger.used.add((*self.path, key))
        return [Section(part, (*self.path, key, i), self.ledger) for i, part in enumerate(parts)]

    def variant(self, key: str, default: str) -> tuple[str, Section]:
        """The class that a section names, `{Class: {…}}`, and what it says of it; `default` where it names none."""
        return self.section(key).named(default)

    def named(self, default: str) -> tuple[str, Section]:
        """As `variant`, of this section itself."""
        inner = self.node.value if self.node is not None and isinstance(self.node.value, dict) else {}
        for name, part in inner.items():
            if name[:1].isupper() and (part.value is None or isinstance(part.value, dict)):
                self.ledger.classes[(*self.path, name)] = default
                return name, self.section(name)
        return default, self

    def flag(self, key: str, default: bool) -> bool:
        """A truth value."""
        return self._scalar(key, default, bool)

    def whole(self, key: str, default: int) -> int:
        """A whole number."""
        return self._scalar(key, default, int)

    def number(self, key: str, default: float) -> float:
        """A number."""
        return self._scalar(key, default, float)

    def text(self, key: str, default: str = "") -> str:
        """A text; empty where null takes a default away."""
        found = self._child(key)
        return self._scalar(key, default if found is None or found.value is not None else "", str)

    def list_of(self, key: str, kind: type[T], default: list[T]) -> list[T]:
        """A list of numbers or texts."""
        inner = self._ask(key)
        if inner is None or inner.value is None:
            self.ledger.used.add((*self.path, key))
            return default
        parts = inner.plain()
        if not isinstance(parts, list) or not all(_fits(part, kind) for part in parts):
            self._wrong(inner, key, f"a list of {_KINDS[kind]} each is wanted")
            return default
        self.ledger.used.add((*self.path, key))
        return parts

    def table(self, key: str, names: list[str] | None = None) -> dict[str, float]:
        """Numbers by name; of names that nothing has nothing is read."""
        inside, found = self.section(key), {}
        for name in inside.keys:
            if names is None or name in names:
                found[name] = inside.number(name, 0.0)
        inside.ledger.asked.setdefault(inside.path, set()).update(names or [])
        return found

    def give_up(self, why: str, key: str = "") -> None:
        """All that stands here, or under `key`, is not carried over."""
        self.ledger.given_up[(*self.path, key) if key else self.path] = why

    def no_need(self, why: str, key: str) -> None:
        """What stands under `key` has no meaning here."""
        self.ledger.idle[(*self.path, key)] = why

    def remark(self, key: str, value: object, why: str) -> None:
        """The recipe differs in something that the configuration says by leaving it out."""
        self.ledger.further.append(Remark(dotted((*self.path, key) if key else self.path), str(value), why))

    def problem(
        self, rule: str, key: str = "", value: str | None = None, known: tuple[str, ...] = (), remedy: str = ""
    ) -> None:
        """Something is wrong here, or under `key`."""
        near = nearest(value, known) if value is not None and known else None
        self.ledger.problems.append(Problem(rule, self.place_of(key) or self.place, value, near, remedy))

    def _child(self, key: str) -> Node | None:
        return self.node.child(key) if self.node is not None else None

    def _ask(self, key: str) -> Node | None:
        self.ledger.asked.setdefault(self.path, set()).add(key)
        return self._child(key)

    def _scalar(self, key: str, default: T, kind: type[T]) -> T:
        inner = self._ask(key)
        if inner is None:
            return default
        self.ledger.used.add((*self.path, key))
        if inner.value is None:
            return default
        if not _fits(inner.value, kind):
            self._wrong(inner, key, f"`{key}` is {_KINDS[kind]}")
            return default
        value: Any = inner.value
        return kind(value)  # type: ignore[call-arg]  # T is one of the four kinds

    def _wrong(self, inner: Node, key: str, rule: str) -> None:
        self.ledger.used.add((*self.path, key))
        self.ledger.problems.append(Problem(rule, inner.place, inner.raw or json.dumps(inner.plain())))


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def read_json(file: Path) -> Node:
    """The tree of a JSON file. DataError where it cannot be read, RecipeError with the place where it is no JSON object."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror or error}", str(file))) from error
    except UnicodeDecodeError as error:
        raise DataError(Problem("a configuration is UTF-8", str(file), remedy="re-encode the file")) from error
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{file}:{error.lineno}:{error.colno}"
        line = text.splitlines()[error.lineno - 1] if text.strip() else ""
        raise RecipeError(Problem(f"not valid JSON: {error.msg}", place, line.strip() or None, remedy=_REMEDY)) from None
    node = compose(text.replace("\t", " "), str(file))  # JSON is YAML but for tabs between values
    if not isinstance(node.value, dict):
        raise RecipeError(Problem("this is no configuration of PyText", node.place, remedy=_REMEDY))
    return node


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Values with nothing below, lists of plain values among them."""
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(node.value, list) and any(isinstance(part.value, dict) for part in node.value):
        for i, part in enumerate(node.value):
            yield from leaves(part, (*path, i))
    else:
        yield path, node
