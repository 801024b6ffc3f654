"""Pretrained encoders of transformers as one module: tokens in, states out."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from manyheads.errors import ArtefactError, Problem, ResourceError, listed
from manyheads.nn.adapters import Ia3, Lora, inject, is_adapted, is_adapter, saved_name, twin
from manyheads.ports import Port, Ports
from manyheads.types import States, Tokens

_RATES = ("dropout", "dropout_prob", "dropout_rate", "resid_dropout", "embd_dropout")

_SHIFTED = frozenset(  # families whose positions begin behind the padding id
    (
        *("camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    )
)


class Trunk(nn.Module):
    """tokens (B, T) -> states (B, T, D) of the last layer. `encoder` is the plain transformers model.

    With `layers` it gives those of the layers below as well. A frozen trunk has no gradient and stays in evaluation mode, so
    that its states do not depend on a dropout draw. `adapted` says whether the encoder has adapters (`manyheads.nn.adapters`),
    `lent` whether all else of it is another trunk's.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        *,
        max_length: int = 256,
        freeze: bool = False,
        layers: bool = False,
        lent: bool = False,
    ) -> None:
        super().__init__()
        self.lent = lent
        self.encoder = encoder
        self.max_length = max_length
        self.frozen = freeze
        self.layers = layers
        self.adapted = is_adapted(encoder)
        self.width = int(encoder.config.hidden_size)
        self.ports = Ports((Port("tokens"),), Port("layers" if layers else "states", self.width))
        self.takes_types = _takes_types(encoder)
        if freeze:
            self.requires_grad_(False)
        self.train()  # transformers hands a model over in evaluation mode; a new module is in training mode, all of it

    def forward(self, tokens: Tokens) -> States:
        wanted: dict[str, Any] = {"token_type_ids": tokens.types} if self.takes_types else {}
        if self.layers:
            wanted["output_hidden_states"] = True
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            result = self.encoder(input_ids=tokens.ids, attention_mask=tokens.mask.long(), **wanted)
        # Views, since no layer may be on the way from another to a loss: the gradient of each is then its own readers' alone.
        below = tuple(state.view_as(state) for state in result.hidden_states[:-1]) if self.layers else ()
        return States(result.last_hidden_state, tokens.mask, tokens.words, below)

    @property
    def embeds(self) -> nn.Module:
        """Gives the vectors of pieces, before positions are added (`manyheads.nn.perturb`)."""
        return self.encoder.get_input_embeddings()

    def train(self, mode: bool = True) -> Trunk:
        return super().train(mode and not self.frozen)


def load_trunk(
    source: str | Path,
    *,
    revision: str | None = None,
    max_length: int = 256,
    freeze: bool = False,
    layers: bool = False,
    dropout: float | None = None,
    lora: Mapping[str, Any] | None = None,
) -> Trunk:
    """The encoder in a folder or on the hub, from safetensors only. `dropout` replaces every rate of its configuration.

    With `lora`, keyword arguments of `Lora`, it stays as it is, and new adapters in it are trained. Raises ResourceError when
    it cannot be found, ArtefactError when its weights cannot be used, and with `lora` as `manyheads.nn.adapters.inject`.
    """
    config = _config(source, revision)
    if dropout is not None:
        _set_dropout(config, dropout)
    encoder, report = _quietly(
        lambda: AutoModel.from_pretrained(
            str(source),
            config=config,
            revision=revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # checked below, with the names
            output_loading_info=True,
        ),
        source,
    )
    _check_weights(encoder, report, source)
    if lora is not None:
        inject(encoder, Lora(**lora))
    return Trunk(encoder, max_length=min(max_length, _longest(config)), freeze=freeze, layers=layers)


def adapt(
    of: Trunk,
    *,
    max_length: int = 256,
    freeze: bool = False,
    layers: bool = False,
    lora: Mapping[str, Any] | None = None,
    ia3: Mapping[str, Any] | None = None,
) -> Trunk:
    """A trunk over the very weights of `of`, with adapters of its own that alone are trained; `of` stands still from now on.

    `lora` holds keyword arguments of `Lora`, `ia3` those of `Ia3` in its place. Raises as `manyheads.nn.adapters.inject`.
    """
    encoder = twin(of.encoder)
    inject(encoder, Lora(**(lora or {})) if ia3 is None else Ia3(**ia3))
    return Trunk(encoder, max_length=max_length, freeze=freeze, layers=layers, lent=True)


def weights_under_adapters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of encoders with adapters, which no training changes, by their names in the model's state."""
    trunks = [module for module in model.modules() if isinstance(module, Trunk) and module.adapted]
    weights = [(name, p) for trunk in trunks for name, p in trunk.named_parameters() if not is_adapter(saved_name(name))]
    held = {id(parameter) for _, parameter in weights}
    return {name: p for name, p in model.named_parameters(remove_duplicate=False) if id(p) in held}


def resolve_adapters(source: str | Path, adapters: Lora | Ia3, place: str) -> dict[str, Any]:
    """Keyword arguments of `Lora` or `Ia3`, their layers found in the encoder's, without its weights.

    Raises as `manyheads.nn.adapters.Lora.resolve`.
    """
    config = _config(source, None)
    with torch.device("meta"):
        skeleton = _quietly(partial(AutoModel.from_config, config, trust_remote_code=False), source)
    return asdict(adapters.resolve(skeleton, place))


@dataclass(frozen=True, slots=True)
class Measures:
    """Width D of an encoder's states, the most pieces it can read, and its layers, embeddings not counted."""

    width: int
    longest: int
    layers: int


def measure_encoder(source: str | Path) -> Measures:
    """The measures of an encoder, from its configuration alone."""
    config = _config(source, None)
    return Measures(int(config.hidden_size), _longest(config), int(getattr(config, "num_hidden_layers", 0)))


def _longest(config: PretrainedConfig) -> int:
    return int(getattr(config, "max_position_embeddings", 2**20)) - _position_offset(config)


def _check_weights(encoder: PreTrainedModel, report: Mapping[str, Any], source: str | Path) -> None:
    """What a file lacks or has in another shape is random after loading. Only a pooler, which no path uses, may be absent."""
    unread = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    absent = sorted(name for name in unread if not name.startswith("pooler."))
    if absent:
        raise ArtefactError(
            Problem(f"the encoder's weights are missing or of another shape: {_some(absent)}", value=str(source))
        )
    broken = [name for name, p in encoder.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        raise ArtefactError(Problem(f"the encoder's weights are not finite: {_some(broken)}", value=str(source)))


def _some(names: Sequence[str]) -> str:
    return listed(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _config(source: str | Path, revision: str | None) -> PretrainedConfig:
    config = _quietly(lambda: AutoConfig.from_pretrained(str(source), revision=revision, trust_remote_code=False), source)
    if not hasattr(config, "hidden_size"):
        raise ArtefactError(Problem("the encoder's configuration names no hidden_size", value=str(source)))
    return cast(PretrainedConfig, config)


def _quietly(load: Any, source: str | Path) -> Any:
    """`load()` without transformers' progress bar and advice; its errors become ours."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except OSError as error:
        if (Path(source) / "config.json").is_file():
            raise ArtefactError(Problem(f"the encoder's folder is broken: {_first(error)}", value=str(source))) from error
        remedy = "name an installed package (minilm), a folder with config.json and model.safetensors, or a hub id"
        raise ResourceError(
            Problem(f"the encoder cannot be loaded: {_first(error)}", value=str(source), remedy=remedy)
        ) from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(Problem(f"the encoder cannot be used: {_first(error)}", value=str(source))) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def _takes_types(encoder: PreTrainedModel) -> bool:
    sizes = getattr(encoder.config, "type_vocab_size", 0) or 0
    return sizes > 1 and "token_type_ids" in inspect.signature(encoder.forward).parameters


def _position_offset(config: PretrainedConfig) -> int:
    """RoBERTa's family counts positions from the padding id plus one, so fewer of them are usable."""
    return (config.pad_token_id or 0) + 1 if config.model_type in _SHIFTED else 0


def _set_dropout(config: PretrainedConfig, rate: float) -> None:
    for name in list(vars(config)):
        if name in _RATES or name.endswith(("dropout_prob", "_dropout")):
            setattr(config, name, rate)
