"""Which keys the schema knows in which section, for messages, the merging of defaults and the reference page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from manyheads.config.node import KeyPath
from manyheads.config.recipe import Recipe
from manyheads.config.spec.base import Strict
from manyheads.config.spec.tasks import OwnTask, TaskBase

Section = tuple[tuple[str, ...], type[Strict]]


def keys(model: type[Strict]) -> list[str]:
    """The keys of a section as a recipe spells them.

    >>> from manyheads.config.spec.training import BatchSpec
    >>> keys(BatchSpec)
    ['rows', 'tokens', 'group_by_length']
    """
    return [field.alias or name for name, field in model.model_fields.items()]


def kind(model: type[Strict]) -> str | None:
    """The built-in `type` that chooses this section; None for one that no type chooses."""
    field = model.model_fields.get("type")
    options = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(options[0]) if options else None


@cache
def sections() -> tuple[Section, ...]:
    """Every section of a recipe with its place, such as ("tasks", "<name>", "data"); `<n>` is any index of a list."""
    return tuple(_sections(Recipe, ()))


def _sections(model: type[Strict], place: tuple[str, ...]) -> Iterator[Section]:
    yield place, model
    for name, field in model.model_fields.items():
        yield from _inside(field.annotation, (*place, field.alias or name))


def _inside(annotation: Any, place: tuple[str, ...]) -> Iterator[Section]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield from _sections(annotation, place)
        return
    origin = get_origin(annotation)
    deeper = (*place, "<name>") if origin is dict else (*place, "<n>") if origin is list else place
    if origin in (dict, list, Union, UnionType, Annotated):
        for part in get_args(annotation):
            yield from _inside(part, deeper)


def builtin(section: str) -> dict[str, type[Strict]]:
    """The built-in types of `modules` or `tasks`, by name."""
    found = ((kind(model), model) for place, model in sections() if place == (section, "<name>"))
    return {name: model for name, model in found if name}


def section_at(path: KeyPath, data: Any) -> type[Strict] | None:
    """The section at `path` of a recipe's plain values; its `type` decides between several."""
    found = [model for place, model in sections() if _matches(place, path)]
    value = data
    for part in path:
        inside = isinstance(value, dict) or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        value = (value.get(part) if isinstance(value, dict) else value[part]) if inside else None
    chosen = value.get("type") if isinstance(value, dict) else None
    by_kind = {kind(model): model for model in found}
    return by_kind.get(chosen if isinstance(chosen, str) else None, by_kind.get(None))


def homes(key: str, path: KeyPath) -> list[str]:
    """Where in a recipe `key` belongs, as dotted keys, the places nearest to `path` first; names that it has are filled in.

    >>> homes("momentum", ("training",))
    ['training.optimizer.momentum']
    >>> homes("separator", ("tasks", "topics", "data"))
    ['tasks.topics.separator (type multilabel)']
    """
    kinds: dict[tuple[str, ...], list[str | None]] = {}
    everywhere: dict[tuple[str, ...], int] = {}
    for place, model in sections():
        everywhere[place] = everywhere.get(place, 0) + 1
        if key in keys(model):
            kinds.setdefault(place, []).append(kind(model))
    found = []
    for place, known in sorted(kinds.items(), key=lambda entry: -_common(entry[0], path)):
        named = [k for k in known if k]
        only = f" (type {' or '.join(named)})" if named and len(known) < everywhere[place] else ""
        found.append(".".join([*_filled(place, path), key]) + only)
    return found


def _common(place: tuple[str, ...], path: KeyPath) -> int:
    """How many parts the two have in common from the left."""
    same = 0
    while same < min(len(place), len(path)) and _matches(place[: same + 1], path[: same + 1]):
        same += 1
    return same


def _filled(place: tuple[str, ...], path: KeyPath) -> list[str]:
    same = _common(place, path)
    return [*(str(part) for part in path[:same]), *place[same:]]


def _matches(place: tuple[str, ...], path: KeyPath) -> bool:
    return len(place) == len(path) and all(
        isinstance(part, int) if want == "<n>" else want in ("<name>", part) for want, part in zip(place, path, strict=True)
    )


def task_keys(chosen: object) -> list[str]:
    """The keys that a task of type `chosen` takes; a type that is not built in has those of a plug-in's."""
    known = builtin("tasks")
    return keys(known.get(chosen, OwnTask) if isinstance(chosen, str) else TaskBase)


def all_task_keys() -> list[str]:
    """The keys that at least one task type takes."""
    return list(dict.fromkeys(key for place, model in sections() if place == ("tasks", "<name>") for key in keys(model)))
