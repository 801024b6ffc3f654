"""`manyheads init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.cli.console import note
from manyheads.draft import draft
from manyheads.errors import Problem, RecipeError


def init(files: Sequence[Path], output: Path, encoder: str, force: bool) -> None:
    """Write a recipe for the files beside where the command runs."""
    if output.exists() and not force:
        raise RecipeError(Problem("the file exists", str(output), remedy="--force overwrites it, --output names another"))
    output.write_text(draft(files, encoder, output.parent), encoding="utf-8")
    note(f"wrote {output}")
    note(f"look at the plan:  manyheads check {output}")
    note(f"train:             manyheads train {output}")
