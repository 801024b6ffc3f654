"""`--plugin FILE.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import manyheads.api  # noqa: F401  # our own components come first, so that a name that is taken is told of the plug-in
from manyheads.cli.console import warn
from manyheads.config.source import read_source
from manyheads.errors import ManyheadsError, Problem, RecipeError
from manyheads.plugins import load_plugin, loaded, wanted


def load(files: Sequence[Path]) -> None:
    """Load plug-in files; one that registers nothing is told of."""
    for file in files:
        if not load_plugin(file).provides:
            warn(f"{file}: the plug-in registers nothing, so no recipe can name anything of it")


@contextmanager
def hinting(recipe: Path, overrides: Sequence[str]) -> Iterator[None]:
    """A recipe that cannot be read without the plug-ins of its earlier run is told with their names."""
    try:
        yield
    except RecipeError as error:
        here = {plugin.path.name for plugin in loaded()}
        if lacks := [name for name in _of_the_run(recipe, overrides) if name not in here]:
            raise RecipeError(*error.problems, Problem("the earlier run had plug-ins", remedy=wanted(lacks))) from error
        raise


def _of_the_run(recipe: Path, overrides: Sequence[str]) -> list[str]:
    """Names of the plug-ins that the run in the recipe's output folder had; none where nothing says so."""
    try:
        node = read_source(recipe).root.child("output")
        given = [text.partition("=")[2] for text in overrides if text.startswith("output=")]
        folder = Path(given[-1] if given else str(node.value) if node else Path("runs") / recipe.stem)
        return list(json.loads((folder / "run.json").read_text(encoding="utf-8"))["fingerprint"]["plugins"])
    except (ManyheadsError, OSError, ValueError, KeyError, TypeError):
        return []
