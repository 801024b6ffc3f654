"""`defaults` into every task, and the task and module types that a recipe may name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from manyheads.config.fields import all_task_keys, builtin, homes, task_keys
from manyheads.config.node import Finding, Node, overlay
from manyheads.config.spec.data import BESIDE_FROM
from manyheads.errors import listed, nearest

_NEVER = frozenset({"type", "use_defaults"})  # decide which defaults apply, so they cannot be defaults


def merge_defaults(root: Node) -> tuple[Node, list[Finding], list[str]]:
    """The tree with `defaults` merged into its tasks and removed; mistakes; warnings.

    A task's own keys win, mappings join key by key. A key that the task's type does not take is skipped for that task, as
    are the rows of `defaults.data` for a task whose data come `from` a named data set.
    """
    defaults, tasks = root.child("defaults"), root.child("tasks")
    if defaults is None or not isinstance(defaults.value, dict):
        return root, [], []
    known = [key for key in all_task_keys() if key not in _NEVER]
    findings = [_unknown(key, known) for key in defaults.value if key not in known]
    usable = {key: _marked(node) for key, node in defaults.value.items() if key in known}
    used: set[str] = set()
    if tasks is not None and isinstance(tasks.value, dict):
        merged = {name: _merged(usable, task, used) for name, task in tasks.value.items()}
        root = root.put(("tasks",), replace(tasks, value=merged))
    warnings = [f"{usable[key].key}: no task takes `defaults.{key}`" for key in usable if key not in used]
    return (root if findings else root.without(("defaults",))), findings, warnings


def _unknown(key: str, known: list[str]) -> Finding:
    elsewhere = [home for home in homes(key, ()) if not home.startswith("tasks.<name>.data")]
    remedy = f"'{key}' belongs to {', or to '.join(elsewhere[:3])}" if elsewhere else ""
    return Finding(("defaults", key), "no task type takes this key of `defaults`", key, nearest(key, known), remedy, "key")


def _merged(defaults: dict[str, Node], task: Node, used: set[str]) -> Node:
    opted_out = task.child("use_defaults")
    if not isinstance(task.value, dict) or (opted_out is not None and opted_out.value is False):
        return task
    chosen = task.child("type")
    takes = task_keys(chosen.value if chosen else None)
    low = {key: node for key, node in defaults.items() if key in takes}
    used.update(low)
    data = low.get("data")
    if data is not None and isinstance(data.value, dict) and task.find(("data", "from")) is not None:
        low["data"] = replace(data, value={k: v for k, v in data.value.items() if k in BESIDE_FROM})
    return overlay(replace(task, value=low), task)


def _marked(node: Node) -> Node:
    """The node and all below it, marked as given by `defaults`."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _marked(part) for key, part in value.items()}
    elif isinstance(value, list):
        value = [_marked(part) for part in value]
    return replace(node, value=value, given="defaults")


def check_types(root: Node, plugins: Mapping[str, Collection[str]]) -> tuple[Node, list[Finding]]:
    """Unknown types of modules and tasks; in the tree given back the nearest built-in type stands in for each.

    With the right type in place the rest of the section can still be checked by the schema.
    """
    findings: list[Finding] = []
    for section, kind in (("modules", "module"), ("tasks", "task")):
        entries = root.child(section)
        names = list(entries.value) if entries and isinstance(entries.value, dict) else []
        known = [*builtin(section), *sorted(plugins.get(kind, ()))]
        for name in names:
            path = (section, name, "type")
            node = root.find(path)
            if node is None or not isinstance(node.value, str) or node.value in known:
                continue
            close = nearest(node.value, known)
            rule = f"no {kind} type is called this; there are {listed(known)}"
            findings.append(Finding(path, rule, node.value, close))
            root = root.put(path, replace(node, value=close)) if close else root.without((section, name))
    return root, findings
