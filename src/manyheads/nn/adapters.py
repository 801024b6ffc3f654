"""Adapters of an encoder, through peft: a few weights beside those of its linear layers, which alone are trained.

LoRA adds a map of low rank, W x + alpha/rank · B A x (Hu et al., ICLR 2022); (IA)³ multiplies what comes out of a layer by a
vector, l * (W x + b), or what goes in, W (l * x) + b (Liu et al., NeurIPS 2022). B is zero and l one at first, so that an
encoder with new adapters is the encoder to the bit. Saved in peft's format, a folder with adapter_config.json and
adapter_model.safetensors, they load in peft without manyheads.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from manyheads.errors import ArtefactError, MissingExtraError, Problem, RecipeError, listed, nearest, shown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

PREFIX = "base_model.model."  # of every name in peft's files
_ADAPTER = re.compile(r"\.lora_[AB]\.default\.|\.ia3_l\.default$")  # in a name here; peft calls the one set "default"
_SAVED = re.compile(r"\.lora_[AB]\.|\.ia3_l$")  # in a name in peft's files
_UNUSED = "pooler."  # what no path of ours passes through


@dataclass(frozen=True, slots=True)
class Lora:
    """Settings of LoRA. `targets` are names of linear layers, or the ends of such names after a dot; None: peft's usual."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: Sequence[str] | None = None

    def resolve(self, encoder: PreTrainedModel, place: str) -> Lora:
        """With the targets that are wanted, or those that peft usually takes of this kind of encoder, which may be on `meta`.

        Raises RecipeError for a name that no linear layer has, and where nothing is wanted and peft knows no usual ones.
        """
        if self.targets is None:
            return replace(self, targets=_usual(encoder, "LORA_TARGET", "`targets`", place))
        _require_named(encoder, {f"{place}.targets": self.targets})
        return self

    def config(self, encoder: PreTrainedModel) -> Any:
        """As peft has it."""
        targets = _named(encoder, self.resolve(encoder, "lora").targets)
        settings = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout}
        return require_peft().LoraConfig(target_modules=targets, **settings)


@dataclass(frozen=True, slots=True)
class Ia3:
    """Settings of (IA)³: names of the linear layers whose outputs are multiplied, and of those whose inputs are, or ends of
    such names after a dot. None both: peft's usual; None one: no such layers.
    """

    outputs: Sequence[str] | None = None
    inputs: Sequence[str] | None = None

    def resolve(self, encoder: PreTrainedModel, place: str) -> Ia3:
        """As `Lora.resolve`. RecipeError too for a layer of which both would be multiplied."""
        if self.outputs is None and self.inputs is None:
            both, inputs = (_usual(encoder, f"IA3_{of}", "`outputs` or `inputs`", place) for of in ("TARGET", "FEEDFORWARD"))
            return Ia3([name for name in both if name not in inputs], inputs)
        _require_named(encoder, {f"{place}.outputs": self.outputs or (), f"{place}.inputs": self.inputs or ()})
        if twice := sorted({*_named(encoder, self.outputs)} & {*_named(encoder, self.inputs)}):
            rule = "a layer has one vector, for its output or for its input"
            raise RecipeError(Problem(rule, f"{place}.inputs", twice[0], remedy="name the layer once"))
        return self

    def config(self, encoder: PreTrainedModel) -> Any:
        """As peft has it."""
        found = self.resolve(encoder, "ia3")
        outputs, inputs = _named(encoder, found.outputs), _named(encoder, found.inputs)
        return require_peft().IA3Config(target_modules=[*outputs, *inputs], feedforward_modules=inputs)


METHODS: Mapping[str, type[Lora] | type[Ia3]] = {"lora": Lora, "ia3": Ia3}


def require_peft(place: str = "") -> Any:
    """The module peft, imported when first needed. Raises MissingExtraError where it is not installed."""
    try:
        import peft
    except ImportError as error:
        rule = "adapters need the package peft, which is not installed"
        remedy = "pip install 'manyheads[lora]'; a model that `manyheads merge` wrote does without"
        raise MissingExtraError(Problem(rule, place, remedy=remedy)) from error
    return peft


def inject(encoder: PreTrainedModel, adapters: Lora | Ia3) -> None:
    """Put new adapters into an encoder, in place, and take the gradient of all else. Raises as `Lora.resolve`."""
    require_peft().inject_adapter_in_model(adapters.config(encoder), encoder)


def is_adapted(encoder: nn.Module) -> bool:
    """Whether an encoder has adapters."""
    return any(_ADAPTER.search(name) for name, _ in encoder.named_parameters())


def multipliers(encoder: nn.Module) -> list[nn.Parameter]:
    """The vectors of (IA)³, which change nothing where they are 1."""
    return [parameter for name, parameter in encoder.named_parameters() if ".ia3_l." in name]


def twin(encoder: PreTrainedModel) -> PreTrainedModel:
    """Another encoder over the very same parameters and buffers: only what is put into it later is its own."""
    held = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    return copy.deepcopy(encoder, held)


def plain(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder without its adapters, over the same parameters."""
    return _without_adapters(twin(encoder), merge=False)


def merged(encoder: PreTrainedModel) -> PreTrainedModel:
    """A copy of the encoder, its adapters folded into its weights, as peft does: W + alpha/rank · B A, or l * W and l * b."""
    return _without_adapters(copy.deepcopy(encoder), merge=True)


def adapter_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """The weights of the adapters by their names in peft's files. The tensors themselves, no copies."""
    state = encoder.state_dict()
    return {PREFIX + saved_name(name): tensor for name, tensor in state.items() if _ADAPTER.search(name)}


def saved_name(name: str) -> str:
    """The name of a weight as it is where no adapter is around it, and of an adapter's as peft's files have it."""
    return name.replace(".base_layer.", ".").replace(".default.", ".").removesuffix(".default")


def is_adapter(name: str) -> bool:
    """Whether a saved name is that of an adapter's weight."""
    return _SAVED.search(name) is not None


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


def _usual(encoder: PreTrainedModel, of: str, keys: str, place: str) -> list[str]:
    """The layers in peft's table `of` for this kind of encoder; `keys` are those that name them in a recipe."""
    require_peft(place)
    from peft.utils import constants

    kind = encoder.config.model_type
    usual = getattr(constants, f"TRANSFORMERS_MODELS_TO_{of}_MODULES_MAPPING").get(kind)
    if not isinstance(usual, list) or not all(_named(encoder, [target]) for target in usual):
        rule = f"peft knows no usual targets of an encoder of type {shown(kind)}"
        raise RecipeError(Problem(rule, place, remedy=f"name {keys}; its linear layers are called {listed(_ends(encoder))}"))
    return list(usual)


def _require_named(encoder: PreTrainedModel, wanted: Mapping[str, Sequence[str]]) -> None:
    """RecipeError for names that no linear layer has; `wanted` has them by their places."""
    ends = _ends(encoder)
    rule = f"no linear layer of the encoder is called this (there are: {listed(ends)})"
    wrong = [
        Problem(rule, f"{place}.{i}", target, nearest(target.rpartition(".")[2], ends))
        for place, targets in wanted.items()
        for i, target in enumerate(targets)
        if not _named(encoder, [target])
    ]
    if wrong:
        raise RecipeError(*wrong)


def _linear(encoder: nn.Module) -> list[str]:
    """Names of the linear layers, without what an adapter around one of them brings."""
    return [
        name.removesuffix(".base_layer")
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in name and not name.startswith(_UNUSED)
    ]


def _ends(encoder: nn.Module) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[2] for name in _linear(encoder)))


def _named(encoder: nn.Module, targets: Sequence[str] | None) -> list[str]:
    """The linear layers that have one of these names, or an end like it."""
    return [name for name in _linear(encoder) if any(name == end or name.endswith(f".{end}") for end in targets or ())]


def _without_adapters(encoder: PreTrainedModel, merge: bool) -> PreTrainedModel:
    """Take the adapted layers' base layers in their place."""
    for name, module in list(encoder.named_modules()):
        if hasattr(module, "base_layer") and hasattr(module, "merged_adapters"):  # a layer of peft's
            if merge:
                module.merge()
            encoder.set_submodule(name, module.base_layer)
    if "peft_config" in vars(encoder):
        del encoder.peft_config
    return encoder
