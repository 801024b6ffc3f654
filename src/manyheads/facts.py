"""What a run was made with, and whether a run that continues is still the same one."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manyheads.config.recipe import Recipe
from manyheads.errors import DataError, Problem, RecipeError, shown
from manyheads.plugins import remembered, wanted

ENDS = ("training.patience", "training.minutes")
"""Keys that say when a run ends before its last step; with more of what ended it, it goes on."""
SAFE = ("output", "training.checkpoint", *ENDS, "training.threads", "training.device")
"""Keys that may differ when a run continues; all others change what the steps already taken meant."""
RATES = (
    "training.optimizer.lr",
    "training.optimizer.head_lr",
    "training.clip",
    "training.clip_value",
    "modules.<name>.lr",
    "modules.<name>.layer_decay",
    "tasks.<name>.lr",
)
"""Keys that may differ as well, so that a run whose loss is no number any more need not start over. The change is recorded."""
_PACKAGES = ("manyheads", "torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "numpy", "pyarrow")


def environment() -> dict[str, str]:
    """Versions, processor and git commit: text by name, nothing private."""
    facts = {name: _version(name) for name in _PACKAGES}
    facts |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    facts |= {"threads": str(torch.get_num_threads()), "cuda": str(torch.version.cuda or "none")}
    commit = _git("rev-parse", "HEAD")
    if commit:
        facts["git"] = commit + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return facts


def fingerprint(recipe: Recipe, files: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """What must not change between a run and its continuation: the recipe, the bytes of its files and plug-ins, the label maps.

    `files` and `labels` map a name to a sha256.
    """
    settings = recipe.model_dump(mode="json", by_alias=True)
    facts = {"recipe": settings, "files": dict(files), "labels": dict(labels), "environment": environment()}
    return {**facts, "plugins": remembered()}


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """sha256 of names and numbers."""
    found = hashlib.sha256()
    for name, tensor in weights.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def check_same(now: Mapping[str, Any], then: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Warnings about differences that are allowed; RecipeError or DataError for those that are not."""
    differences = [d for d in _differences(then["recipe"], now["recipe"], "") if not _under(d[0], (*SAFE, *RATES))]
    if differences:
        remedy = f"name another `output` for a new run; only these keys may change: {', '.join((*SAFE, *RATES))}"
        problems = [Problem(f"the run in {folder} has {_text(old)} here", key, _text(new)) for key, old, new in differences]
        raise RecipeError(*problems, Problem(remedy))
    altered = [f for f in {**then["files"], **now["files"]} if then["files"].get(f) != now["files"].get(f)]
    if altered:
        raise DataError(*(_changed_file(f, then["files"].get(f), now["files"].get(f)) for f in sorted(altered)))
    relabelled = [t for t in {**then["labels"], **now["labels"]} if then["labels"].get(t) != now["labels"].get(t)]
    if relabelled:  # same recipe, same files: another release reads them otherwise
        rule = f"the labels differ from those of the run in {folder}"
        raise DataError(*(Problem(rule, f"tasks.{task}", remedy="name another `output` for a new run") for task in relabelled))
    further = _check_plugins(now.get("plugins", {}), then.get("plugins", {}), folder)
    old, new = then["environment"], now["environment"]
    return further + tuple(
        f"{name} was {old.get(name)} and is {new.get(name)}: the run goes on, but not bit for bit"
        for name in (*_PACKAGES, "threads", "python")
        if old.get(name) != new.get(name)
    )


def _check_plugins(now: Mapping[str, Any], then: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Warnings about plug-ins that the run did not have; RecipeError for those that lack or have changed."""
    lacks = {name: was for name, was in then.items() if name not in now}
    problems = [Problem(f"the run in {folder} has the plug-in {shown(name)}", remedy=wanted([name])) for name in lacks]
    for name, was in then.items():
        if name in now and now[name]["sha256"] != was["sha256"]:
            told = f"sha256 {was['sha256'][:12]} then, {now[name]['sha256'][:12]} now"
            remedy = "restore it, or name another `output` for a new run"
            problems.append(Problem(f"the plug-in has changed since the run in {folder} began ({told})", name, remedy=remedy))
    if problems:
        raise RecipeError(*problems)
    return tuple(f"the run began without the plug-in {shown(name)}, and goes on with it" for name in now if name not in then)


def changed(now: Mapping[str, Any], then: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, ...]:
    """Half a sentence for each of `keys` that a run has another value of than before."""
    found = [d for d in _differences(then["recipe"], now["recipe"], "") if _under(d[0], keys)]
    return tuple(f"{key} was {_text(old)} and is {_text(new)}" for key, old, new in found)


def _changed_file(name: str, old: str | None, new: str | None) -> Problem:
    rule = f"the file has changed since the run began (sha256 {(old or 'absent')[:12]} then, {(new or 'absent')[:12]} now)"
    return Problem(rule, name, remedy="restore it, or name another `output` for a new run")


def _differences(old: Any, new: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(name), new.get(name), f"{place}.{name}" if place else name)
    elif old != new:
        yield place, old, new


def _text(value: Any) -> str:
    """A setting as JSON has it; what is not there as the word "nothing"."""
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _under(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys`, in which `<name>` is any name, or stands below one."""
    parts = key.split(".")
    return any(all(k in ("<name>", p) for k, p in zip_longest(k.split("."), parts[: k.count(".") + 1])) for k in keys)


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
