"""A recipe as a tree whose every value remembers where it was written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from manyheads.errors import Problem, RecipeError, listed, nearest

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_NODES = 10_000


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a recipe: a mapping of nodes, a list of nodes or a scalar.

    `place` is where the value stands and `key` where the key before it does, each `file:line:column`, an override or a
    dotted key. `raw` is a scalar as it was written. `size` and `height` count the nodes below, this one included, so that
    a few aliases cannot stand for a tree without end. `given` is 'defaults' for what a task has from there.
    """

    value: dict[str, Node] | list[Node] | str | int | float | bool | None
    place: str
    key: str = ""
    raw: str = ""
    size: int = 1
    height: int = 1
    given: Literal["", "defaults"] = ""

    def plain(self) -> Any:
        """The values alone."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        """What stands under a key or an index; None where there is nothing."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None

    def find(self, path: KeyPath) -> Node | None:
        """The node at the end of `path`."""
        node: Node | None = self
        for part in path:
            node = node.child(part) if node is not None else None
        return node

    def put(self, path: KeyPath, node: Node) -> Node:
        """A copy of the tree with `node` at `path`; all that leads there must exist."""
        if not path:
            return node
        inner = self.child(path[0])
        below = node if inner is None else inner.put(path[1:], node)
        if isinstance(self.value, list):
            return replace(self, value=[below if i == path[0] else old for i, old in enumerate(self.value)])
        parts = self.value if isinstance(self.value, dict) else {}
        return replace(self, value={**parts, str(path[0]): below})

    def without(self, path: KeyPath) -> Node:
        """A copy of the tree in which nothing stands at `path`."""
        inner = self.child(path[0])
        if inner is None:
            return self
        if len(path) > 1:
            return self.put(path[:1], inner.without(path[1:]))
        if isinstance(self.value, dict):
            return replace(self, value={k: v for k, v in self.value.items() if k != path[0]})
        kept = self.value if isinstance(self.value, list) else []
        return replace(self, value=[v for i, v in enumerate(kept) if i != path[0]])


def mapping(nodes: dict[str, Node], place: str, key: str = "") -> Node:
    """A mapping node whose size and height are those of its parts."""
    return Node(nodes, place, key, "", *_extent(nodes.values()))


def sequence(nodes: list[Node], place: str, key: str = "") -> Node:
    """A list node whose size and height are those of its parts."""
    return Node(nodes, place, key, "", *_extent(nodes))


def _extent(nodes: Any) -> tuple[int, int]:
    parts = list(nodes)
    return 1 + sum(n.size for n in parts), 1 + max((n.height for n in parts), default=0)


def overlay(low: Node, high: Node) -> Node:
    """`high` over `low`: mappings join key by key; lists and scalars are replaced whole."""
    if not (isinstance(low.value, dict) and isinstance(high.value, dict)):
        return high
    joined = {**low.value, **high.value}
    for key in low.value.keys() & high.value.keys():
        joined[key] = overlay(low.value[key], high.value[key])
    return replace(high, value=joined)


def dotted(path: KeyPath) -> str:
    """`path` as overrides spell it.

    >>> dotted(("tasks", "ner", "path", 0))
    'tasks.ner.path.0'
    """
    return ".".join(str(part) for part in path)


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake found at a path of the tree; it becomes a `Problem` once the tree tells the place.

    `at` says whether the key or its value is wrong. `missing` is set where the path's last key is not there; `lacks` names
    a key beside it that is not.
    """

    path: KeyPath
    rule: str
    value: str | None = None
    nearest: str | None = None
    remedy: str = ""
    at: Literal["key", "value"] = "value"
    missing: bool = False
    kinds: tuple[str, ...] = ()
    lacks: str = ""

    def problem(self, root: Node | None = None) -> Problem:
        """The same with its place: that of the deepest node on the path; the dotted key for settings that have no tree."""
        if root is None:
            return Problem(self.rule, dotted(self.path), self.value, self.nearest, self.remedy)
        place = root.place
        node = root
        for i, part in enumerate(self.path):
            inner = node.child(part)
            if inner is None:
                break
            node = inner
            whole = self.at == "key" or i < len(self.path) - 1
            place = node.key if whole and node.key else node.place
        return Problem(self.rule, place, self.value, self.nearest, self.remedy)


def absent(path: KeyPath, rule: str, name: str, known: Collection[str], at_key: bool = False) -> Finding:
    """A name that nothing has, with those that there are."""
    rule = f"{rule}; there are {listed(known)}"
    return Finding(path, rule, name, nearest(name, known), at="key" if at_key else "value")


def refuse(findings: Iterable[Finding]) -> None:
    """RecipeError with all findings, if there are any, of settings that have no tree."""
    if problems := [finding.problem() for finding in findings]:
        raise RecipeError(*problems)


def from_python(value: Any, path: KeyPath = ()) -> Node:
    """The tree of plain Python values, their dotted keys as places.

    Raises RecipeError for a value that a recipe file could not hold.
    """
    place = dotted(path)
    if len(path) > MAX_DEPTH:
        raise RecipeError(Problem(f"nested deeper than {MAX_DEPTH} levels", dotted(path[:3]) + "…"))
    if isinstance(value, Mapping):
        wrong = next((k for k in value if not isinstance(k, str)), None)
        if wrong is not None:
            raise RecipeError(Problem("keys must be text", place, str(wrong)))
        return mapping({k: from_python(v, (*path, k)) for k, v in value.items()}, place, place)
    if isinstance(value, list | tuple):
        return sequence([from_python(v, (*path, i)) for i, v in enumerate(value)], place, place)
    wanted = _unfit(value)
    if wanted:
        raise RecipeError(Problem(wanted, place, str(value).encode("unicode_escape").decode()))
    return Node(value, place, place, value if isinstance(value, str) else "")


def _unfit(value: Any) -> str:
    """Why a scalar cannot stand in a recipe; empty when it can."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, str):
        return "text must be valid Unicode" if any("\ud800" <= c <= "\udfff" for c in value) else ""
    if isinstance(value, int):
        return "" if abs(value) < 2**63 else "a whole number must fit into 64 bits"
    if isinstance(value, float):
        return "" if value - value == 0 else "a number must be finite"
    return f"a recipe holds text, numbers, true, false, null, lists and mappings, not {type(value).__name__}"
