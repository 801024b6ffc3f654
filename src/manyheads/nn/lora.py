"""Low-rank adapters of an encoder, through peft: W x + alpha/rank · B A x, of which A and B are trained (Hu et al., ICLR 2022).

B is zero at first, so that an encoder with new adapters is the encoder to the bit. Saved in peft's format, a folder with
adapter_config.json and adapter_model.safetensors, they load in peft without manyheads.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from manyheads.errors import ArtefactError, MissingExtraError, Problem, RecipeError, listed, nearest, shown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

PREFIX = "base_model.model."  # of every name in peft's files
_ADAPTER = re.compile(r"\.lora_[AB]\.default\.")
_UNUSED = "pooler."  # what no path of ours passes through


@dataclass(frozen=True, slots=True)
class Lora:
    """Settings of adapters. `targets` are names of linear layers, or the ends of such names after a dot; None: peft's usual."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: Sequence[str] | None = None


def require_peft(place: str = "") -> Any:
    """The module peft, imported when first needed. Raises MissingExtraError where it is not installed."""
    try:
        import peft
    except ImportError as error:
        rule = "adapters need the package peft, which is not installed"
        remedy = "pip install 'manyheads[lora]'; a model that `manyheads merge` wrote does without"
        raise MissingExtraError(Problem(rule, place, remedy=remedy)) from error
    return peft


def choose_targets(encoder: PreTrainedModel, wanted: Sequence[str] | None, place: str) -> list[str]:
    """The targets: those that are wanted, or what peft usually takes for this architecture. `encoder` may be on `meta`.

    Raises RecipeError for one that no linear layer is called, and where nothing is wanted and peft knows no usual ones.
    """
    linear = _linear(encoder)
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    if wanted is None:
        require_peft(place)
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

        kind = encoder.config.model_type
        usual = USUAL.get(kind)
        if not isinstance(usual, list) or not all(_named(linear, target) for target in usual):
            rule = f"peft knows no usual targets of an encoder of type {shown(kind)}"
            raise RecipeError(Problem(rule, place, remedy=f"name `targets`; its linear layers are called {listed(ends)}"))
        return list(usual)
    rule = f"no linear layer of the encoder is called this (there are: {listed(ends)})"
    wrong = [
        Problem(rule, f"{place}.targets.{i}", target, nearest(target.rpartition(".")[2], ends))
        for i, target in enumerate(wanted)
        if not _named(linear, target)
    ]
    if wrong:
        raise RecipeError(*wrong)
    return list(wanted)


def inject(encoder: PreTrainedModel, lora: Lora) -> None:
    """Put new adapters into an encoder, in place, and take the gradient of all else. Raises as `choose_targets`."""
    peft, linear = require_peft(), _linear(encoder)
    targets = [name for target in choose_targets(encoder, lora.targets, "lora") for name in _named(linear, target)]
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(dict.fromkeys(targets))
    )
    peft.inject_adapter_in_model(config, encoder)


def is_adapted(encoder: nn.Module) -> bool:
    """Whether an encoder has adapters."""
    return any(_ADAPTER.search(name) for name, _ in encoder.named_parameters())


def twin(encoder: PreTrainedModel) -> PreTrainedModel:
    """Another encoder over the very same parameters and buffers: only what is put into it later is its own."""
    held = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    return copy.deepcopy(encoder, held)


def plain(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder without its adapters, over the same parameters."""
    return _without_adapters(twin(encoder), merge=False)


def merged(encoder: PreTrainedModel) -> PreTrainedModel:
    """A copy of the encoder, its adapters folded into its weights: W + alpha/rank · B A."""
    return _without_adapters(copy.deepcopy(encoder), merge=True)


def adapter_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """A and B of every adapted layer by their names in peft's files. The tensors themselves, no copies."""
    state = encoder.state_dict()
    return {PREFIX + saved_name(name): tensor for name, tensor in state.items() if _ADAPTER.search(name)}


def saved_name(name: str) -> str:
    """The name of a weight as it is where no adapter is around it, and of an adapter's as peft's files have it."""
    return name.replace(".base_layer.", ".").replace(".default.", ".")


def is_adapter(name: str) -> bool:
    """Whether a saved name is that of an adapter's weight."""
    return ".lora_A." in name or ".lora_B." in name


def save_adapter(encoder: PreTrainedModel, folder: Path) -> None:
    """Write the adapters alone, in peft's format; the same bytes for the same adapters."""
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = encoder.peft_config["default"]
    settings: Mapping[str, Any] = config.to_dict()
    settings = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    text = json.dumps({**settings, "inference_mode": True}, indent=1, sort_keys=True, default=str)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8", newline="\n")
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in adapter_tensors(encoder).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@torch.no_grad()
def load_adapter(encoder: PreTrainedModel, folder: Path) -> None:
    """Put saved adapters into those of an encoder. Raises ArtefactError where they are not the same ones in name and shape."""
    wanted, found = adapter_tensors(encoder), load_file(folder / WEIGHTS)
    wrong = sorted(n for n in {*wanted, *found} if n not in wanted or n not in found or wanted[n].shape != found[n].shape)
    if wrong:
        raise ArtefactError(Problem(f"the adapters do not fit the encoder: {listed(wrong[:5])}", str(folder / WEIGHTS)))
    for name, tensor in wanted.items():
        tensor.copy_(found[name])


def _linear(encoder: nn.Module) -> list[str]:
    """Names of the linear layers, without what an adapter around one of them brings."""
    return [
        name.removesuffix(".base_layer")
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name and not name.startswith(_UNUSED)
    ]


def _named(linear: Sequence[str], target: str) -> list[str]:
    return [name for name in linear if name == target or name.endswith(f".{target}")]


def _without_adapters(encoder: PreTrainedModel, merge: bool) -> PreTrainedModel:
    """Take the adapted layers' base layers in their place."""
    for name, module in list(encoder.named_modules()):
        if getattr(module, "lora_A", None) and hasattr(module, "base_layer"):
            if merge:
                module.merge()
            encoder.set_submodule(name, module.base_layer)
    if "peft_config" in vars(encoder):
        del encoder.peft_config
    return encoder
