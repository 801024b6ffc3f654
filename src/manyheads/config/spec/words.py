"""Modules that read words, and encoders that are trained from scratch."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from manyheads.config.spec.base import Strict
from manyheads.config.spec.module import ModuleBase

Kernels: TypeAlias = Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1)]


class VocabularySpec(Strict):
    """Which words get a number of their own, counted over the training rows of all data sets that the module reads."""

    lower: bool = True
    """Fold capitals: `A` and `a` are one word."""
    split: Literal["words", "spaces"] = "words"
    """How texts are parted: `words` are letters and digits with inner marks, or one other sign; `spaces` is for texts that were
    parted before, as those of WikiText and SST-2."""
    min_count: int = Field(default=1, ge=1)
    """Words that come less often in the training rows are unknown."""
    size: int | None = Field(default=None, ge=1)
    """At most so many of the counted words, the commonest ones; default: all."""
    file: str | None = None
    """Further words that are known, one a line, relative to the recipe."""
    vectors: int = Field(default=0, ge=0)
    """So many words from the top of the file of `vectors` are known as well, whether they come in training rows or not."""


class ReadingModule(ModuleBase):
    """What modules have that read words."""

    max_length: int = Field(default=512, ge=1, le=100_000)
    """Most words of one input; what is cut is counted."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the states."""


class EmbeddingModule(ReadingModule):
    """A vector a word, from a file or trained from scratch. Takes tokens, gives states (B, T, D).

    Modules that read the same data sets read by one vocabulary, which one of them may describe.
    """

    type: Literal["embedding"]
    width: int | None = Field(default=None, ge=1, le=65_536)
    """Width of the vectors; default: that of the file of `vectors`."""
    vectors: str | None = None
    """First vectors: `glove-50d` (an installed package), a file of GloVe or word2vec text, or .npy beside .txt of its words."""
    vocabulary: VocabularySpec | None = None
    """Which words are known; default: all of the training rows, capitals folded."""
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which a word is read as unknown in training."""


class CharactersModule(ReadingModule):
    """Words by their letters, through a convolution. Takes tokens, gives states (B, T, `filters` x number of `kernels`)."""

    type: Literal["characters"]
    width: int = Field(default=16, ge=1, le=4096)
    """Width of a letter's vector."""
    filters: int = Field(default=25, ge=1, le=65_536)
    """Filters of each kernel."""
    kernels: Kernels = Field(default=[3])
    """Widths of the convolutions, in bytes of UTF-8."""


class ElmoModule(ReadingModule):
    """A published ELMo, which reads words by their letters and then both ways. Takes tokens, gives states (B, T, D).

    By itself it gives the mean of its layers; `scalar_mix` learns how much of each, `layer` takes one. Needs the extra `elmo`.
    """

    type: Literal["elmo"]
    options: str
    """Its options.json, relative to the recipe."""
    weights: str
    """Its weights, an .hdf5 file, relative to the recipe."""


class ConcatModule(ModuleBase):
    """Several states, or several vectors, side by side. The step names its `inputs`."""

    type: Literal["concat"]


class RecurrentModule(ModuleBase):
    """LSTM or GRU layers over rows of unequal length. Takes states, gives states (B, T, D)."""

    type: Literal["recurrent"]
    width: int = Field(ge=1, le=65_536)
    """Width of a direction; both directions side by side are twice as wide."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Kind of cell."""
    layers: int = Field(default=1, ge=1, le=64)
    """Layers, each over the states of the one before."""
    bidirectional: bool = True
    """Read forward and backward."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout between layers."""

    @property
    def gives(self) -> int:
        """Width of the states."""
        return self.width * (2 if self.bidirectional else 1)


class ConvolutionModule(ModuleBase):
    """The strongest answer of each convolution over a row. Takes states, gives a vector of `filters` x number of `kernels`."""

    type: Literal["convolution"]
    filters: int = Field(default=100, ge=1, le=65_536)
    """Filters of each kernel."""
    kernels: Kernels = Field(default=[3, 4, 5])
    """Widths of the convolutions, in words."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the vector."""


class TransformerModule(ModuleBase):
    """A small transformer, trained from scratch, with learned positions. Takes states, gives states as wide."""

    type: Literal["transformer"]
    layers: int = Field(default=2, ge=1, le=64)
    """Layers of attention."""
    heads: int = Field(default=4, ge=1, le=256)
    """Heads of each layer; they must divide the width of the states."""
    inner: int | None = Field(default=None, ge=1)
    """Width inside a layer; default: four times that of the states."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the layers."""
    causal: bool = False
    """Each word sees those before it and itself alone."""
    max_length: int = Field(default=512, ge=1, le=100_000)
    """Most words of a row."""
