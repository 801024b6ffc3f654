"""One layer of an encoder, and several mixed, beside transformers' own hidden states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from manyheads.errors import WiringError
from manyheads.graph import Step
from manyheads.model import Model
from manyheads.nn.layers import Layer, ScalarMix
from manyheads.nn.pool import Pool
from manyheads.nn.trunk import Trunk, load_trunk
from manyheads.ports import Port
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.types import States, Tokens

SMALL = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
ENDS = {"pad_token_id": 0, "cls_token_id": 1, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2}
FAMILIES: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**SMALL),
    "roberta": RobertaConfig(**SMALL),
    "distilbert": DistilBertConfig(vocab_size=40, dim=8, n_layers=3, n_heads=2, hidden_dim=8),
    "electra": ElectraConfig(**SMALL, embedding_size=4),
    "deberta": DebertaV2Config(**SMALL),
    "modernbert": ModernBertConfig(**SMALL, **ENDS),
}


def tokens(*lengths: int, highest: int = 40) -> Tokens:
    mask = torch.arange(max(lengths)).expand(len(lengths), -1) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(3, highest, mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    return Tokens(ids, mask, torch.zeros_like(ids), torch.zeros(len(lengths), 1, dtype=torch.long))


def small(family: str = "bert", layers: bool = True) -> Trunk:
    torch.manual_seed(2)
    return Trunk(AutoModel.from_config(FAMILIES[family]), layers=layers).eval()


def random_states(layers: int, lengths: tuple[int, ...] = (3, 5), width: int = 4, seed: int = 0) -> States:
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)).expand(len(lengths), -1) < torch.tensor(lengths).unsqueeze(1)
    last, *below = (torch.randn(*mask.shape, width, generator=random) for _ in range(layers))
    return States(last, mask, None, tuple(below))


def levels(states: States) -> tuple[Tensor, ...]:
    return (*states.below, states.states)


# one layer --------------------------------------------------------------------------------------------------------------


def test_layer_k_is_hidden_state_k_of_the_real_encoder(bert_tiny: Path) -> None:
    trunk, plain = load_trunk(bert_tiny, layers=True).eval(), AutoModel.from_pretrained(bert_tiny).eval()
    read = tokens(9, 4, highest=30000)
    wanted = plain(input_ids=read.ids, attention_mask=read.mask.long(), output_hidden_states=True)
    found = trunk(read)
    assert len(wanted.hidden_states) == 3
    for k, state in enumerate(wanted.hidden_states):
        assert torch.equal(Layer(k)(found).states, state)
        assert torch.equal(Layer(k - 3)(found).states, state)
    assert torch.equal(Pool("cls")(Layer(-1)(found)), wanted.last_hidden_state[:, 0])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_layer_k_is_hidden_state_k_in_every_family(family: str) -> None:
    trunk, read = small(family), tokens(6, 2)
    wanted = trunk.encoder(input_ids=read.ids, attention_mask=read.mask.long(), output_hidden_states=True).hidden_states
    found = trunk(read)
    assert len(wanted) == len(levels(found)) == 4
    for k, state in enumerate(wanted):
        assert torch.equal(Layer(k)(found).states, state)
    assert torch.equal(Pool("cls")(found), small(family, layers=False)(read).states[:, 0])


def test_a_layer_is_not_copied_and_keeps_pieces_and_words() -> None:
    given = small()(tokens(5, 3))
    found = Layer(1)(given)
    assert found.states.data_ptr() == given.below[1].data_ptr()
    assert (found.mask, found.words, found.below) == (given.mask, given.words, ())


def test_the_gradient_of_a_layer_is_that_of_its_own_readers() -> None:
    """Though the last layer is made from it, what a loss sends to the last one is not counted twice."""
    found = small()(tokens(5, 3))
    first, last = torch.autograd.grad(found.below[0].sum() + 2 * found.states.sum(), (found.below[0], found.states))
    assert torch.equal(first, torch.ones_like(first))
    assert torch.equal(last, torch.full_like(last, 2))


# a mix ------------------------------------------------------------------------------------------------------------------


def slowly(mix: ScalarMix, given: States) -> Tensor:
    """All layers in one tensor."""
    stacked = torch.stack([levels(given)[i] for i in mix.layers])
    if mix.norm:
        centred = stacked - stacked.mean(-1, keepdim=True)
        stacked = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return mix.gamma * torch.einsum("l,lbtd->btd", torch.softmax(mix.scalars, 0), stacked)


@given(st.data(), st.integers(2, 5), st.booleans(), st.integers(0, 99))
def test_a_mix_equals_its_slow_twin(data: st.DataObject, count: int, norm: bool, seed: int) -> None:
    layers = data.draw(st.lists(st.integers(-count, count - 1), min_size=1, max_size=4))
    mix, given = ScalarMix(layers, norm), random_states(count, seed=seed)
    torch.manual_seed(seed)
    nn.init.normal_(mix.scalars)
    nn.init.normal_(mix.gamma)
    found, wanted = mix(given).states, slowly(mix, given)
    assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(found.square().sum(), (mix.scalars, mix.gamma))
    for one, other in zip(ours, torch.autograd.grad(wanted.square().sum(), (mix.scalars, mix.gamma)), strict=True):
        assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_a_new_mix_is_the_mean_of_the_layers(bert_tiny: Path) -> None:
    found = load_trunk(bert_tiny, layers=True).eval()(tokens(9, 4, highest=30000))
    assert_close(ScalarMix([0, 1, 2])(found).states, torch.stack(levels(found)).mean(0), atol=1e-6, rtol=1e-5)
    assert_close(ScalarMix([0, -1])(found).states, (found.below[0] + found.states) / 2, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("chosen", [0, 1, 2, 3])
def test_a_mix_of_one_weight_is_that_layer(chosen: int) -> None:
    given, mix = small()(tokens(5, 3)), ScalarMix(range(4))
    with torch.no_grad():
        mix.scalars[chosen] = 1e4
    assert torch.equal(mix(given).states, levels(given)[chosen])


def test_a_norm_sees_one_piece_at_a_time() -> None:
    given = random_states(2, (2, 4))
    alone = States(given.states[:1, :2], given.mask[:1, :2], None, tuple(t[:1, :2] for t in given.below))
    mix = ScalarMix([0], norm=True)
    found = mix(given).states
    assert_close(found.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    assert_close(found.var(-1, unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0)
    assert_close(found[:1, :2], mix(alone).states)


def test_half_precision_stays_half_under_autocast() -> None:
    trunk, mix = small(), ScalarMix(range(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(mix(trunk(tokens(4))).states).all()


# what does not fit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [Layer(0), ScalarMix([0, 1])])
def test_states_of_one_layer_are_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="all layers of an encoder are wanted"):
        module(small(layers=False)(tokens(3)))


@pytest.mark.parametrize("module", [Layer(0), ScalarMix([0, 1])])
def test_wiring_knows_who_gives_layers(module: nn.Module) -> None:
    def model(trunk: Trunk, path: list[str | Step]) -> Model:
        return Model({"trunk": trunk, "read": module, "pool": Pool(), "head": nn.Linear(8, 1)}, [Task("a", path, Regression())])

    assert model(small(), ["trunk", "read", "pool", "head"]).graph.nodes[2].gives == Port("vector", 8)
    assert model(small(), ["trunk", "pool", "head"]).graph.nodes[1].gives == Port("vector", 8)
    with pytest.raises(WiringError, match="'read' wants layers, but its input 'trunk' gives states of width 8"):
        model(small(layers=False), ["trunk", "read", "pool", "head"])
    with pytest.raises(WiringError, match="'again' wants layers, but its input 'read' gives states of width 8"):
        model(small(), ["trunk", "read", Step("read", name="again"), "pool", "head"])


def test_they_print_what_they_read() -> None:
    assert [repr(m) for m in (Layer(-1), ScalarMix([0, 2]), ScalarMix([1], norm=True))] == [
        "Layer(-1)",
        "ScalarMix(0, 2)",
        "ScalarMix(1, norm)",
    ]
