"""A recipe that means the same files when it stands in another folder."""

from __future__ import annotations

import os
from pathlib import Path

from manyheads.config.recipe import Recipe
from manyheads.config.spec.data import DataSpec
from manyheads.config.spec.modules import ModuleSpec, PretrainedModule
from manyheads.config.spec.tasks import TaskBase
from manyheads.config.spec.words import ElmoModule, EmbeddingModule


def rebase(recipe: Recipe, old: Path, new: Path) -> Recipe:
    """The recipe with every relative file name, taken from folder `old`, told from folder `new`.

    Names of splits, packages and hub ids stay; a folder that `datasets` saved moves.
    """
    tasks = {name: _task(task, old, new) for name, task in recipe.tasks.items()}
    data = {name: _data(spec, old, new) for name, spec in recipe.data.items()}
    modules = {name: _module(module, old, new) for name, module in recipe.modules.items()}
    return recipe.model_copy(update={"tasks": tasks, "data": data, "modules": modules})


def _task(task: TaskBase, old: Path, new: Path) -> TaskBase:
    task = task.model_copy(update={"data": _data(task.data, old, new)})
    if task.teacher is None:
        return task
    folders = [_moved(folder, old, new) for folder in task.teacher.folders]
    told = folders[0] if isinstance(task.teacher.from_, str) else folders
    return task.model_copy(update={"teacher": task.teacher.model_copy(update={"from_": told})})


def _data(spec: DataSpec, old: Path, new: Path) -> DataSpec:
    if spec.format == "hub":
        if spec.hub is None or not (old / spec.hub).exists():
            return spec
        return spec.model_copy(update={"hub": _moved(spec.hub, old, new)})
    files = {split: getattr(spec, split) for split in ("train", "dev", "test")}
    moved = {
        split: [_moved(name, old, new) for name in names] if isinstance(names, list) else _moved(names, old, new)
        for split, names in files.items()
        if names
    }
    return spec.model_copy(update=moved)


def _module(module: ModuleSpec, old: Path, new: Path) -> ModuleSpec:
    if isinstance(module, PretrainedModule) and (old / module.name / "config.json").is_file():
        module = module.model_copy(update={"name": _moved(module.name, old, new)})
    if isinstance(module, ElmoModule):
        files = {"options": module.options, "weights": module.weights}
        module = module.model_copy(update={key: _moved(name, old, new) for key, name in files.items()})
    if isinstance(module, EmbeddingModule):
        module = _embedding(module, old, new)
    if isinstance(module.load, str):
        return module.model_copy(update={"load": _moved(module.load, old, new)})
    if module.load is not None:
        load = module.load.model_copy(update={"from_": _moved(module.load.from_, old, new)})
        return module.model_copy(update={"load": load})
    return module


def _embedding(module: EmbeddingModule, old: Path, new: Path) -> EmbeddingModule:
    update: dict[str, object] = {}
    if module.vectors is not None and (old / module.vectors).is_file():
        update["vectors"] = _moved(module.vectors, old, new)
    if module.vocabulary is not None and module.vocabulary.file is not None:
        file = _moved(module.vocabulary.file, old, new)
        update["vocabulary"] = module.vocabulary.model_copy(update={"file": file})
    return module.model_copy(update=update)


def _moved(name: str, old: Path, new: Path) -> str:
    return name if Path(name).is_absolute() else os.path.relpath(old / name, new)
