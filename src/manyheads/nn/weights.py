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
from manyheads.nn.adapters import PREFIX, WEIGHTS, is_adapter, saved_name
from manyheads.nn.trunk import Trunk, load_trunk

_TRUNK = "encoder."  # before every name of a trunk's weights
_MOST = 20  # problems that one message lists


@dataclass(frozen=True, slots=True)
class Saved:
    """Where weights are: an artefact's folder or a .safetensors file, the module's name there, and who asks for them.

    `elsewhere` says where they may have been meant to be, for the remedy where they are not.
    """

    source: Path
    module: str
    place: str
    elsewhere: str = ""


def load_weights(module: nn.Module, saved: Saved) -> None:
    """Put saved weights into a module: all of them, and each of the same shape.

    An encoder with adapters may also take an encoder's weights without any, and then has new ones, or adapters alone; of a
    module that has its adapters over another's encoder only these are its own.

    Raises ResourceError for what is not there, ArtefactError for what is damaged, RecipeError for what does not fit.
    """
    if saved.source.is_dir():
        found = _of_artefact(saved)
    elif saved.source.suffix == ".safetensors" and saved.source.is_file():
        found = _of_file(saved)
    else:
        usual = "name the folder of an artefact, such as runs/a/artefact, or a .safetensors file, relative to the recipe"
        remedy = saved.elsewhere or usual
        raise ResourceError(Problem("no saved weights are found", saved.place, str(saved.source), remedy=remedy))
    state = module.state_dict()
    names = {name: name for name in state}  # as it is saved to as it is here
    if isinstance(module, Trunk) and module.adapted:
        found, names = _adapted(module, found)
    elif isinstance(module, Trunk) and any(map(is_adapter, found)):
        own = "`lora` as well" if any(".lora_" in name for name in found) else "a module of type `ia3` over it"
        remedy = f"give this one {own}, or load what `manyheads merge` makes of the saved one"
        raise RecipeError(
            Problem("the saved module has adapters, and this one none", saved.place, str(saved.source), remedy=remedy)
        )
    wanted = {saved_as: state[name] for saved_as, name in names.items()}
    problems = [Problem(rule, saved.place, str(saved.source)) for rule in _misfits(wanted, found)]
    if problems:
        raise RecipeError(*problems[:_MOST])
    module.load_state_dict({**state, **{names[saved_as]: tensor for saved_as, tensor in found.items()}})


def _adapted(trunk: Trunk, found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What is found for a trunk with adapters, and the names of what it has of these kinds: adapters, or all else."""
    found = {
        _TRUNK + name.removeprefix(PREFIX) if name.startswith(PREFIX) else saved_name(name): t for name, t in found.items()
    }
    if trunk.lent:
        found = {name: tensor for name, tensor in found.items() if is_adapter(name)}
    kinds = {is_adapter(name) for name in found} or {True}
    return found, {new: name for name in trunk.state_dict() if is_adapter(new := saved_name(name)) in kinds}


def _of_artefact(saved: Saved) -> Mapping[str, Tensor]:
    """The weights of one module of an artefact, after every byte of it was checked."""
    verify(saved.source, kind="artefact")
    modules = read_json(saved.source / "config.json")["modules"]
    if saved.module not in modules:
        rule = f"the artefact has no module {shown(saved.module)}; there are {listed(modules)}"
        raise RecipeError(Problem(rule, saved.place, saved.module, nearest(saved.module, modules)))
    plan = modules[saved.module]
    adapters = saved.source / "adapters" / saved.module / WEIGHTS
    found = _read(adapters, saved) if adapters.is_file() else {}
    if plan["type"] == "pretrained":
        return {**load_trunk(saved.source / saved.module).state_dict(), **found}
    if plan["type"] == "adapter":
        return found
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
