"""Which ends of a path plain transformers models compute too, and under which names they keep the weights.

A plain model for rows, or for choices, reads the first state by one square linear map and a function of its family, then a
linear map; one for words, or for answers in a text, has a linear map alone. Nothing here is approximate: an end that no plain
model computes is refused, with what would fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from manyheads.errors import Problem, RecipeError, listed, shown
from manyheads.nn.feedforward import ACTIVATIONS, FeedForward
from manyheads.nn.heads import CrfHead, RowHead, SpanHead, WordHead
from manyheads.nn.pool import Pool


@dataclass(frozen=True, slots=True)
class End:
    """A path behind its encoder: modules by name, in order, and the place to blame."""

    steps: Sequence[tuple[str, nn.Module]]
    place: str


@dataclass(frozen=True, slots=True)
class PlainEnd:
    """The same in a plain model: weights by their names there, and settings of its configuration."""

    weights: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a family reads rows. `dense` and `head` are names of its maps, `activation` is the function between them.

    `setting` is the key by which the configuration names that function, where it does: then any one fits, and none.
    """

    dense: str
    activation: str
    head: str = "classifier"
    setting: str = ""


_ROBERTA = _Form("classifier.dense", "tanh", "classifier.out_proj")
FORMS: Mapping[str, _Form] = {
    "albert": _Form("albert.pooler", "tanh"),
    "bert": _Form("bert.pooler.dense", "tanh"),
    "camembert": _ROBERTA,
    "deberta-v2": _Form("pooler.dense", "gelu", setting="pooler_hidden_act"),
    "distilbert": _Form("pre_classifier", "relu"),
    "electra": _Form("classifier.dense", "gelu", "classifier.out_proj"),
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
_POOLED = _Form("roberta.pooler.dense", "tanh")
CHOICE_FORMS: Mapping[str, _Form] = {
    **FORMS,
    "camembert": _POOLED,
    "electra": _Form("sequence_summary.summary", "gelu"),
    "mpnet": replace(_POOLED, dense="mpnet.pooler.dense"),
    "roberta": _POOLED,
    "xlm-roberta": _POOLED,
}
"""Of choices each is read as a row is, by the pooler of the encoder in families whose classifier of rows has none."""


def row_end(end: End, plain: PreTrainedModel) -> PlainEnd:
    """A `cls` pool, a square feedforward of the family's function, and a row head. `plain` may be without values (meta).

    A pool of the first state may stand behind the feedforward as well: that one works on each state by itself. Raises
    RecipeError for all else.
    """
    return _vector_end(end, plain, FORMS, "row")


def choice_end(end: End, plain: PreTrainedModel) -> PlainEnd:
    """As `row_end`, for each choice."""
    return _vector_end(end, plain, CHOICE_FORMS, "choice")


def _vector_end(end: End, plain: PreTrainedModel, forms: Mapping[str, _Form], what: str) -> PlainEnd:
    config = plain.config
    form = forms.get(config.model_type)
    if form is None:
        rule = f"what a plain {_name(plain)} does with a {what} is none of our modules"
        raise RecipeError(Problem(rule, end.place, remedy=f"{what}s of these families can be exported: {listed(forms)}"))
    dense, head = _row_parts(end, form, plain)
    if dense is None and not form.setting:
        raise RecipeError(Problem(f"a plain {_name(plain)} has a linear map before the head, and this path none", end.place,
                                  remedy=_fits(form, config)))  # fmt: skip
    settings = {form.setting: _activation(dense) if dense else "linear", "pooler_hidden_size": config.hidden_size}
    linear = dense.layers[0] if dense else None
    square = _weights(form.dense, linear) if linear is not None else _identity(form.dense, config.hidden_size)
    return PlainEnd({**square, **_weights(form.head, head.linear)}, settings if form.setting else {})


def word_end(end: End, plain: PreTrainedModel) -> PlainEnd:
    """A word or span head alone, in a plain model whose own part is one linear map. Raises RecipeError for all else."""
    for name, module in end.steps:
        if isinstance(module, CrfHead):
            rule = f"step {shown(name)} chooses whole paths of tags, which a plain {_name(plain)} cannot"
            raise RecipeError(Problem(rule, end.place, remedy="a task with `decoder: softmax` fits"))
        if not isinstance(module, WordHead | SpanHead):
            raise _no_place(name, plain, end, "a path of the encoder alone fits; its head is added at the end")
    own = [name for name in plain.state_dict() if not name.startswith(f"{plain.base_model_prefix}.")]
    names = {name.rpartition(".")[0] for name in own}
    if len(names) != 1 or {name.rpartition(".")[2] for name in own} != {"weight", "bias"}:
        rule = f"a plain {_name(plain)} has more than a linear map behind its encoder, which is none of our modules"
        raise RecipeError(Problem(rule, end.place, ", ".join(own)))
    head = end.steps[-1][1]
    return PlainEnd(_weights(names.pop(), (head.words if isinstance(head, SpanHead) else head).get_submodule("linear")))


def _row_parts(end: End, form: _Form, plain: PreTrainedModel) -> tuple[FeedForward | None, RowHead]:
    """The feedforward, where there is one, and the head; RecipeError for every other module."""
    dense, head = None, None
    for name, module in end.steps:
        match module:
            case Pool(how="cls"):
                pass
            case FeedForward() if dense is None and _is_square(module, form, plain.config):
                dense = module
            case RowHead():
                head = module
            case _:
                raise _no_place(name, plain, end, _fits(form, plain.config))
    if head is None:
        raise RecipeError(Problem("the path does not end in a head of ours", end.place))
    return dense, head


def _is_square(module: FeedForward, form: _Form, config: PretrainedConfig) -> bool:
    linear = module.layers[0]
    square = linear.weight.shape == (config.hidden_size, config.hidden_size)
    return square and (bool(form.setting) or _activation(module) == form.activation)


def _activation(module: FeedForward) -> str:
    return next(name for name, kind in ACTIVATIONS.items() if isinstance(module.layers[1], kind))


def _fits(form: _Form, config: PretrainedConfig) -> str:
    function = f"one of {listed(ACTIVATIONS)}" if form.setting else form.activation
    optional = ", or without the feedforward" if form.setting else ""
    dense = f"a feedforward of width {config.hidden_size} with activation {function}"
    return f"[the encoder, a pool of how: cls, {dense}] fits{optional}; the head is added at the end"


def _no_place(name: str, plain: PreTrainedModel, end: End, remedy: str) -> RecipeError:
    module = dict(end.steps)[name]
    how = f" ({module.extra_repr()})" if isinstance(module, Pool) else ""
    rule = f"step {shown(name)}, a {type(module).__name__}{how}, has no place in a plain {_name(plain)}"
    return RecipeError(Problem(rule, end.place, remedy=remedy))


def _name(plain: PreTrainedModel) -> str:
    return type(plain).__name__


def _weights(name: str, linear: nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor.detach().cpu() for key, tensor in linear.state_dict().items()}


def _identity(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.eye(width), f"{name}.bias": torch.zeros(width)}
