"""`manyheads recipes`: the recipes that come with the package."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from manyheads.cli.console import note, print_json, print_table
from manyheads.config.compose import compose
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.folder import write_text

_FOLDER = files("manyheads") / "recipes"
_DATA = "data/"  # what the names of all their files begin with
_MARKS = set(",:#[]{}'\"&*")


@dataclass(frozen=True, slots=True)
class Shipped:
    """A recipe of the package: its text, and what its first comments say of it."""

    name: str
    text: str

    @property
    def summary(self) -> str:
        return self.text.splitlines()[0].removeprefix("# ")

    @property
    def tasks(self) -> list[str]:
        node = compose(self.text, self.name).child("tasks")
        return list(node.value) if node is not None and isinstance(node.value, dict) else []

    def told(self, key: str) -> str:
        """What stands behind `# key:`, empty where nothing does."""
        found = re.search(rf"^# {key}: (.*)$", self.text, re.MULTILINE)
        return found[1] if found else ""

    def reading(self, data: Path, base: Path) -> str:
        """The text with its files in the folder `data` instead of data/; `base` is where the recipe stands."""
        if set(str(data)) & _MARKS:
            rule = f"the name of the folder may hold none of {' '.join(sorted(_MARKS))}, which mean something in a recipe"
            raise RecipeError(Problem(rule, "--data", str(data), remedy="name it from nearer by, or set a link to it"))
        folder = data if data.is_absolute() else Path(os.path.relpath(data, base))
        text = re.sub(rf"(?<= )(?={_DATA})", "\0", self.text)  # a name begins behind a space, in comments as well
        return (
            text.replace(f"\0{_DATA}", f"{folder.as_posix()}/") if folder.as_posix() != "." else text.replace(f"\0{_DATA}", "")
        )


def shipped() -> list[Shipped]:
    """The recipes of the package, by name."""
    found = {e.name.removesuffix(".yaml"): e for e in _FOLDER.iterdir() if e.name.endswith(".yaml")}
    return [Shipped(name, found[name].read_text(encoding="utf-8")) for name in sorted(found)]


def recipes(name: str | None, target: Path | None, data: Path | None, force: bool, as_json: bool) -> None:
    """List the recipes, or write one of them: to standard output, or to `target` with its plug-in beside it."""
    known = {recipe.name: recipe for recipe in shipped()}
    if name is None:
        if target is not None or data is not None:
            raise RecipeError(Problem(f"which recipe? there are {listed(known)}", "--to" if target else "--data"))
        _list(list(known.values()), as_json)
        return
    if name not in known:
        raise RecipeError(
            Problem(f"no recipe of the package is called this; there are {listed(known)}", "", name, nearest(name, known))
        )
    recipe = known[name]
    text = recipe.text if data is None else recipe.reading(data, target.parent if target else Path())
    if target is None:
        print(text, end="")
    else:
        _write(recipe, text, target, force)


def _list(found: list[Shipped], as_json: bool) -> None:
    if as_json:
        print_json([{"name": r.name, "summary": r.summary, "tasks": r.tasks, "data": r.told("Data")} for r in found])
        return
    for recipe in found:
        rows = [["about", recipe.summary], ["tasks", ", ".join(recipe.tasks)], ["data", recipe.told("Data")]]
        print_table([recipe.name, ""], rows)


def _write(recipe: Shipped, text: str, target: Path, force: bool) -> None:
    plugin = recipe.told("Plug-in")
    places = {target: text}
    if plugin:
        places[target.parent / plugin] = (_FOLDER / plugin).read_text(encoding="utf-8")
    taken = [path for path in places if path.exists() and not force]
    if taken:
        raise RecipeError(
            *(
                Problem("the file is already there", str(p), remedy="name another place, or overwrite it with --force")
                for p in taken
            )
        )
    if not target.parent.is_dir():
        raise RecipeError(Problem("the folder is not there", str(target.parent)))
    for path, content in places.items():
        write_text(path, content)
        note(f"wrote {path}")
    option = f" --plugin {target.parent / plugin}" if plugin else ""
    note(f"look at the plan:  manyheads check {target}{option}")
    note(f"train:             manyheads train {target}{option}")
