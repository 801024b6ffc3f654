"""What training leaves: a folder that answers without data sets, recipe or this machine.

config.json           the blueprint: modules, tasks, paths
model.safetensors     weights of every module but the pretrained ones
<encoder>/            each pretrained module as transformers saves it, with its tokenizer; of one that reads words that alone
adapters/<module>/    the adapters of a module alone, as peft saves them
plugins.json          the plug-in files of the training, and what they registered
labels.json  data.json  recipe.yaml  resolved.yaml  records.jsonl  README.md
manifest.json         size and sha256 of every file, written last
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from manyheads.blueprint import ENCODERS, READERS, Blueprint, ModulePlan
from manyheads.encoders import FILES
from manyheads.errors import ArtefactError, ManyheadsError, MissingExtraError, Problem, listed, shown
from manyheads.folder import MANIFEST, read_json, set_aside, verify, writing
from manyheads.model import Model, ports_of
from manyheads.nn.adapters import load_adapter, plain, save_adapter
from manyheads.nn.build import MODULES
from manyheads.nn.trunk import Trunk
from manyheads.plugins import wanted
from manyheads.registry import Registry
from manyheads.task.base import TASKS
from manyheads.text.tokenize import Tokenizer

KIND = "artefact"
CONFIG, WEIGHTS, ADAPTERS = "config.json", "model.safetensors", "adapters"
RECORDS, LABELS, DATA, RESOLVED = "records.jsonl", "labels.json", "data.json", "resolved.yaml"
PLUGINS = "plugins.json"

_NONE: Mapping[str, Tokenizer] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Artefact:
    """A loaded model and what it needs to read text; `tokenizers` by the name of the module that reads by it."""

    folder: Path
    model: Model
    blueprint: Blueprint
    tokenizers: Mapping[str, Tokenizer]


def save_artefact(
    target: Path, model: Model, blueprint: Blueprint, texts: Mapping[str, str], tokenizers: Mapping[str, Tokenizer] = _NONE
) -> Path:
    """Write the folder whole, or not at all. `texts` are further files by name, such as the recipe and the card.

    `tokenizers` has that of each module that reads words; a pretrained one has its own.

    An artefact that is damaged is moved aside first, to `<target>.damaged-<n>`.
    """
    if is_ours(target):
        set_aside(target, KIND)
    with writing(target, kind=KIND) as folder:
        plans = dict(blueprint.modules)
        for name, module in model.pool.items():
            if isinstance(module, Trunk) and plans[name].type == "pretrained":
                old = plans[name].options
                _save_trunk(folder / name, module, Path(old["source"]))
                options = {"source": name, "max_length": module.max_length, "freeze": module.frozen, "layers": module.layers}
                plans[name] = replace(plans[name], options={**options, "lora": old["lora"]} if module.adapted else options)
            if isinstance(module, Trunk) and module.adapted:
                save_adapter(module.encoder, folder / ADAPTERS / name)
        for name, plan in plans.items():
            if plan.type in READERS:
                (folder / name).mkdir()
                _write(folder / name / "tokenizer.json", tokenizers[name].to_json())
        save_file(_own_weights(model), folder / WEIGHTS, metadata={"format": "pt"})
        config = {"model_type": "manyheads", **replace(blueprint, modules=plans).to_json()}
        _write(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        for name, text in texts.items():
            _write(folder / name, text)
    return target


def load_artefact(folder: Path | str) -> Artefact:
    """The model in a folder, after every file was checked against the manifest.

    Raises ArtefactError naming what is missing, changed, of another format, not a number, or does not fit the rest.
    """
    folder = Path(folder)
    verify(folder, kind=KIND)
    require_plugins(folder, MODULES, TASKS)
    with reading(folder / CONFIG):
        blueprint = Blueprint.from_json(read_json(folder / CONFIG))
        blueprint = replace(blueprint, modules={n: _placed(folder, n, plan) for n, plan in blueprint.modules.items()})
        model = blueprint.build()
        _check_heads(model, folder / CONFIG)
    with reading(folder / WEIGHTS):
        _restore(model, load_file(folder / WEIGHTS))
    for name, module in model.pool.items():
        if isinstance(module, Trunk) and module.adapted:
            with reading(folder / ADAPTERS / name):
                load_adapter(module.encoder, folder / ADAPTERS / name)
    broken = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        raise ArtefactError(Problem(f"weights are not finite: {listed(broken[:5])}", str(folder)))
    model.eval()
    return Artefact(folder, model, blueprint, blueprint.tokenizers(folder))


def require_plugins(folder: Path, *registries: Registry[Any]) -> None:
    """ArtefactError, naming the file, where a component that a plug-in brought in training is not known now."""
    file = folder / PLUGINS
    if not file.is_file():
        return  # none had a part
    problems = []
    with reading(file):
        for name, noted in read_json(file).items():
            lacks = [f"{r.kind} {shown(n)}" for r in registries for n in noted["provides"].get(r.kind, ()) if n not in r]
            if lacks:
                rule = f"the model was trained with the plug-in {shown(name)}, whose {', '.join(lacks)} is not known here"
                problems.append(Problem(rule, str(file), remedy=wanted([name])))
    if problems:
        raise ArtefactError(*problems)


def is_ours(folder: Path) -> bool:
    """Whether a folder is, or was before it was damaged, an artefact; any other one stays as it is."""
    return any((folder / name).is_file() for name in (MANIFEST, CONFIG, WEIGHTS))


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Inside, whatever the content of a saved file makes its reader raise becomes an ArtefactError with the file's name.

    A manifest says that the bytes are as they were written, not that they fit together: it may have been written anew.
    """
    try:
        yield
    except (MissingExtraError, MemoryError):
        raise
    except ManyheadsError as error:
        raise ArtefactError(*(_at(file, problem) for problem in error.problems)) from error
    except FileNotFoundError as error:
        raise ArtefactError(Problem("the file is missing", str(error.filename or file))) from error
    except Exception as error:  # of a plug-in's module, or torch's, or Python's
        raise ArtefactError(Problem(f"cannot be used: {type(error).__name__}: {error}", str(file))) from error


def _at(file: Path, problem: Problem) -> Problem:
    """The problem with its file, unless its place begins with that or names another one beside it."""
    if problem.place.startswith(str(file.parent)):
        return problem
    inner = problem.place.removeprefix(file.name)
    return replace(problem, place=f"{file}: {inner}" if inner else str(file))


def _check_heads(model: Model, file: Path) -> None:
    """ArtefactError for each task whose head has not one score for each of its labels. A path may end without a head."""
    problems = []
    for name, task in model.tasks.items():
        width = ports_of(model.pool[task.steps[-1].module]).gives.width
        if task.type.outputs and width not in (None, task.type.outputs):
            problems.append(Problem(f"task {name!r} wants {task.type.outputs} scores, and its head gives {width}", str(file)))
    if problems:
        raise ArtefactError(*problems)


def _placed(folder: Path, name: str, plan: ModulePlan) -> ModulePlan:
    """A pretrained module reads its own folder of the artefact and no other, whatever config.json says."""
    if plan.type not in (*ENCODERS, *READERS):
        return plan
    if Path(name).name != name or name == "..":
        raise ArtefactError(Problem("the name of a module is no folder inside the artefact", str(folder / CONFIG), name))
    place = {"source": str(folder / name)} if plan.type == "pretrained" else {}
    return replace(plan, options={**plan.options, **place})


@contextmanager
def without_bars() -> Iterator[None]:
    """Inside, transformers shows no progress bar."""
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _save_trunk(folder: Path, trunk: Trunk, source: Path) -> None:
    with without_bars():
        (plain(trunk.encoder) if trunk.adapted else trunk.encoder).save_pretrained(folder)
    for name in FILES:
        if name != CONFIG and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if not (folder / "tokenizer.json").is_file():
        _write(folder / "tokenizer.json", Tokenizer.load(source).to_json())


def _own_weights(model: Model) -> dict[str, torch.Tensor]:
    trunks = tuple(f"pool.{name}." for name, module in model.pool.items() if isinstance(module, Trunk))
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(trunks)}
    return {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}


def _restore(model: Model, weights: Mapping[str, torch.Tensor]) -> None:
    wanted = _own_weights(model)
    if set(wanted) != set(weights):
        missing, extra = listed(sorted(set(wanted) - set(weights))), listed(sorted(set(weights) - set(wanted)))
        raise ArtefactError(Problem(f"weights do not fit the model: missing {missing}, unknown {extra}", WEIGHTS))
    wrong = [k for k, v in weights.items() if v.shape != wanted[k].shape]
    if wrong:
        raise ArtefactError(Problem(f"weights have another shape: {listed(wrong)}", WEIGHTS))
    model.load_state_dict(weights, strict=False)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
