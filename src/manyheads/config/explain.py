"""pydantic's errors in our words: one finding for each place that is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from manyheads.config.fields import homes, keys, section_at
from manyheads.config.node import Finding, KeyPath, Node, dotted
from manyheads.errors import nearest, shown

_WANTED = {
    "string_type": "text",
    "string_unicode": "text in valid Unicode",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "string_pattern_mismatch": "at most 64 letters of a to z, digits, _ and -, and not begin with a digit or -",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "too_short": ("min_length", "of length at least"),
    "too_long": ("max_length", "of length at most"),
}
_SHAPES = frozenset(k for k, v in _WANTED.items() if k.endswith("_type"))
_OLD_BOOLS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def explain(error: ValidationError, root: Node) -> list[Finding]:
    """All that pydantic found, in the order in which it found it.

    The alternatives of a union come from pydantic as errors of their own; here they are one finding, that of the
    alternative which the value came closest to.
    """
    data = root.plain()
    grouped: dict[tuple[KeyPath, bool], list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        loc = details["loc"]
        path = _data_path(loc, root, details["type"])
        grouped.setdefault((path, loc[-1:] == ("[key]",)), []).append(details)
    deep = [path for path, _ in grouped]
    findings = []
    for (path, is_key), several in grouped.items():
        closer = any(len(other) > len(path) and other[: len(path)] == path for other in deep)
        if closer and all(d["type"] in _SHAPES for d in several):
            continue  # another alternative fits the shape and says more
        findings.append(_finding(path, is_key, several, root, data))
    return findings


def _data_path(loc: tuple[str | int, ...], root: Node, error: str) -> KeyPath:
    """`loc` without the names of the union's alternatives, which pydantic puts between keys."""
    tagged = loc[:1] in (("modules",), ("tasks",)) and len(loc) > 2
    parts = [*loc[:2], *loc[3:]] if tagged else list(loc)
    path: list[str | int] = []
    node: Node | None = root
    for i, part in enumerate(parts):
        inner = node.child(part) if node is not None else None
        if inner is not None or (error == "missing" and i == len(parts) - 1):
            path.append(part)
            node = inner
    return tuple(path)


def _finding(path: KeyPath, is_key: bool, several: list[ErrorDetails], root: Node, data: Any) -> Finding:
    first = several[0]
    kinds = tuple(d["type"] for d in several)
    if first["type"] == "missing":
        return _missing(path, root)
    if first["type"] == "extra_forbidden":
        return _unknown(path, root, data)
    spelled = _spelled(path[:-1] if is_key else path, root)
    here = f"`{spelled}`" if spelled else "the recipe"
    what = f"the name {shown(str(path[-1]))} in {here}" if is_key else here
    choices = [name for d in several for name in _choices(d)]
    value = str(path[-1]) if is_key else _written(root.find(path), first["input"])
    wanted = " or ".join(dict.fromkeys(_wanted(d) for d in several))
    close = nearest(value, choices) if value is not None else None
    remedy = _remedy(first["input"], kinds, value or "")
    return Finding(path, f"{what} must be {wanted}", value, close, remedy, "key" if is_key else "value", kinds=kinds)


def _spelled(path: KeyPath, root: Node) -> str:
    """`path` as the user wrote it: under `defaults` for what a task has from there."""
    node = root.find(path)
    return dotted(("defaults", *path[2:]) if node is not None and node.given else path)


def _missing(path: KeyPath, root: Node) -> Finding:
    where = f"`{_spelled(path[:-1], root)}`" if path[:-1] else "the recipe"
    wanted = f"the key '{path[-1]}'" if isinstance(path[-1], str) else "one value more"
    return Finding(path, f"{where} needs {wanted}", at="key", missing=True, kinds=("missing",))


def _unknown(path: KeyPath, root: Node, data: Any) -> Finding:
    key, section = str(path[-1]), section_at(path[:-1], data)
    where = f"`{_spelled(path, root).rpartition('.')[0]}`" if path[:-1] else "the top level of the recipe"
    close = nearest(key, keys(section)) if section else None
    elsewhere = homes(key, path[:-1])
    remedy = f"'{key}' belongs to {', or to '.join(elsewhere[:3])}" if elsewhere else ""
    return Finding(path, f"{where} has no key of this name", key, close, remedy, "key", kinds=("extra_forbidden",))


def _choices(details: ErrorDetails) -> list[str]:
    """The literals that would have been right."""
    if details["type"] != "literal_error":
        return []
    return [text or number for text, number in re.findall(r"'([^']*)'|\b(\d+)\b", details["ctx"]["expected"])]


def _wanted(details: ErrorDetails) -> str:
    error, context = details["type"], details.get("ctx", {})
    if error in _WANTED:
        return _WANTED[error]
    if error in _BOUNDS:
        name, words = _BOUNDS[error]
        return f"{words} {context[name]:g}"
    if error == "literal_error":
        options = [shown(c) if not c.isdigit() else c for c in _choices(details)]
        return options[0] if len(options) == 1 else "one of " + ", ".join(options)
    if error == "value_error":
        return str(context["error"]).removeprefix("must be ")
    return f"valid ({details['msg'][:1].lower()}{details['msg'][1:]})"


def _written(node: Node | None, value: Any) -> str | None:
    """The offending text: a scalar as it was written, else JSON."""
    if node is not None and node.raw:
        return node.raw
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _remedy(value: Any, kinds: tuple[str, ...], written: str) -> str:
    if "string_type" in kinds and isinstance(value, bool | int | float):
        return f'put it in quotes: "{written}"'
    if "bool_type" in kinds and written.casefold() in _OLD_BOOLS:
        return f"YAML 1.2 writes {_OLD_BOOLS[written.casefold()]}"
    if {"int_type", "float_type"} & set(kinds) and isinstance(value, str) and re.fullmatch(r"[-+.\deE]+", value):
        return "write it without quotes"
    return ""
