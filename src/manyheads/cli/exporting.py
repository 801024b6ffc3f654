"""`manyheads export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.artefact import load_artefact
from manyheads.cli.console import out, printable, warn
from manyheads.cli.predicting import find_artefact
from manyheads.export import export as write


def export(artefact: Path, target: Path, tasks: Sequence[str] | None) -> None:
    """Write the tasks, a line each; what the plain models do not do is a warning."""
    for found in write(load_artefact(find_artefact(artefact)), target, tasks):
        out.print(printable(f"{found.folder}: {found.model}"))
        for text in found.notes:
            warn(f"{found.task}: {text}")
