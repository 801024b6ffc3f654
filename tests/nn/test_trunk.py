from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoModel, PretrainedConfig
from transformers.utils import logging

from manyheads.errors import ArtefactError, ResourceError
from manyheads.nn.layers import Layer
from manyheads.nn.trunk import Measures, Trunk, load_trunk, measure_encoder
from manyheads.ports import Port
from manyheads.types import Tokens

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
FAMILIES = (
    *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra"),
    *("modernbert", "mpnet", "roberta", "xlm-roberta"),
)
UNTYPED = {"camembert", "deberta-v2", "distilbert", "modernbert", "mpnet", "roberta", "xlm-roberta"}
SHIFTED = {"camembert", "mpnet", "roberta", "xlm-roberta"}  # positions begin after the padding id, 1
ENDLESS = {"deberta-v2", "modernbert"}  # relative positions: longer inputs run, but nothing was trained on them


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, families: Callable[[str], Path]) -> Path:
    """A tiny random encoder of each family, in a folder that is named like it."""
    return families(str(request.param))


@pytest.fixture
def copy(bert_tiny: Path, tmp_path: Path) -> Path:
    """BERT-tiny, to be broken."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(bert_tiny / name, folder / name)
    return folder


def tokens(*lengths: int, seed: int = 0, highest: int = 40) -> Tokens:
    random, width = torch.Generator().manual_seed(seed), max(lengths)
    at = torch.arange(width).expand(len(lengths), width)
    mask = at < torch.tensor(lengths).unsqueeze(1)
    types = (at >= width // 2).long() * mask
    return Tokens(torch.randint(3, highest, (len(lengths), width), generator=random) * mask, mask, types)


def alone(given: Tokens, row: int) -> Tokens:
    """One row without its padding."""
    length = int(given.mask[row].sum())
    return Tokens(given.ids[row : row + 1, :length], given.mask[row : row + 1, :length], given.types[row : row + 1, :length])


# states -----------------------------------------------------------------------------------------------------------------


def test_states_are_those_of_transformers(bert_tiny: Path) -> None:
    trunk, plain = load_trunk(bert_tiny).eval(), AutoModel.from_pretrained(bert_tiny).eval()
    given = tokens(9, 5, 2, highest=30000)
    wanted = plain(input_ids=given.ids, attention_mask=given.mask.long(), token_type_ids=given.types).last_hidden_state
    found = trunk(given)
    assert torch.equal(found.states, wanted)
    assert found.mask is given.mask
    assert found.words is None


def test_only_a_trunk_that_is_told_so_gives_the_layers_below(bert_tiny: Path) -> None:
    given = tokens(9, 5, highest=30000)
    one, all_layers = load_trunk(bert_tiny).eval()(given), load_trunk(bert_tiny, layers=True).eval()(given)
    assert one.below == ()
    assert len(all_layers.below) == 2
    assert torch.equal(one.states, all_layers.states)
    frozen = load_trunk(bert_tiny, layers=True, freeze=True)(given)
    assert not any(t.requires_grad for t in (*frozen.below, frozen.states))


def test_padded_rows_equal_single_rows(bert_tiny: Path) -> None:
    trunk, given = load_trunk(bert_tiny).eval(), tokens(12, 7, 1, 30, highest=30000)
    padded = trunk(given)
    for row in range(4):
        single = trunk(alone(given, row)).states
        assert_close(padded.states[row : row + 1, : single.shape[1]], single, atol=1e-5, rtol=0)


def test_padded_rows_equal_single_rows_in_every_family(family: Path) -> None:
    trunk, given = load_trunk(family).eval(), tokens(11, 4, 1)
    padded = trunk(given)
    for row in range(3):
        single = trunk(alone(given, row)).states
        assert_close(padded.states[row : row + 1, : single.shape[1]], single, atol=1e-5, rtol=0)


def test_the_second_text_is_told_apart_where_the_family_can(family: Path) -> None:
    trunk, given = load_trunk(family).eval(), tokens(8)
    flat = Tokens(given.ids, given.mask, torch.zeros_like(given.types))
    assert torch.equal(trunk(given).states, trunk(flat).states) == (family.name in UNTYPED)


def test_the_longest_input_of_each_family_runs(family: Path) -> None:
    trunk = load_trunk(family, max_length=256).eval()
    longest = 18 if family.name in SHIFTED else 20
    assert trunk.max_length == longest
    assert measure_encoder(family) == Measures(width=16, longest=longest, layers=2)
    assert trunk.ports.takes == (Port("tokens"),)
    assert trunk.ports.gives == Port("states", 16)
    assert trunk(tokens(longest, 3)).states.shape == (2, longest, 16)
    if family.name in ENDLESS:
        assert trunk(tokens(longest + 1)).states.isfinite().all()
        return
    with pytest.raises((IndexError, RuntimeError)):
        trunk(tokens(longest + 1))


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (hf.Data2VecTextConfig, {}),
        (hf.EsmConfig, {"pad_token_id": 1, "mask_token_id": 4}),
        (hf.IBertConfig, {}),
        (hf.LongformerConfig, {"attention_window": 4}),
        (hf.LukeConfig, {"entity_vocab_size": 8, "entity_emb_size": 8}),
        (hf.RobertaPreLayerNormConfig, {}),
        (hf.XLMRobertaXLConfig, {}),
        (hf.XmodConfig, {"languages": ["en_XX"], "default_language": "en_XX"}),
        (hf.BigBirdConfig, {}),
        (hf.ErnieConfig, {}),
        (hf.MegatronBertConfig, {}),
        (hf.NystromformerConfig, {}),
    ],
)
def test_the_limit_of_rarer_families_is_the_last_length_that_runs(
    kind: type[PretrainedConfig], own: dict[str, Any], tmp_path: Path
) -> None:
    encoder = AutoModel.from_config(kind(**SMALL, **own)).eval()
    encoder.config.save_pretrained(tmp_path)

    def runs(length: int) -> bool:
        ids = torch.full((1, length), 5)
        try:
            return encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.shape[1] == length
        except (IndexError, RuntimeError):
            return False

    assert measure_encoder(tmp_path).longest == max(length for length in range(14, 23) if runs(length))


def test_a_shorter_limit_is_kept(bert_tiny: Path) -> None:
    assert load_trunk(bert_tiny, max_length=64).max_length == 64
    assert load_trunk(bert_tiny, max_length=8192).max_length == 512


def test_layers_of_every_family(family: Path) -> None:
    given = tokens(9, 5)
    one, found = load_trunk(family).eval()(given), load_trunk(family, layers=True).eval()(given)
    assert torch.equal(one.states, found.states)
    states = [*found.below, found.states]
    assert [state.shape for state in states] == [(2, 9, 16)] * 3
    assert not any(torch.equal(a, b) for a, b in pairwise(states))
    assert Layer(-1)(found).states is found.states
    assert Layer(0)(found).states is found.below[0]


# training ---------------------------------------------------------------------------------------------------------------


def test_a_frozen_trunk_has_no_gradient_and_no_dropout(bert_tiny: Path) -> None:
    trunk = load_trunk(bert_tiny, freeze=True)
    torch.nn.Sequential(trunk).train()
    assert not any(module.training for module in trunk.modules())
    assert not any(p.requires_grad for p in trunk.parameters())
    given = tokens(6)
    found = trunk(given).states
    assert not found.requires_grad
    assert torch.equal(found, trunk(given).states)


def test_a_trained_trunk_has_a_gradient_and_dropout(bert_tiny: Path) -> None:
    trunk, given = load_trunk(bert_tiny).train(), tokens(6)
    first = trunk(given).states
    assert not torch.equal(first, trunk(given).states)
    first.sum().backward()
    gradients = {name for name, p in trunk.named_parameters() if p.grad is not None}
    assert gradients == {name for name, _ in trunk.named_parameters() if "pooler" not in name}


def test_a_step_reaches_every_weight_of_every_family(family: Path) -> None:
    """All but the pooler, which no path reads, and types and positions that the rows have not."""
    trunk, given = load_trunk(family, dropout=0.0), tokens(11, 4)
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.01)
    before = {name: p.detach().clone() for name, p in trunk.named_parameters()}
    target = torch.randn(2, 11, 16, generator=torch.Generator().manual_seed(2))
    losses = []
    for _ in range(2):
        loss = (trunk(given).states - target)[given.mask].square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[1] < losses[0]
    still = {name for name, p in trunk.named_parameters() if torch.equal(p, before[name])}
    assert still <= {name for name in before if "pooler" in name or (".key" in name and name.endswith("bias"))}


@pytest.mark.parametrize("freeze", [True, False])
def test_a_loaded_trunk_is_in_one_mode_throughout(bert_tiny: Path, freeze: bool) -> None:
    trunk = load_trunk(bert_tiny, freeze=freeze)
    assert {module.training for module in trunk.modules()} == {not freeze}
    trunk.eval()
    assert {module.training for module in trunk.modules()} == {False}


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_dropout_rate_replaces_every_rate_of_the_encoder(family: Path, rate: float) -> None:
    trunk = load_trunk(family, dropout=rate).train()
    assert {m.p for m in trunk.modules() if isinstance(m, torch.nn.Dropout)} <= {rate}
    given = tokens(6)
    assert torch.equal(trunk(given).states, trunk(given).states) == (rate == 0)


def test_weights_are_float_whatever_the_file_says(bert_tiny: Path, copy: Path) -> None:
    weights = {name: t.half() for name, t in load_file(bert_tiny / "model.safetensors").items()}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert {p.dtype for p in load_trunk(copy).parameters()} == {torch.float32}


def test_loading_leaves_the_settings_of_transformers_alone(bert_tiny: Path) -> None:
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    logging.set_verbosity_info()
    try:
        load_trunk(bert_tiny)
        assert logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == 20
    finally:
        logging.set_verbosity(verbosity)
        if not bars:
            logging.disable_progress_bar()


def test_a_trunk_may_be_made_of_a_model_in_memory() -> None:
    encoder = AutoModel.from_config(hf.BertConfig(**SMALL))
    trunk = Trunk(encoder, max_length=8)
    assert trunk.encoder is encoder
    assert (trunk.width, trunk.max_length, trunk.frozen) == (16, 8, False)


# what cannot be loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["no/such/folder", "no-such-encoder", "/no/such/folder"])
def test_an_encoder_that_is_nowhere(source: str) -> None:
    with pytest.raises(ResourceError, match="the encoder cannot be loaded") as caught:
        load_trunk(source)
    assert caught.value.problems[0].value == source
    assert "name an installed package" in caught.value.problems[0].remedy


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _cut(size: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:size])

    return spoil


def _config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return spoil


def _weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def _pop(weights: dict[str, torch.Tensor]) -> None:
    del weights["bert.embeddings.word_embeddings.weight"]


def _spoil(weights: dict[str, torch.Tensor]) -> None:
    weights["bert.embeddings.word_embeddings.weight"][3] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_without("model.safetensors"), "folder is broken: .*model.safetensors"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "folder is broken"),
        (_cut(1000), "cannot be used"),
        (_cut(-8), "cannot be used"),
        (_cut(0), "cannot be used"),
        (lambda folder: (folder / "config.json").write_text("{"), "folder is broken: .*not a valid JSON"),
        (_config(model_type="nonsense"), "model type `nonsense`"),
        (_config(model_type=None, auto_map={"AutoConfig": "own.Config"}), "cannot be used"),
        (_config(hidden_size=64), "missing or of another shape: 'embeddings.LayerNorm.bias'.* and 30 more"),
        (_config(num_hidden_layers=3), "missing or of another shape: 'encoder.layer.2"),
        (_weights(_pop), "missing or of another shape: 'embeddings.word_embeddings.weight'"),
        (_weights(_spoil), "not finite: 'embeddings.word_embeddings.weight'"),
    ],
)
def test_a_broken_folder_is_refused(copy: Path, spoil: Callable[[Path], None], rule: str) -> None:
    spoil(copy)
    with pytest.raises(ArtefactError, match=rule) as caught:
        load_trunk(copy)
    assert caught.value.problems[0].value == str(copy)


def test_a_pooler_may_be_absent(copy: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if "pooler" in name]:
            del weights[name]

    _weights(change)(copy)
    assert load_trunk(copy).width == 128


def test_code_beside_the_weights_is_not_run(copy: Path) -> None:
    _config(auto_map={"AutoModel": "own.Own"})(copy)
    (copy / "own.py").write_text("raise SystemExit('code of the folder was run')")
    assert type(load_trunk(copy).encoder).__name__ == "BertModel"


def test_a_configuration_without_a_width_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ArtefactError, match="names no hidden_size"):
        measure_encoder(tmp_path)
