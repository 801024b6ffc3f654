"""`manyheads init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.cli.console import note
from manyheads.config.dump import schema_text
from manyheads.draft import SCHEMA, draft
from manyheads.errors import Problem, RecipeError


def init(files: Sequence[Path], output: Path, encoder: str, force: bool) -> None:
    """Write a recipe for the files to `output`, with its schema beside it."""
    _require_place(output, force)
    output.write_text(draft(files, encoder, output.parent), encoding="utf-8")
    (output.parent / SCHEMA).write_text(schema_text(), encoding="utf-8")  # the recipe's first line points editors to it
    note(f"wrote {output}")
    note(f"look at the plan:  manyheads check {output}")
    note(f"train:             manyheads train {output}")


def _require_place(output: Path, force: bool) -> None:
    """RecipeError where no recipe can be written, or where a file would be lost."""
    if output.is_dir():
        remedy = f"name a file in it: --output {output / 'recipe.yaml'}"
        raise RecipeError(Problem("a recipe is a file, and this is a folder", str(output), remedy=remedy))
    if not output.parent.is_dir():
        remedy = "make the folder first, or name another place with --output"
        raise RecipeError(Problem("there is no such folder", str(output.parent), remedy=remedy))
    if output.exists() and not force:
        raise RecipeError(Problem("the file exists", str(output), remedy="--force overwrites it, --output names another"))
