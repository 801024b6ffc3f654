from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from manyheads.model import Model
from manyheads.nn.trunk import Trunk
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.train.groups import depths, groups_of

SMALL: dict[str, Any] = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}


def small(kind: str, **more: Any) -> list[str]:
    """Names of the parameters of an encoder of three layers."""
    config = transformers.AutoConfig.for_model(kind, **SMALL, **more)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    return [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("kind", "more", "lowest", "layers", "top"),
    [
        ("bert", {}, "embeddings.word_embeddings.weight", "encoder.layer.", "pooler.dense.weight"),
        ("roberta", {}, "embeddings.LayerNorm.bias", "encoder.layer.", "pooler.dense.bias"),
        ("deberta-v2", {"relative_attention": True}, "encoder.rel_embeddings.weight", "encoder.layer.", ""),
        ("modernbert", {"pad_token_id": 0}, "embeddings.tok_embeddings.weight", "layers.", "final_norm.weight"),
        ("distilbert", {"n_layers": 3, "dim": 8, "n_heads": 2}, "embeddings.", "transformer.layer.", ""),
        ("gpt2", {"n_layer": 3, "n_head": 2, "n_embd": 8}, "wpe.weight", "h.", "ln_f.weight"),
        ("t5", {"d_model": 8, "num_layers": 3}, "shared.weight", "encoder.block.", ""),
    ],
)
def test_layers_are_found_in_the_names_of_each_family(
    kind: str, more: dict[str, Any], lowest: str, layers: str, top: str
) -> None:
    names = small(kind, **more)
    found = depths(names)
    assert list(found) == names
    for prefix, depth in ((lowest, 3), (f"{layers}0.", 2), (f"{layers}2.", 0), (top, 0)):
        matching = {d for name, d in found.items() if prefix and name.startswith(prefix)}
        assert matching <= {depth}
        assert matching or not prefix


def test_names_without_layers_are_all_embeddings_or_all_at_the_top() -> None:
    assert depths([]) == {}
    assert depths(["word.weight", "bias"]) == {"word.weight": 0, "bias": 0}


def test_every_parameter_with_a_gradient_is_in_one_group() -> None:
    config = transformers.BertConfig(**SMALL, intermediate_size=8)
    trunk = Trunk(transformers.BertModel(config))
    top, tied = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), nn.Linear(8, 8)
    tied.weight = top[1].weight
    still = nn.Linear(8, 8).requires_grad_(False)
    modules = {"trunk": trunk, "top": top, "tied": tied, "still": still, "head": nn.Linear(8, 1)}
    tasks = [
        Task("a", ["trunk", "top", "head"], Regression()),
        Task("b", ["trunk", "tied", "still"], Regression()),
    ]
    model = Model(modules, tasks)
    found = groups_of(model)
    members = [p for parameters in found.values() for p in parameters]
    assert len(members) == len(set(members)) == sum(p.requires_grad for p in model.parameters())
    of = {p: group for group, parameters in found.items() for p in parameters}
    assert (of[tied.weight].modules, of[tied.weight].tasks) == (("top", "tied"), ("a", "b"))
    assert of[top[0].weight] == of[top[1].bias]
    assert (of[top[0].weight].tasks, of[top[0].weight].decays) == (("a",), False)
    layer = trunk.encoder.encoder.layer[0].output.dense
    assert (of[layer.weight].depth, of[layer.weight].pretrained, of[layer.weight].decays) == (2, True, True)
    assert of[layer.bias].decays is False
    assert of[layer.weight].tasks == ("a", "b")


def test_groups_come_in_the_order_of_the_modules() -> None:
    first, again = ([*groups_of(Model(*_two()))] for _ in range(2))
    assert first == again
    assert [group.modules for group in first] == [("one",), ("one",), ("two",), ("two",)]


def _two() -> tuple[dict[str, nn.Module], list[Task]]:
    modules: dict[str, nn.Module] = {"one": nn.Linear(2, 2), "two": nn.Linear(2, 1)}
    return modules, [Task("t", ["one", "two"], Regression())]
