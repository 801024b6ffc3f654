"""A model drawn as text: its tasks with their paths, its modules with who uses them and how large they are.

2 tasks over 3 modules, 1 of them shared
3 steps for all tasks, 4 without sharing
1,234 parameters, 1,234 of them trained

task       type            path
sentiment  Classification  trunk* -> sentiment_head
topic      Classification  trunk* -> topic_head

module          type     parameters  used by
trunk*          Linear        1,000  sentiment, topic
sentiment_head  RowHead         102  sentiment
topic_head      RowHead         132  topic
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from manyheads.graph import Step
from manyheads.model import Model
from manyheads.nn.stitch import shares_of

SHARED = "*"  # marks a module that several tasks use


def summary(model: Model) -> str:
    """What is in the model, in a few lines of plain text; `*` marks what tasks share, whose parameters count once."""
    return "\n".join([*_counts(model), "", *_tasks(model), "", *_modules(model), *_shares(model)])


def _counts(model: Model) -> list[str]:
    nodes, shared = model.graph.nodes, len(model.graph.shared())
    alone = sum(len(node.tasks) for node in nodes)
    return [
        f"{_many(len(model.tasks), 'task')} over {_many(len(model.pool), 'module')}, {shared} of them shared",
        f"{_many(len(nodes), 'step')} for all tasks, {alone} without sharing",
        f"{_size(model):,} parameters, {_size(model, trained=True):,} of them trained",
    ]


def _tasks(model: Model) -> list[str]:
    shared = model.graph.shared()
    rows = [("task", "type", "path")]
    for name, task in model.tasks.items():
        rows.append((name, type(task.type).__name__, " -> ".join(_step(step, step.module in shared) for step in task.steps)))
    return _table(rows)


def _step(step: Step, shared: bool) -> str:
    """module, or name=module, with its inputs where they are written out."""
    name = f"{step.name}=" if step.name and step.name != step.module else ""
    inputs = f"({', '.join(step.inputs)})" if step.inputs else ""
    return f"{name}{step.module}{SHARED if shared else ''}{inputs}"


def _modules(model: Model) -> list[str]:
    users: dict[str, list[str]] = {name: [] for name in model.pool}
    for node in model.graph.nodes:
        users[node.module] += [task for task in node.tasks if task not in users[node.module]]
    rows = [("module", "type", "parameters", "used by")]
    for name, module in model.pool.items():
        frozen = ", frozen" if _size(module) and not _size(module, trained=True) else ""
        mark = SHARED if len(users[name]) > 1 else ""
        rows.append((name + mark, type(module).__name__ + frozen, f"{_size(module):,}", ", ".join(users[name]) or "no task"))
    return _table(rows, right=2)


def _shares(model: Model) -> list[str]:
    """A table for each unit of learned sharing, rows what flows in and columns what comes out."""
    lines: list[str] = []
    for name, found in shares_of(model.pool.items()).items():
        rows = [(f"{name}: from, to", *found.results)]
        weights = zip(found.sources, found.weights, strict=True)
        rows += [(source, *(f"{weight:.4f}" for weight in given)) for source, given in weights]
        lines += ["", *_table(rows)]
    return lines


def _size(module: nn.Module, trained: bool = False) -> int:
    """Numbers in the parameters, each parameter once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def _table(rows: Sequence[Sequence[str]], right: int | None = None) -> list[str]:
    """Columns two spaces apart, all flush left but the one numbered `right`."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i == right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
