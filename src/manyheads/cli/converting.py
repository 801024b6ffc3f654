"""`manyheads convert`."""

from __future__ import annotations

from pathlib import Path

from manyheads.cli.console import note, print_json
from manyheads.cli.drafting import require_place, write
from manyheads.config.compose import compose
from manyheads.config.load import load_recipe, recipe_from
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.pytext import Conversion, Remark
from manyheads.pytext import convert as convert_pytext

_KINDS = ("pytext",)


def convert(kind: str, file: Path, target: Path | None, force: bool, as_json: bool) -> None:
    """Write the recipe to `target`, or to standard output; what is not carried over goes to standard error, or to JSON.

    RecipeError after it was written where the recipe does not load, with its places.
    """
    if kind not in _KINDS:
        rule = f"configurations that are known are those of {listed(_KINDS)}"
        raise RecipeError(Problem(rule, "", kind, nearest(kind, _KINDS), remedy="manyheads convert pytext FILE.json"))
    if target is not None:
        require_place(target, force, "--to")
    found = convert_pytext(file, target.parent if target is not None else None)
    if target is not None:
        write(target, found.text)
    if as_json:
        print_json({"lost": _plain(found.lost), "idle": _plain(found.idle), "recipe": found.recipe})
    elif target is None:
        print(found.text, end="")
    _tell(found, target)
    if target is not None:
        load_recipe(target)
    else:
        recipe_from(compose(found.text, str(file)).plain())


def _plain(remarks: tuple[Remark, ...]) -> list[dict[str, str]]:
    return [{"path": r.path, "value": r.value, "why": r.why} for r in remarks]


def _tell(found: Conversion, target: Path | None) -> None:
    for remark in found.lost:
        note(f"not carried over: {remark.path}{f' = {remark.value}' if remark.value else ''}: {remark.why}")
    lost, idle = len(found.lost), len(found.idle)
    told = f"{lost} setting{' is' if lost == 1 else 's are'} not carried over"
    note(f"{told}, {idle} {'has' if idle == 1 else 'have'} no meaning or effect here")
    if target is not None:
        note(f"wrote {target}")
        note(f"look at the plan:  manyheads check {target}")
        note(f"train:             manyheads train {target}")
