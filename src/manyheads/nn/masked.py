"""Masked language modelling: pieces are hidden in front of an encoder, and told from its states.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from manyheads.errors import ArtefactError, Problem
from manyheads.nn.language import likelihoods
from manyheads.nn.trunk import Trunk
from manyheads.ports import Port, Ports
from manyheads.seeds import generator
from manyheads.text.masking import places
from manyheads.types import IGNORE, KEPT, RowBlock, States, Tokens

_HIDDEN, _REPLACED = 0.8, 0.1  # of the chosen pieces: become the mask piece, become another one; the rest stay
_FILES: Sequence[tuple[str, str, str]] = (  # how families call the linear map, the norm and the bias of their head
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),  # BERT
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),  # RoBERTa, MPNet
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),  # DistilBERT
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),  # ELECTRA
    ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),  # ALBERT
)
_OLD: Mapping[str, str] = MappingProxyType({"weight": "gamma", "bias": "beta"})  # what the first files call a norm's


@dataclass(frozen=True, slots=True)
class MaskedTokens(Tokens):
    """Pieces of which some are hidden. What an encoder reads to tell them.

    told   (B, T) int64, the piece that stood at each chosen place, `IGNORE` at all others
    asked  (B, T) bool, where the text itself has the mask piece; of such a row nothing is chosen
    """

    told: Tensor = field(kw_only=True)
    asked: Tensor = field(kw_only=True)

    FILL: ClassVar[Mapping[str, int]] = {"words": -1, "told": IGNORE}


@dataclass(frozen=True, slots=True)
class HiddenWords(RowBlock):
    """What a masked head gives: scores that are still to be computed, where pieces are hidden.

    hidden       (B, T, D) float, states
    told, asked  (B, T), as in `MaskedTokens`
    head         what makes scores of states
    """

    hidden: Tensor
    told: Tensor
    asked: Tensor
    head: MaskedHead = field(metadata=KEPT)

    FILL: ClassVar[Mapping[str, int]] = {"told": IGNORE}

    def chosen(self, target: Tensor) -> Tensor:
        """(B, T) bool, the chosen places of the rows of which a target (B, M) wants any."""
        return (self.told != IGNORE) & (target != IGNORE).any(1, keepdim=True)

    def log_likelihood(self, chosen: Tensor) -> Tensor:
        """(N,) float, of the pieces that stood at N places, given as (B, T) bool, row by row."""
        return self.head.log_likelihood(self.hidden[chosen], self.told[chosen])

    def scores(self, row: int) -> Tensor:
        """(N, V) float, of every piece at the N places of a row where the text has the mask piece."""
        return self.head.scores(self.hidden[row, self.asked[row]])


class Mask(nn.Module):
    """tokens (B, T) -> `MaskedTokens`: a `share` of each row's pieces is chosen, and of these hidden or replaced.

    Of the chosen ones 80 % become the mask `piece`, 10 % any piece of the vocabulary that is not special, 10 % stay. `special`
    pieces are never chosen; `words` is the size of the vocabulary. How many are chosen follows from the row alone
    (`manyheads.text.masking`). In training the draws are torch's; else they follow from the row's own pieces, so that a row is
    always scored by the same ones, whatever rows stand beside it.
    """

    plain: Tensor
    special: Tensor

    def __init__(self, piece: int, special: Sequence[int], words: int, *, share: float = 0.15) -> None:
        super().__init__()
        self.ports = Ports((Port("tokens"),), Port("tokens"), looks="here")
        self.piece, self.share = piece, share
        self.register_buffer("special", torch.tensor(sorted(special)), persistent=False)
        self.register_buffer("plain", torch.tensor(sorted(set(range(words)).difference(special))), persistent=False)

    def forward(self, tokens: Tokens) -> MaskedTokens:
        ids = tokens.ids
        asked = tokens.mask & (ids == self.piece)
        eligible = tokens.mask & ~torch.isin(ids, self.special)
        order, fate, other = self._draws(tokens)
        rank = order.masked_fill(~eligible, math.inf).argsort(stable=True, dim=1).argsort(dim=1)
        chosen = rank < self._counts(eligible, asked)[:, None]
        another = self.plain[(other * len(self.plain)).long().clamp(max=len(self.plain) - 1)]
        changed = torch.where(fate < _HIDDEN, self.piece, torch.where(fate < _HIDDEN + _REPLACED, another, ids))
        return MaskedTokens(
            torch.where(chosen, changed, ids),
            tokens.mask,
            tokens.types,
            tokens.words,
            carry=tokens.carry,  # and no letters, which would spell what is hidden
            told=torch.where(chosen, ids, IGNORE),
            asked=asked,
        )

    def _counts(self, eligible: Tensor, asked: Tensor) -> Tensor:
        """(B,) how many pieces of each row are chosen."""
        table = torch.tensor([places(n, self.share) for n in range(eligible.shape[1] + 1)], device=eligible.device)
        return table[eligible.sum(1)] * ~asked.any(1)

    def _draws(self, tokens: Tokens) -> Tensor:
        """(3, B, T) float from 0 to 1: the order in which pieces are chosen, what becomes of each, and which other one."""
        shape = (3, *tokens.ids.shape)
        if self.training:
            return torch.rand(shape, device=tokens.ids.device)
        found = np.zeros(shape, np.float32)
        for i, (ids, mask) in enumerate(zip(tokens.ids.cpu(), tokens.mask.cpu(), strict=True)):
            row = ids[mask].tolist()
            found[:, i, : len(row)] = generator(0, "mask", *row).random((3, len(row)), np.float32)
        return torch.from_numpy(found).to(tokens.ids.device)


class MaskedHead(nn.Module):
    """states (B, T, D) and their `MaskedTokens` -> `HiddenWords`: BERT's head, over the word embeddings of the encoder `of`.

    A linear map to the embeddings' width, the encoder's activation and a layer norm; the scores are products with the
    embeddings, plus a bias a piece. The embeddings stay the encoder's alone: they are no parameters of this module.
    """

    def __init__(self, width: int, of: Trunk, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.ports = Ports((Port("states", width), Port("tokens")), Port("scores"))
        self.tied = True
        self._of = (of,)  # in a tuple, so that it is not registered as a part
        config: Any = of.encoder.config
        words, wide = self.table.shape
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, wide)
        self.activation = ACT2FN[getattr(config, "hidden_act", None) or getattr(config, "activation", "gelu")]
        self.norm = nn.LayerNorm(wide, eps=getattr(config, "layer_norm_eps", 1e-12))
        self.bias = nn.Parameter(torch.zeros(words))

    @property
    def encoder(self) -> Trunk:
        """The encoder whose word embeddings it has."""
        return self._of[0]

    @property
    def table(self) -> Tensor:
        """(V, E) float, the word embeddings of the encoder."""
        return cast(Tensor, self.encoder.encoder.get_input_embeddings().weight)

    def forward(self, states: States, tokens: MaskedTokens) -> HiddenWords:
        return HiddenWords(states.states, tokens.told, tokens.asked, self)

    def log_likelihood(self, hidden: Tensor, target: Tensor) -> Tensor:
        """(N, D) states and (N,) pieces -> (N,) the natural logarithm of each piece's probability."""
        return likelihoods(self._transformed(hidden), target, self.table, self.bias)

    def scores(self, hidden: Tensor) -> Tensor:
        """(N, D) states -> (N, V) the score of each piece."""
        return F.linear(self._transformed(hidden), self.table, self.bias)

    def _transformed(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.norm(self.activation(self.dense(self.dropout(hidden))))
        return found


def read_head(head: MaskedHead, folder: Path) -> bool:
    """First weights of a head from the safetensors of its encoder's folder; False, and nothing changed, where these have none.

    Nor has a head any that reads states of another width than the encoder's. Raises ArtefactError for weights of another shape,
    that are not finite, or in a file that cannot be read.
    """
    found = _saved_head(folder) if head.dense.in_features == head.encoder.width else None
    if found is None:
        return False
    state = head.state_dict()
    for name, tensor in found.items():
        if tensor.shape != state[name].shape:
            shapes = f"{tuple(tensor.shape)}, and this one wants {tuple(state[name].shape)}"
            rule = f"the {name} of the encoder's head for hidden words has the shape {shapes}"
            raise ArtefactError(Problem(rule, value=str(folder)))
        if not torch.isfinite(tensor).all():
            raise ArtefactError(Problem(f"the {name} of the encoder's head for hidden words is not finite", value=str(folder)))
    head.load_state_dict(found)
    return True


def _saved_head(folder: Path) -> dict[str, Tensor] | None:
    """The weights of the head by their names here, all of them or None."""
    held: dict[str, Path] = {}
    try:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as weights:
                held.update(dict.fromkeys(weights.keys(), file))
        for dense, norm, bias in _FILES:
            named = {f"{own}.{key}": f"{theirs}.{key}" for own, theirs in (("dense", dense), ("norm", norm)) for key in _OLD}
            named = {own: name if name in held else _old(name) for own, name in named.items()} | {"bias": bias}
            if all(name in held for name in named.values()):
                return {own: _tensor(held[name], name) for own, name in named.items()}
    except (OSError, SafetensorError) as error:
        raise ArtefactError(Problem(f"the encoder's weights cannot be read: {error}", value=str(folder))) from error
    return None


def _old(name: str) -> str:
    module, _, key = name.rpartition(".")
    return f"{module}.{_OLD[key]}"


def _tensor(file: Path, name: str) -> Tensor:
    with safe_open(file, "pt") as weights:
        return cast(Tensor, weights.get_tensor(name)).float()
