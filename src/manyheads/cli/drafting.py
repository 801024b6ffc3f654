"""`manyheads init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.cli.console import note
from manyheads.config.dump import schema_text
from manyheads.draft import SCHEMA, draft
from manyheads.errors import Problem, RecipeError, ResourceError


def init(files: Sequence[Path], output: Path, encoder: str, force: bool) -> None:
    """Write a recipe for the files to `output`, with its schema beside it."""
    require_place(output, force)
    write(output, draft(files, encoder, output.parent))
    write(output.parent / SCHEMA, schema_text())  # the recipe's first line points editors to it
    note(f"wrote {output}")
    note(f"look at the plan:  manyheads check {output}")
    note(f"train:             manyheads train {output}")


def write(path: Path, text: str) -> None:
    """Text to a file; ResourceError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResourceError(Problem(f"cannot be written: {error.strerror or error}", str(path))) from error


def require_place(output: Path, force: bool, option: str = "--output") -> None:
    """RecipeError where no recipe can be written, or where a file would be lost."""
    if output.is_dir():
        remedy = f"name a file in it: {option} {output / 'recipe.yaml'}"
        raise RecipeError(Problem("a recipe is a file, and this is a folder", str(output), remedy=remedy))
    if not output.parent.is_dir():
        remedy = f"make the folder first, or name another place with {option}"
        raise RecipeError(Problem("there is no such folder", str(output.parent), remedy=remedy))
    if output.exists() and not force:
        raise RecipeError(Problem("the file exists", str(output), remedy=f"--force overwrites it, {option} names another"))
