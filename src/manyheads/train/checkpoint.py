"""The state of a run at one step, so that the same command continues it bit for bit. No pickle: safetensors and JSON.

    checkpoints/step-00000120/model.safetensors       every tensor of the model, a shared one once, but those of `still`
                              optimizer.safetensors   moments by parameter name, such as exp_avg/pool.encoder.weight
                              state.json              step, aliases (name to the name that holds its tensor), state
                              manifest.json           see `manyheads.folder`

What the recipe says (learning rates, betas) is not stored: whoever continues a run builds the optimizer anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from manyheads.errors import ArtefactError, NumericsError, Problem, RecipeError, ResourceError, listed, shown
from manyheads.folder import discard, existing, read_json, set_aside, sweep, verify, writing

KIND = "checkpoint"
WEIGHTS, MOMENTS, EXTRA, STATE = "model.safetensors", "optimizer.safetensors", "extra.safetensors", "state.json"

_STEP = re.compile(r"step-(\d{8,})")
_OVERHEAD = 1 << 20  # bytes of headers, state and manifest, generously
_MOST = 20  # problems that one message lists

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that passed its check.

    `weights` has every name of the model's state; names in `aliases` share the tensor of another name. `moments` maps
    kind/parameter to a tensor; a parameter that was never updated has none. `extra` and `state` are as they were given.
    """

    path: Path
    step: int
    weights: Mapping[str, Tensor]
    aliases: Mapping[str, str]
    moments: Mapping[str, Tensor]
    state: Mapping[str, Any]
    extra: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, a sub-folder a step; the newest `keep` and those that are asked for stay.

    `still` are weights by name that the run never changes: they are not written, and come from here when one is loaded.
    """

    def __init__(self, folder: Path, keep: int, still: Mapping[str, Tensor] | None = None) -> None:
        if keep < 1:
            raise RecipeError(Problem("at least one checkpoint must stay", "training.checkpoint.keep", str(keep)))
        self.folder, self.keep, self.still = folder, keep, still or {}
        self._good: dict[int, bool] = {}  # steps that were looked at
        self._last: int | None = None

    def path(self, step: int) -> Path:
        """Where the checkpoint of `step` lies, or would."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps that have a folder, good or not, from the first to the last; times of files do not matter."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        found = (int(match[1]) for match in map(_STEP.fullmatch, names) if match)
        return sorted(step for step in found if self.path(step).name in names)

    def save(
        self,
        step: int,
        weights: Mapping[str, Tensor],
        optimizer: Optimizer,
        model: nn.Module,
        state: Mapping[str, Any],
        extra: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> Path:
        """Write a checkpoint whole; what was saved before stays as it is when anything fails.

        `weights` is the model's state and may lie on any device; `model` gives the parameters their names. `extra` holds
        further tensors by owner and name, `state` text keys, lists and finite numbers. Raises NumericsError for weights
        that are not finite, ResourceError.
        """
        aliases, moments = _aliases(weights), dict(_moments(model, optimizer))
        more = {f"{owner}/{name}": t for owner, tensors in (extra or {}).items() for name, t in tensors.items()}
        broken = _not_finite({**weights, **moments, **more})
        if broken:
            raise NumericsError(Problem(f"step {step} is not saved, its numbers are not finite: {listed(broken[:_MOST])}"))
        left_out = {*aliases, *self.still}
        text = _strict({"step": step, "aliases": aliases, "state": state})
        set_aside(self.path(step), KIND)
        needed = len(text) + sum(
            _bytes(t) for name, t in (*weights.items(), *moments.items(), *more.items()) if name not in left_out
        )
        with writing(self.path(step), kind=KIND, needed=needed) as folder:
            own = {name: _copy(tensor) for name, tensor in weights.items() if name not in left_out}
            save_file(own, folder / WEIGHTS, metadata={"format": "pt"})
            del own  # one copy in memory at a time
            save_file({name: _copy(tensor) for name, tensor in moments.items()}, folder / MOMENTS, metadata={"format": "pt"})
            if more:
                save_file({name: _copy(tensor) for name, tensor in more.items()}, folder / EXTRA, metadata={"format": "pt"})
            (folder / STATE).write_text(text + "\n", encoding="utf-8", newline="\n")
        self._good[step], self._last = True, step
        return self.path(step)

    def load(self, path: Path) -> Checkpoint:
        """The checkpoint at `path`, on the CPU. Raises ArtefactError for one that is not complete, intact and finite."""
        verify(path, kind=KIND)
        step, aliases, state = _read_state(path / STATE)
        if path.resolve().name != self.path(step).name:
            raise ArtefactError(Problem(f"holds step {step}, which its name does not say", str(path)))
        weights, moments = _tensors(path / WEIGHTS), _tensors(path / MOMENTS)
        more = _tensors(path / EXTRA) if (path / EXTRA).exists() else {}
        broken = _not_finite({**weights, **moments, **more})
        if broken:
            raise ArtefactError(Problem(f"holds numbers that are not finite: {listed(broken[:_MOST])}", str(path)))
        weights |= {name: tensor.detach().cpu() for name, tensor in self.still.items() if name not in weights}
        if not weights.keys() >= set(aliases.values()):
            raise ArtefactError(Problem("has aliases of tensors that are not there", str(path / STATE)))
        weights |= {name: weights[holder] for name, holder in aliases.items()}
        extra: dict[str, dict[str, Tensor]] = {}
        for key, tensor in more.items():
            owner, _, name = key.partition("/")
            extra.setdefault(owner, {})[name] = tensor
        return Checkpoint(path, step, weights, aliases, moments, state, extra)

    def load_newest(self) -> Checkpoint | None:
        """The newest good checkpoint, or None. Those that are passed over are named in one warning.

        Safe while another process saves and prunes. Leftovers of dead processes are removed.
        """
        sweep(self.folder)
        while True:
            steps, passed = self.steps(), []
            for step in reversed(steps):
                try:
                    found = self.load(self.path(step))
                except ArtefactError as error:
                    if self.path(step).exists():  # not pruned meanwhile
                        passed.append((step, error.problems[0]))
                        self._good[step] = False
                else:
                    self._good[step] = True
                    break
            else:
                if self.steps() != steps:
                    continue
                found = None
            if passed:
                reasons = "; ".join(f"step {step}: {problem.place}: {problem.rule}" for step, problem in passed)
                log.warning("passed over %d damaged checkpoint(s): %s", len(passed), reasons)
            return found

    def prune(self, protect: Iterable[int]) -> None:
        """Remove good checkpoints but the newest `keep`, the last one saved here and the steps of `protect`.

        Whatever else lies in the folder is left alone. One that cannot be removed is a warning.
        """
        good = [step for step in self.steps() if self._is_good(step)]
        for step in sorted(set(good[: -self.keep]) - {*protect, self._last}):
            try:
                discard(self.path(step))
            except OSError as error:
                log.warning("checkpoint %s stays, it cannot be removed: %s", self.path(step), error.strerror)

    def after_nan(self, problems: Sequence[Problem], moved: int) -> list[Problem]:
        """The problems of a step that gave no number, and where to go on from; `moved`: the last step that changed weights.

        A checkpoint that holds the very weights of that step gives no number again, at any rate.
        """
        good = [step for step in self.steps() if self._is_good(step)]
        ruined, older = [s for s in good if s >= moved], [s for s in good if s < moved]
        if not good:
            return [*problems, Problem("no checkpoint had been written yet")]
        if not ruined:
            return [*problems, Problem(f"the last good checkpoint is {self.path(older[-1])}")]
        names = " and ".join(str(self.path(step)) for step in ruined)
        rule = f"the weights of this step are those of {names}: no rate can mend them"
        remedy = "lower `training.optimizer.lr` or `training.clip`, and name another `output`"
        if older:
            remedy += f", or remove what is named here: the run then continues from {self.path(older[-1])}"
        return [*(replace(p, remedy="the step was not taken") for p in problems), Problem(rule, remedy=remedy)]

    @staticmethod
    def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Put weights, and moments where an optimizer is given, back as they were.

        Raises ArtefactError before anything is changed: for each name that is missing, unknown, of another shape, type
        or sharing.
        """
        problems = [Problem(rule, str(checkpoint.path)) for rule in _misfits(checkpoint, model)]
        moments: dict[str, dict[str, Tensor]] = {}
        for key, tensor in checkpoint.moments.items():
            kind, _, name = key.partition("/")
            moments.setdefault(name, {})[kind] = tensor
        if optimizer is not None:
            names = list(_names(model, optimizer))
            shapes = {name: p.shape for name, p in model.named_parameters() if name in names}
            problems += [Problem(rule, str(checkpoint.path)) for rule in _stray_moments(moments, shapes)]
        if problems:
            more = [Problem(f"and {len(problems) - _MOST} more")] if len(problems) > _MOST else []
            raise ArtefactError(*problems[:_MOST], *more)
        model.load_state_dict(dict(checkpoint.weights))
        if optimizer is not None:
            kept = {i: {k: t.clone() for k, t in moments[n].items()} for i, n in enumerate(names) if n in moments}
            optimizer.load_state_dict({"state": kept, "param_groups": optimizer.state_dict()["param_groups"]})

    def _is_good(self, step: int) -> bool:
        if step not in self._good:
            try:
                verify(self.path(step), kind=KIND)
            except ArtefactError:
                self._good[step] = False
            else:
                self._good[step] = True
        return self._good[step]


def checkpoint_bytes(model: nn.Module, still: Collection[str] = ()) -> int:
    """About what one checkpoint takes: the model's state without `still`, two moments for each parameter that is trained."""
    state = model.state_dict()
    left_out = {*_aliases(state), *still}
    weights = sum(_bytes(tensor) for name, tensor in state.items() if name not in left_out)
    return weights + 2 * sum(_bytes(p) for p in model.parameters() if p.requires_grad) + _OVERHEAD


def require_space(folder: Path, needed: int) -> None:
    """ResourceError when `folder` cannot be made and written, or has fewer than `needed` bytes; writes nothing."""
    base = existing(folder)
    remedy = "name another folder as `output`"
    if not base.is_dir():
        raise ResourceError(Problem("is a file, and a folder is needed", str(base), remedy=remedy))
    if not os.access(base, os.W_OK | os.X_OK):
        raise ResourceError(Problem("is a folder that may not be written", str(base), remedy=remedy))
    disk = shutil.disk_usage(base)
    if not disk.total:
        rule = "is on a file system that has no room for files at all, such as /proc"
        raise ResourceError(Problem(rule, str(folder), remedy=remedy))
    if disk.free < needed:
        rule = f"the disk is too full: {needed} bytes are needed, {disk.free} are free"
        raise ResourceError(Problem(rule, str(folder), remedy=f"make room, or {remedy}"))


def _aliases(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Names whose tensor is the very one of an earlier name."""
    first: dict[tuple[object, ...], str] = {}
    found = {}
    for name, t in weights.items():
        place = (t.device, t.untyped_storage().data_ptr(), t.storage_offset(), t.shape, t.stride(), t.dtype)
        if t.numel() and first.setdefault(place, name) != name:
            found[name] = first[place]
    return found


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _names(model: nn.Module, optimizer: Optimizer) -> Iterator[str]:
    """The name of each parameter of the optimizer, in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise RecipeError(f"the optimizer has a parameter of shape {tuple(parameter.shape)} that the model has not")
            yield names[id(parameter)]


def _moments(model: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, parameter in zip(_names(model, optimizer), parameters, strict=True):
        for kind, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, Tensor):
                raise RecipeError(
                    f"the optimizer keeps {shown(kind)} of {shown(name)} as {type(value).__name__}, not as a tensor"
                )
            yield f"{kind}/{name}", value


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]


def _strict(data: Mapping[str, Any]) -> str:
    """JSON that gives back what was put in; RecipeError for anything else (NaN, tuples, numbers as keys)."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        same = json.loads(text) == data
    except (TypeError, ValueError) as error:
        raise RecipeError(Problem(f"the state of a checkpoint must be strict JSON: {error}")) from error
    if not same:
        raise RecipeError(Problem("the state of a checkpoint must be strict JSON: text as keys, lists and no tuples"))
    return text


def _read_state(path: Path) -> tuple[int, dict[str, str], dict[str, Any]]:
    data = read_json(path)
    kinds = {"step": int, "aliases": dict, "state": dict}
    if not isinstance(data, dict) or {key: type(value) for key, value in data.items()} != kinds:
        raise ArtefactError(Problem("must hold a number `step` and the mappings `aliases` and `state`", str(path)))
    if not all(isinstance(holder, str) for holder in data["aliases"].values()):
        raise ArtefactError(Problem("has an alias that is no name", str(path)))
    return data["step"], data["aliases"], data["state"]


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(Problem(f"is not a safetensors file: {error}", str(path))) from error


def _misfits(checkpoint: Checkpoint, model: nn.Module) -> Iterator[str]:
    """What keeps the checkpoint's weights from being the model's."""
    wanted = model.state_dict()
    for name in sorted({*wanted, *checkpoint.weights}):
        if name not in checkpoint.weights:
            yield f"has no weights {shown(name)}, which the model needs"
        elif name not in wanted:
            yield f"has weights {shown(name)}, which the model does not know"
        else:
            have, want = checkpoint.weights[name], wanted[name]
            if (have.shape, have.dtype) != (want.shape, want.dtype):
                yield f"has {shown(name)} as {have.dtype} {tuple(have.shape)}, the model as {want.dtype} {tuple(want.shape)}"
    aliases = _aliases(wanted)
    for name in sorted({*aliases, *checkpoint.aliases}):
        if aliases.get(name) != checkpoint.aliases.get(name):
            yield f"shares {shown(name)} with {checkpoint.aliases.get(name)}, the model with {aliases.get(name)}"


def _stray_moments(moments: Mapping[str, Mapping[str, Tensor]], shapes: Mapping[str, torch.Size]) -> Iterator[str]:
    for name, kinds in moments.items():
        if name not in shapes:
            yield f"has moments of {shown(name)}, which the optimizer does not train"
            continue
        for kind, tensor in kinds.items():
            if tensor.shape not in (shapes[name], torch.Size()):
                yield f"has {shown(kind)} of {shown(name)} as {tuple(tensor.shape)}, the optimizer as {tuple(shapes[name])}"
