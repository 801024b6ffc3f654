"""Adapters folded into the weights of their encoders: an artefact that answers alike, and that needs no peft."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from manyheads.api import load_recipe
from manyheads.artefact import CONFIG, RESOLVED, Artefact, reading, save_artefact
from manyheads.blueprint import Blueprint, ModulePlan
from manyheads.config.dump import dump
from manyheads.config.rebase import rebase
from manyheads.errors import Problem, RecipeError
from manyheads.folder import MANIFEST
from manyheads.model import Model
from manyheads.nn.adapters import merged
from manyheads.nn.trunk import Trunk


def merge(artefact: Artefact, target: Path) -> list[str]:
    """Write the merged artefact; the names of the modules that had adapters and are now encoders with weights of their own.

    An encoder that only adapters used is left out. Raises RecipeError where there is nothing to merge, or `target` is not
    empty, ResourceError where it cannot be written.
    """
    adapted = [name for name, module in artefact.model.pool.items() if isinstance(module, Trunk) and module.adapted]
    if not adapted:
        raise RecipeError(Problem("the model has no adapters, so there is nothing to merge", str(artefact.folder)))
    if target.is_dir() and any(target.iterdir()):
        raise RecipeError(Problem("the folder is not empty", str(target), remedy="name one that is not there yet"))
    used = {step.module for plan in artefact.blueprint.tasks.values() for step in plan.path}
    kept = [name for name in artefact.blueprint.modules if name in used]
    plans = {name: _plan(artefact.blueprint, name) for name in kept}
    modules = {name: _module(artefact.model.pool[name]) for name in kept}
    blueprint = replace(artefact.blueprint, modules=plans)
    model = Model(modules, list(artefact.model.tasks.values())).eval()
    save_artefact(target, model, blueprint, _texts(artefact.folder, target), artefact.tokenizers)
    return adapted


def _module(module: nn.Module) -> nn.Module:
    if not isinstance(module, Trunk) or not module.adapted:
        return module
    return Trunk(merged(module.encoder), max_length=module.max_length, freeze=module.frozen, layers=module.layers)


def _plan(blueprint: Blueprint, name: str) -> ModulePlan:
    plan = blueprint.modules[name]
    if plan.type != "adapter" and not plan.options.get("lora"):
        return plan
    encoder = blueprint.modules[str(plan.options.get("of", name))]
    return ModulePlan("pretrained", {key: value for key, value in encoder.options.items() if key != "lora"})


def _texts(folder: Path, target: Path) -> dict[str, str]:
    """What stands beside the model, the data of its recipe told from their new place."""
    files = [path for path in folder.iterdir() if path.suffix in (".json", ".jsonl", ".yaml", ".md")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files if path.name not in (CONFIG, MANIFEST)}
    if RESOLVED in texts:
        with reading(folder / RESOLVED):
            texts[RESOLVED] = dump(rebase(load_recipe(folder / RESOLVED).recipe, folder, target))
    return texts
