"""The modules of the pool."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, Tag

from manyheads.config.spec.base import Strict, own_or
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.sharing import CrossStitchModule, LayerStitchModule
from manyheads.config.spec.words import (
    CharactersModule,
    ConcatModule,
    ConvolutionModule,
    ElmoModule,
    EmbeddingModule,
    RecurrentModule,
    TransformerModule,
)

_BUILT_IN = (
    *("pretrained", "adapter", "ia3", "pool", "layer", "scalar_mix", "feedforward"),
    *("embedding", "characters", "elmo", "concat", "recurrent", "convolution", "transformer"),
    *("cross_stitch", "layer_stitch"),
)


class LoraSpec(Strict):
    """Low-rank adapters beside linear layers of an encoder, whose own weights stay as they are; needs the extra `lora`."""

    rank: int = Field(default=8, ge=1, le=4096)
    """Width between the two maps of an adapter."""
    alpha: int = Field(default=16, ge=1)
    """What an adapter adds counts `alpha / rank` times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before an adapter."""
    targets: list[str] | None = Field(default=None, min_length=1)
    """Names of the linear layers, or ends of such names; default: those of attention that peft takes, where it knows any."""


class PretrainedModule(ModuleBase):
    """A pretrained encoder that `transformers.AutoModel` loads. Takes tokens, gives states (B, T, D)."""

    type: Literal["pretrained"]
    name: str
    """A known installed package (`minilm`, `bert-tiny`), a folder, or a hub id."""
    revision: str | None = None
    """Commit or tag of a hub id."""
    max_length: int = Field(default=256, ge=8, le=8192)
    """Most pieces of one input, special pieces included; what is cut is counted."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Replaces the encoder's own dropout rates."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor of the learning rate from each layer to the one below; embeddings have the lowest."""
    lora: LoraSpec | None = None
    """Train adapters in place of the encoder's own weights."""


class OverEncoder(ModuleBase):
    """A pretrained encoder's own weights with adapters beside them."""

    method: ClassVar[Literal["lora", "ia3"]]
    of: str
    """Name of the pretrained module, which stays as it is."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor of the learning rate from each layer to the one below."""

    def settings(self) -> dict[str, Any]:
        """Those of the method alone."""
        return self.model_dump(exclude={*OverEncoder.model_fields, "type"})


class AdapterModule(OverEncoder, LoraSpec):
    """A pretrained encoder's own weights with low-rank adapters beside them. Takes tokens, gives states (B, T, D)."""

    method = "lora"
    type: Literal["adapter"]


class Ia3Module(OverEncoder):
    """A pretrained encoder, what comes out of some of its layers, or goes in, times a learned vector: (IA)³, a few weights a
    layer. Takes tokens, gives states (B, T, D); needs the extra `lora`.
    """

    method = "ia3"
    type: Literal["ia3"]
    outputs: list[str] | None = Field(default=None, min_length=1)
    """Names of the linear layers whose outputs are multiplied, or ends of such names; default: see `inputs`."""
    inputs: list[str] | None = Field(default=None, min_length=1)
    """Those whose inputs are. With neither: keys, values and dense outputs, as peft takes them, where it knows any."""


class PoolModule(ModuleBase):
    """One vector a row from its states: takes (B, T, D), gives (B, D)."""

    type: Literal["pool"]
    how: Literal["mean", "cls", "max", "attention"] = "mean"
    """`mean` and `max` over real pieces, `cls` the first piece, `attention` a mean with learned weights."""


class LayerModule(ModuleBase):
    """One layer of a pretrained encoder, or of an ELMo: takes all layers, gives that one's states (B, T, D)."""

    type: Literal["layer"]
    index: int
    """Number of the layer: 0 the embeddings, 1 the first layer, -1 the last."""


class ScalarMixModule(ModuleBase):
    """Layers of a pretrained encoder, or of an ELMo, mixed with learned weights: takes all layers, gives states (B, T, D)."""

    type: Literal["scalar_mix"]
    layers: list[int] | None = Field(default=None, min_length=1)
    """Numbers of the layers as in `layer`; default: all, embeddings included."""
    norm: bool = False
    """Bring each state to mean 0 and variance 1 before it is mixed."""


class FeedForwardModule(ModuleBase):
    """Linear, activation, dropout; takes and gives vectors or states."""

    type: Literal["feedforward"]
    width: int = Field(ge=1)
    """Output width."""
    activation: Literal["relu", "gelu", "tanh"] = "gelu"
    """Function after the linear map."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout after the activation."""


class OwnModule(ModuleBase):
    """A module type that a plug-in registered."""

    type: str = Field(json_schema_extra={"not": {"enum": [*_BUILT_IN]}})
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the registered function."""


ModuleSpec: TypeAlias = Annotated[
    Annotated[PretrainedModule, Tag("pretrained")]
    | Annotated[AdapterModule, Tag("adapter")]
    | Annotated[Ia3Module, Tag("ia3")]
    | Annotated[PoolModule, Tag("pool")]
    | Annotated[LayerModule, Tag("layer")]
    | Annotated[ScalarMixModule, Tag("scalar_mix")]
    | Annotated[FeedForwardModule, Tag("feedforward")]
    | Annotated[EmbeddingModule, Tag("embedding")]
    | Annotated[CharactersModule, Tag("characters")]
    | Annotated[ElmoModule, Tag("elmo")]
    | Annotated[ConcatModule, Tag("concat")]
    | Annotated[RecurrentModule, Tag("recurrent")]
    | Annotated[ConvolutionModule, Tag("convolution")]
    | Annotated[TransformerModule, Tag("transformer")]
    | Annotated[CrossStitchModule, Tag("cross_stitch")]
    | Annotated[LayerStitchModule, Tag("layer_stitch")]
    | Annotated[OwnModule, Tag("own")],
    own_or(frozenset(_BUILT_IN)),
]
