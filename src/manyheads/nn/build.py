"""Modules by type name, with weights that depend on the seed and the module's name alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.convolution import Convolution
from manyheads.nn.elmo import Elmo
from manyheads.nn.embedding import Characters, Concat, Embedding
from manyheads.nn.feedforward import FeedForward
from manyheads.nn.heads import CrfHead, RowHead, SpanHead, WordHead
from manyheads.nn.language import LanguageHead
from manyheads.nn.layers import Layer, ScalarMix
from manyheads.nn.masked import Mask, MaskedHead
from manyheads.nn.pool import AttentionPool, Pool
from manyheads.nn.recurrent import Recurrent
from manyheads.nn.stitch import CrossStitch, LayerStitch
from manyheads.nn.transformer import Transformer
from manyheads.nn.trunk import adapt, load_trunk
from manyheads.registry import Registry
from manyheads.seeds import key

MODULES: Registry[Callable[..., nn.Module]] = Registry("module")
MODULES.register("pretrained")(load_trunk)
MODULES.register("adapter")(adapt)
MODULES.register("ia3")(adapt)  # a recipe's name for such an adapter; in a plan both are "adapter"
MODULES.register("pool")(Pool)
MODULES.register("attention_pool")(AttentionPool)
MODULES.register("layer")(Layer)
MODULES.register("scalar_mix")(ScalarMix)
MODULES.register("feedforward")(FeedForward)
MODULES.register("embedding")(Embedding)
MODULES.register("characters")(Characters)
MODULES.register("elmo")(Elmo)
MODULES.register("concat")(Concat)
MODULES.register("recurrent")(Recurrent)
MODULES.register("convolution")(Convolution)
MODULES.register("transformer")(Transformer)
MODULES.register("cross_stitch")(CrossStitch)
MODULES.register("layer_stitch")(LayerStitch)
MODULES.register("row_head")(RowHead)
MODULES.register("word_head")(WordHead)
MODULES.register("crf_head")(CrfHead)
MODULES.register("span_head")(SpanHead)
MODULES.register("language_head")(LanguageHead)
MODULES.register("mask")(Mask)
MODULES.register("masked_head")(MaskedHead)


def build_module(name: str, kind: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    """The module `name` of type `kind`. Another module's presence does not change its first weights.

    Raises RecipeError for an unknown type or option, with the nearest known.
    """
    build = MODULES[kind]
    check_options(build, options, f"modules.{name}.options")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "init", name) & (2**63 - 1))
        return build(**options)


def check_options(build: Callable[..., object], options: Mapping[str, Any], place: str) -> None:
    """RecipeError when `build` does not take these keyword arguments: its signature is their schema."""
    parameters = inspect.signature(build).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = [o for o in options if o not in parameters]
    problems = [
        Problem(f"unknown option (there are: {listed(parameters)})", f"{place}.{o}", o, nearest(o, parameters)) for o in unknown
    ]
    missing = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and n not in options]
    problems += [Problem(f"the option {n!r} is needed", place) for n in missing]
    if problems:
        raise RecipeError(*problems)
