"""`manyheads check` and `manyheads inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyheads.api import load_recipe
from manyheads.artefact import CONFIG, load_artefact
from manyheads.assemble import assemble
from manyheads.cli.console import clock, out, print_json, print_table, printable, warn
from manyheads.cli.predicting import find_artefact
from manyheads.model import Model
from manyheads.plan import DatasetPlan, Plan, plan
from manyheads.run import output_folder
from manyheads.summary import summary


def check(recipe: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Print the plan of a run."""
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    found = plan(loaded.recipe, assembly, assembly.build())
    if as_json:
        print_json(found.to_json())
        return
    for text in loaded.warnings:
        warn(text)
    _show(found)
    out.print(f"The run goes to {output_folder(loaded)}. Nothing was written.")


def inspect(path: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Print tasks, paths, sharing and parameters of a recipe or an artefact."""
    folder = find_artefact(path)
    if (folder / CONFIG).is_file():
        model = load_artefact(folder).model
    else:
        loaded = load_recipe(path, overrides)
        model = assemble(loaded).build()
    if as_json:
        print_json(_described(model))
    else:
        out.print(printable_lines(summary(model)))


def _described(model: Model) -> dict[str, Any]:
    tasks = {n: {"type": type(t.type).__name__, "path": [s.result for s in t.steps]} for n, t in model.tasks.items()}
    modules = {
        name: {"type": type(module).__name__, "parameters": sum(p.numel() for p in module.parameters())}
        for name, module in model.pool.items()
    }
    return {"tasks": tasks, "modules": modules, "shared": list(model.graph.shared())}


def printable_lines(text: str) -> str:
    """Control characters as escapes, line breaks kept."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _show(found: Plan) -> None:
    head = [
        "data",
        "train",
        "dev",
        "test",
        "labels",
        "no label",
        "pieces p50",
        "p99",
        "cut",
        "batches",
        "updates",
        "passes",
        "rows",
        "pieces",
    ]
    rows = [_row(name, data, found) for name, data in found.datasets.items()]
    print_table(head, rows, "The plan", numbers=head[1:])
    for name, count in found.bad_rows.items():
        if count:
            warn(f"{name}: {count} bad rows are left out")
    for name, data in found.datasets.items():
        if data.cut:
            share = data.cut / max(data.rows["train"], 1)
            warn(f"{name}: {data.cut} training rows ({share:.0%}) are longer than the limit and are cut")
    if found.learns:
        out.print("The mixture learns its shares as it goes: what data sets get is counted by the first ones.")
    pieces = sum(data.tokens for data in found.datasets.values())
    out.print(f"{found.steps} steps, {found.rounds} rounds, {pieces:,} pieces to train on; about {clock(found.seconds)} here")
    out.print(
        f"{found.parameters:,} parameters, {found.trainable:,} trained; about {found.state_bytes / 2**20:.0f} MiB of memory "
        f"beside activations; {found.checkpoint_bytes / 2**20:.0f} MiB a checkpoint"
    )


def _row(name: str, data: DatasetPlan, found: Plan) -> list[str]:
    splits = [str(data.rows.get(split, 0)) for split in ("train", "dev", "test")]
    labels = ", ".join(str(found.labels[t]) for t in data.tasks)
    missing = ", ".join(str(found.unlabelled[t]) for t in data.tasks)
    return [
        name,
        *splits,
        labels,
        missing,
        str(data.median),
        str(data.p99),
        str(data.cut),
        str(data.batches),
        str(data.updates),
        f"{data.passes:.2f}",
        str(data.seen),
        str(data.tokens),
    ]
