"""`manyheads check` and `manyheads inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manyheads.api import load_recipe
from manyheads.artefact import CONFIG, load_artefact
from manyheads.assemble import assemble
from manyheads.blueprint import Blueprint
from manyheads.cli.console import clock, out, print_json, print_table, printable, warn
from manyheads.cli.predicting import find_artefact
from manyheads.model import Model
from manyheads.nn.stitch import shares_of
from manyheads.plan import DatasetPlan, Plan, plan
from manyheads.run import output_folder
from manyheads.summary import summary
from manyheads.vocabularies import VocabularyFacts


def check(recipe: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Print the plan of a run."""
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    model = assembly.build()
    found = plan(loaded.recipe, assembly, model)
    if as_json:
        print_json(found.to_json())
        return
    for text in (*loaded.warnings, *found.warnings):
        warn(text)
    _show(found, {name: len(task.type.labels) for name, task in model.tasks.items()})
    out.print(f"The run goes to {output_folder(loaded)}. Nothing was written.")


def inspect(path: Path, overrides: Sequence[str], as_json: bool) -> None:
    """Print tasks, paths, sharing and parameters of a recipe or an artefact."""
    folder = find_artefact(path)
    if (folder / CONFIG).is_file():
        artefact = load_artefact(folder)
        model, blueprint = artefact.model, artefact.blueprint
    else:
        loaded = load_recipe(path, overrides)
        assembly = assemble(loaded)
        model, blueprint = assembly.build(), assembly.blueprint
    if as_json:
        print_json(_described(model, blueprint))
    else:
        out.print(printable_lines(summary(model)))


def _described(model: Model, blueprint: Blueprint) -> dict[str, Any]:
    """Types by the names that a recipe gives them."""
    tasks = {n: {"type": blueprint.tasks[n].type, "path": [s.result for s in t.steps]} for n, t in model.tasks.items()}
    modules = {
        name: {"type": blueprint.modules[name].type, "parameters": sum(p.numel() for p in module.parameters())}
        for name, module in model.pool.items()
    }
    sharing = {name: asdict(found) for name, found in shares_of(model.pool.items()).items()}
    return {"tasks": tasks, "modules": modules, "shared": list(model.graph.shared()), "sharing": sharing}


def printable_lines(text: str) -> str:
    """Control characters as escapes, line breaks kept."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _show(found: Plan, labels: Mapping[str, int]) -> None:
    """Three tables that fit 80 columns; docs/cli.md explains theirs. `labels` counts each task's, 0 where it has numbers."""
    head = ["data", "train", "dev", "test", "different\nlabels", "without\na label"]
    print_table(head, [_rows(name, data, found, labels) for name, data in found.datasets.items()], "Rows", numbers=head[1:])
    for task, weighted in found.weighted.items():
        out.print(f"{printable(task)}: by their weights, rows with a label count as {weighted:,.1f}")
    for folder, rows in found.teachers.items():
        out.print(f"The teacher {printable(folder)} answers {rows:,} rows before the first step")
    head = ["data", "median\npieces", "99 %\npieces", "cut\ntrain", "dev", "test", "batches\nan epoch"]
    print_table(head, [_lengths(name, data) for name, data in found.datasets.items()], "Lengths", numbers=head[1:])
    for name, data in found.datasets.items():
        if data.sequences != data.rows["train"]:
            read = f"the encoder reads {data.sequences:,} windows or choices for {data.rows['train']:,} training rows"
            out.print(f"{printable(name)}: {read}")
    _show_words(found.vocabularies)
    head = ["data", "updates", "epochs", "rows", "pieces"]
    print_table(head, [_training(name, data) for name, data in found.datasets.items()], "What training takes", numbers=head[1:])
    if found.learns:
        out.print("The mixture learns its shares as it goes: what data sets get is counted by the first ones.")
    pieces = sum(data.tokens for data in found.datasets.values())
    out.print(f"{found.steps} steps, {found.rounds} rounds, {pieces:,} pieces to train on; about {clock(found.seconds)} here")
    out.print(f"{found.parameters:,} parameters, {found.trainable:,} trained")
    _show_passes(found.passes)
    memory, checkpoint = (f"{count / 2**20:.0f} MiB" for count in (found.state_bytes, found.checkpoint_bytes))
    out.print(f"about {memory} of memory beside activations, {checkpoint} a checkpoint")


def _show_words(vocabularies: Sequence[VocabularyFacts]) -> None:
    """A line a data set that is read by words, and the share of each vocabulary for which a file has vectors."""
    if not vocabularies:
        return
    head = ["data", "different\nwords", "known\nwords", "unknown\ntrain", "dev", "test"]
    rows = [
        [name, f"{facts.words:,}", f"{facts.known:,}", *(_percent(shares.get(split)) for split in ("train", "dev", "test"))]
        for facts in vocabularies
        for name, shares in facts.unknown.items()
    ]
    print_table(head, rows, "Words", numbers=head[1:])
    for module, share in ((module, share) for facts in vocabularies for module, share in facts.vectors.items()):
        out.print(f"{printable(module)}: the file of vectors has {_percent(share)} of the known words")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _show_passes(passes: Mapping[str, Sequence[str]]) -> None:
    if len(passes) > 1:
        told = "; ".join(f"{printable(name)} for {printable(', '.join(tasks))}" for name, tasks in passes.items())
        out.print(f"all answers for a text take {len(passes)} passes through an encoder: {told}")


def _rows(name: str, data: DatasetPlan, found: Plan, labels: Mapping[str, int]) -> list[str]:
    splits = (str(data.rows.get(split, 0)) for split in ("train", "dev", "test"))
    kinds = ", ".join(str(labels[task] or "–") for task in data.tasks)
    return [name, *splits, kinds, ", ".join(str(found.unlabelled[task]) for task in data.tasks)]


def _lengths(name: str, data: DatasetPlan) -> list[str]:
    cut = (str(data.cut.get(split, "–")) for split in ("train", "dev", "test"))
    return [name, str(data.median), str(data.p99), *cut, str(data.batches)]


def _training(name: str, data: DatasetPlan) -> list[str]:
    return [name, str(data.updates), f"{data.passes:.2f}", str(data.seen), str(data.tokens)]
