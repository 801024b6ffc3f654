"""`key.path=value` from the command line, put into the tree of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from manyheads.config.compose import compose
from manyheads.config.node import MAX_DEPTH, Finding, KeyPath, Node, dotted
from manyheads.errors import Problem, RecipeError, listed, nearest

_NAMED = ("modules", "data", "tasks")  # sections whose keys the user chose


def apply_overrides(root: Node, overrides: Sequence[str]) -> Node:
    """The tree with every override in it, the later one winning.

    A value is YAML on one line; an empty one is empty text, and null takes a module, a data set or a task away. A part of the
    key is a key, the index of a list's element, or for the steps of a path their name. Raises RecipeError with all overrides
    that cannot be placed.
    """
    problems: list[Problem] = []
    for text in overrides:
        try:
            root = _apply(root, text)
        except RecipeError as error:
            problems.extend(error.problems)
    if problems:
        raise RecipeError(*problems)
    return root


def _apply(root: Node, text: str) -> Node:
    place = f"override '{text}'"
    spelled, equals, written = text.partition("=")
    parts = spelled.split(".")
    if not equals or not all(parts) or len(parts) > MAX_DEPTH:
        raise RecipeError(Problem("an override is written key.path=value", place))
    if parts[0] == "extends":
        raise RecipeError(Problem("`extends` stands in a file, not in an override", place))
    value = compose(written, place, located=False) if written else Node("", place)
    path, rest = _walk(root, parts, place)
    takes_away = parts[0] in _NAMED and len(parts) == 2 and value.value is None
    if parts[0] in _NAMED and len(path) < 2 and (takes_away or len(parts) > 2):
        node = root.child(parts[0])
        known = list(node.value) if node and isinstance(node.value, dict) else []
        rule = f"`{parts[0]}` has no entry of this name; there are {listed(known)}"
        raise RecipeError(Problem(rule, place, parts[1], nearest(parts[1], known)))
    if takes_away:
        return root.without(path)
    for key in reversed(rest[1:]):
        value = Node({key: replace(value, key=place)}, place)
    return root.put((*path, *rest[:1]), replace(value, key=place))


def _walk(root: Node, parts: list[str], place: str) -> tuple[KeyPath, list[str]]:
    """The path as far as the tree has it, and the keys beyond, which are to be made."""
    node, path = root, list[str | int]()
    for i, part in enumerate(parts):
        if isinstance(node.value, list):
            path.append(_index(node, part, path, place))
        elif not isinstance(node.value, dict) and node.value is not None:
            rule = f"`{dotted(tuple(path))}` holds a single value, so it has no keys"
            raise RecipeError(Problem(rule, place, ".".join(parts[i:])))
        elif node.child(part) is None:
            return tuple(path), parts[i:]
        else:
            path.append(part)
        node = node.child(path[-1]) or node
    return tuple(path), []


def _index(node: Node, part: str, path: list[str | int], place: str) -> int:
    """The index of a list's element by its number or, for a step of a path, by its name."""
    elements = node.value if isinstance(node.value, list) else []
    if part.isdecimal() and int(part) < len(elements):
        return int(part)
    names = [_step_name(element) for element in elements]
    if path[-1:] == ["path"] and part in names:
        return names.index(part)
    known = [*map(str, range(len(elements))), *(n for n in names if n and path[-1:] == ["path"])]
    rule = f"`{dotted(tuple(path))}` has no such element; there are {listed(known)}"
    raise RecipeError(Problem(rule, place, part, nearest(part, known)))


def _step_name(element: Node) -> str:
    if isinstance(element.value, str):
        return element.value
    named = element.child("name") or element.child("module")
    return named.value if named is not None and isinstance(named.value, str) else ""


def retyped(root: Node, findings: Sequence[Finding]) -> Node | None:
    """The tree with scalars of overrides as the text they were written as, wherever the schema wanted text.

    So `tasks.a.data.label=2` names a column without a shell's and YAML's quotes both. None when there are none.
    """
    changed = False
    for finding in findings:
        node = root.find(finding.path)
        if "string_type" not in finding.kinds or node is None or not node.place.startswith("override "):
            continue
        if node.raw and isinstance(node.value, bool | int | float):
            root, changed = root.put(finding.path, replace(node, value=node.raw)), True
    return root if changed else None
