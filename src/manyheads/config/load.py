"""From a recipe file to a `Recipe`: extends, overrides, defaults, schema, rules; every mistake found, each with its place."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from manyheads.config.check import check, warnings_of
from manyheads.config.defaults import check_types, merge_defaults
from manyheads.config.dump import dump
from manyheads.config.explain import explain
from manyheads.config.node import Finding, KeyPath, Node, from_python, overlay
from manyheads.config.overrides import apply_overrides, retyped
from manyheads.config.recipe import Recipe
from manyheads.config.source import Source, read_source
from manyheads.errors import MissingExtraError, Problem, RecipeError, ResourceError

_SHOWN = 20  # problems of one message
_ROUNDS = 4  # how often mistakes are cut out so that the rules can run on the rest

Plugins = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Loaded:
    """A recipe that holds, and what it was made from.

    `path` and `text` are the file as given; for plain values `path` is None and `text` the dump. `data` is the resolved tree
    of plain values: extended, overridden, defaults merged, which is why neither `extends` nor `defaults` is in it.
    `warnings` are sentences about what has no effect; `overrides` what was set beside the file.
    """

    recipe: Recipe
    path: Path | None
    text: str
    data: dict[str, Any]
    warnings: tuple[str, ...]
    root: Node
    overrides: tuple[str, ...] = ()

    def where(self, path: KeyPath) -> str:
        """Where a value comes from: `file:line:column`, `override 'a.b=c'`, either after `defaults `, or `not given`.

        What stands nowhere has the schema's own default.
        """
        node = self.root.find(path)
        return "not given" if node is None else f"{node.given} {node.place}".strip()

    @contextmanager
    def placed(self) -> Iterator[None]:
        """An error from inside, of rules that need the data or a package, tells where its dotted keys stand in the file."""
        try:
            yield
        except (RecipeError, MissingExtraError, ResourceError) as error:
            placed = dict.fromkeys(
                _placed(problem, self.root) for problem in error.problems
            )  # tasks may share a step by an alias
            raise type(error)(*placed) from error


def load_recipe(path: str | Path, overrides: Sequence[str] = (), plugins: Plugins | None = None) -> Loaded:
    """Read a recipe and resolve it.

    `overrides` are `key.path=value`. `plugins` holds the types that plug-ins bring, under "module", "task" and "reader"
    (file formats); any other type that is not built in is an error. Under "metric" it holds all metrics there are, without
    which their names are not checked here. Raises RecipeError with every mistake.
    """
    source = read_source(path)
    extended, repeated = _extended(source, Path(path))
    root, recipe, warnings = _resolved(apply_overrides(extended, overrides), plugins or {}, repeated)
    return Loaded(recipe, Path(path), source.text, root.plain(), warnings, root, tuple(overrides))


def recipe_from(data: Mapping[str, Any], plugins: Plugins | None = None) -> Loaded:
    """The recipe that plain Python values describe, resolved as a file's is; places in errors are dotted keys.

    Files in it are relative to the working directory. Raises RecipeError with every mistake.
    """
    root = from_python(data)
    if root.child("extends") is not None:
        raise RecipeError(Problem("only a recipe in a file can extend another", "extends"))
    root, recipe, warnings = _resolved(root, plugins or {})
    return Loaded(recipe, None, dump(recipe), root.plain(), warnings, root)


def _extended(source: Source, path: Path) -> tuple[Node, tuple[Problem, ...]]:
    """The tree over that of the recipe which it extends, if any, and the keys that are given twice."""
    root = source.root
    extends = root.child("extends")
    if extends is None or extends.value is None:
        return root, source.repeated
    if not isinstance(extends.value, str):
        raise RecipeError(Problem("`extends` must be the path of one recipe", extends.place, extends.raw or None))
    file = path.parent / extends.value
    if not file.is_file():
        raise RecipeError(Problem("`extends` names a file that is not there", extends.place, str(file)))
    base = read_source(file)
    further = base.root.child("extends")
    if further is not None:
        if circle := _circle(path, file, further.value):
            raise RecipeError(Problem(f"recipes extend each other in a circle: {circle}", extends.place, extends.raw))
        remedy = f"it is extended at {extends.place}; write both into one file"
        raise RecipeError(Problem("a recipe that is extended cannot extend another", further.key, further.raw, remedy=remedy))
    return overlay(base.root, root).without(("extends",)), (*base.repeated, *source.repeated)


def _circle(path: Path, file: Path, further: Any) -> str:
    """How a recipe comes back to itself, where `path` extends `file` and that one `further`; empty where none does."""
    chain = [path, file, *([file.parent / further] if isinstance(further, str) else [])]
    seen = [os.path.abspath(recipe) for recipe in chain]
    last = next((i for i, recipe in enumerate(seen) if recipe in seen[:i]), None)
    return "" if last is None else " -> ".join(os.path.normpath(recipe) for recipe in chain[seen.index(seen[last]) : last + 1])


def _resolved(root: Node, plugins: Plugins, repeated: Sequence[Problem] = ()) -> tuple[Node, Recipe, tuple[str, ...]]:
    root, findings, warnings = merge_defaults(root)
    typed, wrong_types = check_types(root, plugins)
    recipe, wrong_values, typed = _validated(typed)
    schema = [*findings, *wrong_types, *wrong_values]
    rest = recipe or _remainder(typed, wrong_values)
    rules = check(rest, root, plugins) if rest is not None else []
    findings = [*schema, *(f for f in rules if not _waits(f, schema))]
    if findings or repeated or recipe is None:
        _refuse([*repeated, *(finding.problem(root) for finding in findings)])
    return typed, recipe, (*warnings, *warnings_of(recipe, typed))


def _placed(problem: Problem, root: Node) -> Problem:
    """The problem at the place of its key, or of the deepest section on the way that is given; else as it is."""
    *parts, last = re.sub(r"\[(\d+)\]", r".\1", problem.place).split(".")
    node, depth = root, 0
    for part in (*parts, last):
        inner = node.child(int(part) if isinstance(node.value, list) and part.isdecimal() else part)
        if inner is None:
            break
        node, depth = inner, depth + 1
    if depth > len(parts):
        return replace(problem, place=node.key if problem.value == last and node.key else node.place)
    if depth < 2 or problem.place.startswith(node.place):
        return problem  # no key of the recipe, or a recipe of plain values, whose places are dotted keys
    return replace(problem, place=node.key or node.place, rule=f"`{problem.place}`: {problem.rule}")


def _validated(root: Node) -> tuple[Recipe | None, list[Finding], Node]:
    """The recipe, or what the schema has against it; the tree with overrides typed as text where text is wanted."""
    try:
        return Recipe.model_validate(root.plain()), [], root
    except ValidationError as error:
        findings = explain(error, root)
    again = retyped(root, findings)
    return _validated(again) if again is not None else (None, findings, root)


def _remainder(root: Node, findings: Sequence[Finding]) -> Recipe | None:
    """What is left of a recipe when its mistakes are cut out, for the rules to run on; None when nothing is."""
    for _ in range(_ROUNDS):
        for finding in sorted(findings, key=lambda f: len(f.path), reverse=True):
            path = finding.path[:-1] if finding.missing else finding.path
            if not path:
                return None
            root = root.without(path)
        recipe, findings, root = _validated(root)
        if recipe is not None:
            return recipe
    return None


def _waits(finding: Finding, schema: Sequence[Finding]) -> bool:
    """Whether a rule may hold once a mistake of the schema is mended.

    So it is where a key of its section is wrong, or the one that it lacks, or an earlier entry of a list that it goes into.
    """
    about = (finding.path, finding.path[:-1], (*finding.path[:-1], finding.lacks))
    for *section, last in (other.path for other in schema if len(other.path) > 1):
        inside = isinstance(last, int) and finding.path[: len(section)] == tuple(section)
        if inside or tuple(section) in about:
            return True
    return False


def _refuse(found: Sequence[Problem]) -> NoReturn:
    problems = sorted(dict.fromkeys(found), key=_by_place)
    more = len(problems) - _SHOWN
    raise RecipeError(*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else []))


def _by_place(problem: Problem) -> tuple[str, int, int]:
    located = re.fullmatch(r"(.*):(\d+):(\d+)", problem.place)
    return (located[1], int(located[2]), int(located[3])) if located else (problem.place, 0, 0)
