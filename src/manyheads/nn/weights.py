"""First weights of a module from what an earlier run saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from manyheads.errors import ArtefactError, Problem, RecipeError, ResourceError, listed, nearest, shown
from manyheads.folder import read_json, verify
from manyheads.nn.trunk import load_trunk

_MOST = 20  # problems that one message lists


@dataclass(frozen=True, slots=True)
class Saved:
    """Where weights are: an artefact's folder or a .safetensors file, the module's name there, and who asks for them."""

    source: Path
    module: str
    place: str


def load_weights(module: nn.Module, saved: Saved) -> None:
    """Put saved weights into a module: all of them, and each of the same shape.

    Raises ResourceError for what is not there, ArtefactError for what is damaged, RecipeError for what does not fit.
    """
    if saved.source.is_dir():
        found = _of_artefact(saved)
    elif saved.source.suffix == ".safetensors" and saved.source.is_file():
        found = _of_file(saved)
    else:
        remedy = "name the folder of an artefact, such as runs/a/artefact, or a .safetensors file, relative to the recipe"
        raise ResourceError(Problem("no saved weights are found", saved.place, str(saved.source), remedy=remedy))
    problems = [Problem(rule, saved.place, str(saved.source)) for rule in _misfits(module.state_dict(), found)]
    if problems:
        raise RecipeError(*problems[:_MOST])
    module.load_state_dict(found)


def _of_artefact(saved: Saved) -> Mapping[str, Tensor]:
    """The weights of one module of an artefact, after every byte of it was checked."""
    verify(saved.source, kind="artefact")
    modules = read_json(saved.source / "config.json")["modules"]
    if saved.module not in modules:
        rule = f"the artefact has no module {shown(saved.module)}; there are {listed(modules)}"
        raise RecipeError(Problem(rule, saved.place, saved.module, nearest(saved.module, modules)))
    if modules[saved.module]["type"] == "pretrained":
        return load_trunk(saved.source / saved.module).state_dict()
    return _named(_read(saved.source / "model.safetensors", saved), saved.module)


def _of_file(saved: Saved) -> Mapping[str, Tensor]:
    """A file of this module's weights alone, or one of a whole model's, such as a checkpoint's."""
    found = _read(saved.source, saved)
    return _named(found, saved.module) or found


def _read(path: Path, saved: Saved) -> Mapping[str, Tensor]:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(Problem(f"is not a safetensors file: {error}", saved.place, str(path))) from error
    broken = [name for name, t in found.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if broken:
        raise ArtefactError(Problem(f"holds numbers that are not finite: {listed(broken[:_MOST])}", saved.place, str(path)))
    return found


def _named(weights: Mapping[str, Tensor], module: str) -> dict[str, Tensor]:
    prefix = f"pool.{module}."
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _misfits(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        if name not in found:
            yield f"the saved module has no {shown(name)}, which this one needs"
        elif name not in wanted:
            yield f"the saved module has {shown(name)}, which this one does not know"
        elif found[name].shape != wanted[name].shape:
            yield f"{shown(name)} is saved as {tuple(found[name].shape)}, and this module has {tuple(wanted[name].shape)}"
