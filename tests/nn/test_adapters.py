"""Adapters of encoders of every family, against peft's own loading and against merged weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
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
    XLMRobertaConfig,
)

from manyheads.errors import ArtefactError, MissingExtraError, RecipeError
from manyheads.nn.adapters import Ia3, Lora, adapter_tensors, load_adapter, merged, plain, require_peft, save_adapter
from manyheads.nn.trunk import Trunk, adapt, load_trunk, resolve_adapters
from manyheads.types import Tokens

SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: BertConfig(**SMALL),
    "roberta": lambda: RobertaConfig(**SMALL, type_vocab_size=1),
    "distilbert": lambda: DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=16),
    "electra": lambda: ElectraConfig(**SMALL, embedding_size=8),
    "deberta-v2": lambda: DebertaV2Config(
        **SMALL, relative_attention=True, position_buckets=4, pos_att_type=["p2c", "c2p"], share_att_key=True
    ),
    "modernbert": lambda: ModernBertConfig(**SMALL, **IDS),
    "xlm-roberta": lambda: XLMRobertaConfig(**SMALL, type_vocab_size=1),
}
TARGETS = {
    "distilbert": ["q_lin", "v_lin"],
    "modernbert": ["Wqkv", "mlp.Wo"],
    "bert": ["query", "value", "output.dense"],
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random encoder of each family, in a folder that is named like it."""
    folder = tmp_path_factory.mktemp("families") / str(request.param)
    torch.manual_seed(0)
    AutoModel.from_config(CONFIGS[request.param]()).save_pretrained(folder)
    return folder


def settings(family: Path, **more: Any) -> dict[str, Any]:
    return {"rank": 3, "alpha": 6, "targets": TARGETS.get(family.name), **more}


IA3 = {  # outputs and inputs that are multiplied
    "distilbert": {"outputs": ["k_lin", "v_lin"], "inputs": ["ffn.lin2"]},
    "modernbert": {"outputs": ["Wqkv"], "inputs": ["mlp.Wo"]},
    "deberta-v2": {"outputs": ["key_proj", "value_proj"]},
}


@pytest.fixture(params=["lora", "ia3"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def with_adapters(family: Path, method: str, **more: Any) -> Trunk:
    """The encoder with new adapters."""
    if method == "lora":
        return load_trunk(family, lora=settings(family), **more)
    named = IA3.get(family.name, {"outputs": ["key", "value"], "inputs": ["output.dense"]})
    return adapt(load_trunk(family, freeze=True), ia3=named, **more)


def tokens(highest: int = 40) -> Tokens:
    ids = torch.randint(3, highest, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([9, 5, 2]).unsqueeze(1)
    return Tokens(ids * mask, mask, torch.zeros_like(ids))


def stirred(trunk: Trunk) -> Trunk:
    """The trunk with adapters that do something."""
    draw = torch.Generator().manual_seed(2)
    for tensor in adapter_tensors(trunk.encoder).values():
        tensor.data.copy_(torch.randn(tensor.shape, generator=draw) * 0.3)
    return trunk


# training ---------------------------------------------------------------------------------------------------------------


def test_new_adapters_change_no_bit(family: Path) -> None:
    base, adapted = load_trunk(family).eval(), load_trunk(family, lora=settings(family, dropout=0.2)).eval()
    assert torch.equal(base(tokens()).states, adapted(tokens()).states)
    assert torch.equal(base(tokens()).states, adapt(base, lora=settings(family)).eval()(tokens()).states)
    assert torch.equal(base(tokens()).states, with_adapters(family, "ia3").eval()(tokens()).states)


def test_adapters_and_nothing_else_have_gradients(family: Path, method: str) -> None:
    trunk = stirred(with_adapters(family, method))
    trunk(tokens()).states.square().sum().backward()
    trained = {name for name, p in trunk.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in trunk.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {name for name, _ in trunk.named_parameters() if ".lora_" in name or ".ia3_l." in name} != set()
    assert not any("pooler" in name for name in trained)


def test_two_adapters_of_one_encoder_hold_its_weights_once_and_do_not_meet(family: Path) -> None:
    base = load_trunk(family, freeze=True)
    one, two = adapt(base, lora=settings(family)), adapt(base, lora=settings(family, rank=2))
    before = (base(tokens()).states.clone(), two.eval()(tokens()).states.clone())
    stirred(one)
    own = sum(t.numel() for trunk in (one, two) for t in adapter_tensors(trunk.encoder).values())
    total = sum(p.numel() for p in torch.nn.ModuleList([base, one, two]).parameters())
    assert total == sum(p.numel() for p in base.parameters()) + own
    assert torch.equal(before[0], base(tokens()).states)
    assert torch.equal(before[1], two(tokens()).states)
    assert not torch.equal(before[1], one.eval()(tokens()).states)


def test_an_adapter_follows_the_weights_of_its_encoder(bert_tiny: Path) -> None:
    base = load_trunk(bert_tiny, freeze=True)
    one = adapt(base, lora={"rank": 2}).eval()
    with torch.no_grad():
        next(p for name, p in base.named_parameters() if name.endswith("query.weight")).mul_(0.5)
    assert torch.equal(one(tokens(30000)).states, base(tokens(30000)).states)
    both = torch.nn.ModuleList([base, one]).to(torch.float64)  # as for another device
    assert len({id(p) for p in both.parameters()}) == len(list(base.parameters())) + len(adapter_tensors(one.encoder))
    assert {id(p) for p in base.parameters()} <= {id(p) for p in one.parameters()}
    assert {p.dtype for p in both.parameters()} == {torch.float64}


def test_all_layers_of_an_adapted_encoder_are_given(family: Path, method: str) -> None:
    trunk = stirred(with_adapters(family, method, layers=True)).eval()
    found = trunk(tokens())
    assert len(found.below) == 2
    assert torch.equal(found.states, stirred(with_adapters(family, method)).eval()(tokens()).states)


# saved alone, merged ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers by the old name
def test_peft_loads_what_is_saved_onto_the_base_model(family: Path, method: str, tmp_path: Path) -> None:
    trunk = stirred(with_adapters(family, method)).eval()
    save_adapter(trunk.encoder, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(family), tmp_path / "adapter").eval()
    given = tokens()
    wanted = theirs(input_ids=given.ids, attention_mask=given.mask.long()).last_hidden_state
    assert_close(trunk(given).states[given.mask], wanted[given.mask], atol=1e-6, rtol=0)
    assert not torch.allclose(wanted, load_trunk(family).eval()(given).states, atol=1e-3)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_of_real_weights_in_peft_and_merged(bert_tiny: Path, tmp_path: Path) -> None:
    trunk = stirred(load_trunk(bert_tiny, lora={"rank": 8, "targets": ["query", "key", "value", "dense"]})).eval()
    save_adapter(trunk.encoder, tmp_path)
    theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(bert_tiny), tmp_path).eval()
    given = tokens(30000)
    wanted = theirs(input_ids=given.ids, attention_mask=given.mask.long()).last_hidden_state
    assert_close(trunk(given).states, wanted, atol=1e-6, rtol=0)
    assert_close(Trunk(merged(trunk.encoder)).eval()(given).states, wanted, atol=2e-5, rtol=0)


def test_saved_adapters_come_back_to_the_bit_and_in_the_same_bytes(family: Path, method: str, tmp_path: Path) -> None:
    trunk, other = (with_adapters(family, method).eval() for _ in range(2))
    save_adapter(stirred(trunk).encoder, tmp_path / "one")
    load_adapter(other.encoder, tmp_path / "one")
    assert torch.equal(trunk(tokens()).states, other(tokens()).states)
    save_adapter(other.encoder, tmp_path / "two")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_merged_weights_give_the_adapted_states(family: Path, method: str) -> None:
    trunk = stirred(with_adapters(family, method)).eval()
    before, base = trunk(tokens()).states, load_trunk(family).eval()
    once = Trunk(merged(trunk.encoder)).eval()
    assert not once.adapted
    assert_close(once(tokens()).states, before, atol=1e-5, rtol=0)
    assert set(once.encoder.state_dict()) == set(base.encoder.state_dict())
    assert torch.equal(trunk(tokens()).states, before)


def test_without_its_adapters_an_encoder_is_the_base(family: Path, method: str) -> None:
    trunk, base = stirred(with_adapters(family, method)).eval(), load_trunk(family)
    bare = plain(trunk.encoder)
    assert trunk.adapted
    found = bare.state_dict()
    assert all(torch.equal(found.pop(name), tensor) for name, tensor in base.encoder.state_dict().items())
    assert found == {}
    held = {id(p) for p in trunk.encoder.parameters()}
    assert all(id(p) in held for p in bare.parameters())


def test_adapters_of_another_shape_are_refused(bert_tiny: Path, tmp_path: Path) -> None:
    save_adapter(load_trunk(bert_tiny, lora={"rank": 2}).encoder, tmp_path)
    with pytest.raises(ArtefactError, match=r"the adapters do not fit the encoder: 'base_model\.model\."):
        load_adapter(load_trunk(bert_tiny, lora={"rank": 3}).encoder, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    save_file({"stray": tensors.popitem()[1], **tensors}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ArtefactError, match="stray"):
        load_adapter(load_trunk(bert_tiny, lora={"rank": 2}).encoder, tmp_path)


# targets ----------------------------------------------------------------------------------------------------------------


def test_usual_targets_are_those_of_peft_or_an_error_that_lists_the_layers(family: Path) -> None:
    if family.name in ("distilbert", "modernbert"):
        with pytest.raises(RecipeError, match="peft knows no usual targets") as caught:
            resolve_adapters(family, Lora(rank=2), "modules.encoder.lora")
        first = "q_lin" if family.name == "distilbert" else "Wqkv"
        assert first in caught.value.problems[0].remedy
        assert caught.value.problems[0].place == "modules.encoder.lora"
    else:
        usual = ["query_proj", "value_proj"] if family.name == "deberta-v2" else ["query", "value"]
        assert resolve_adapters(family, Lora(rank=2), "")["targets"] == usual


def test_a_target_that_matches_nothing_names_the_nearest(bert_tiny: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve_adapters(bert_tiny, Lora(targets=["query", "valeu", "pooler.dense"]), "modules.e.lora")
    wrong = [(p.place, p.value, p.nearest) for p in caught.value.problems]
    assert wrong == [
        ("modules.e.lora.targets.1", "valeu", "value"),
        ("modules.e.lora.targets.2", "pooler.dense", "dense"),  # no path passes through the pooler
    ]


def test_usual_layers_that_are_multiplied_are_those_of_peft(family: Path) -> None:
    if family.name not in ("bert", "roberta", "deberta-v2"):
        with pytest.raises(RecipeError, match=r"peft knows no usual targets(.|\n)*name `outputs` or `inputs`"):
            resolve_adapters(family, Ia3(), "modules.one")
    else:
        outputs = ["key_proj", "value_proj"] if family.name == "deberta-v2" else ["key", "value"]
        assert resolve_adapters(family, Ia3(), "") == {"outputs": outputs, "inputs": ["output.dense"]}


def test_a_layer_that_is_multiplied_has_one_vector(bert_tiny: Path) -> None:
    """Of the width of what it multiplies: what goes in, or what comes out."""
    trunk = adapt(
        load_trunk(bert_tiny, freeze=True), ia3={"outputs": ["intermediate.dense", "query"], "inputs": ["0.output.dense"]}
    )
    shapes = {name.split("layer.")[1]: tuple(t.shape) for name, t in adapter_tensors(trunk.encoder).items()}
    assert shapes == {
        "0.attention.self.query.ia3_l": (128, 1),
        "1.attention.self.query.ia3_l": (128, 1),
        "0.intermediate.dense.ia3_l": (512, 1),
        "1.intermediate.dense.ia3_l": (512, 1),
        "0.output.dense.ia3_l": (1, 512),
    }
    with pytest.raises(RecipeError) as caught:
        resolve_adapters(bert_tiny, Ia3(outputs=["value", "dense"], inputs=["output.dense"]), "modules.e")
    [problem] = caught.value.problems
    assert (problem.place, problem.rule) == ("modules.e.inputs", "a layer has one vector, for its output or for its input")
    assert problem.value == "encoder.layer.0.attention.output.dense"
    with pytest.raises(RecipeError, match=r"modules\.e\.inputs\.0: no linear layer .* did you mean 'dense'"):
        resolve_adapters(bert_tiny, Ia3(inputs=["output.dence"]), "modules.e")


def test_what_is_multiplied_is_that_output_or_input(bert_tiny: Path) -> None:
    trunk = stirred(
        adapt(load_trunk(bert_tiny, freeze=True), ia3={"outputs": ["0.intermediate.dense"], "inputs": ["1.output.dense"]})
    )
    one, two = (t.flatten() for t in adapter_tensors(trunk.encoder).values())
    layer, last = (trunk.encoder.get_submodule(f"encoder.layer.{i}") for i in (0, 1))
    for module, given, scale, after in ((layer.intermediate.dense, 128, one, True), (last.output.dense, 512, two, False)):
        x, base = torch.randn(3, given), module.base_layer
        assert_close(module(x), base(x) * scale if after else base(x * scale), atol=1e-6, rtol=1e-5)


def test_without_peft_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, bert_tiny: Path) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"modules\.x: adapters need the package peft(.|\n)*pip install 'manyheads"):
        require_peft("modules.x")
    with pytest.raises(MissingExtraError):
        load_trunk(bert_tiny, lora={"rank": 2})
