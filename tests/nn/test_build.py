from __future__ import annotations

import pytest
import torch
from torch import nn

from manyheads.errors import RecipeError
from manyheads.nn.build import MODULES, build_module, check_options
from manyheads.nn.heads import RowHead

OPTIONS = {"width": 4, "classes": 3}


def test_first_weights_depend_on_seed_and_name_alone() -> None:
    def weight(name: str, seed: int) -> torch.Tensor:
        return build_module(name, "row_head", OPTIONS, seed).linear.weight  # type: ignore[union-attr]

    first = weight("a", 1)
    build_module("other", "row_head", OPTIONS, 1)
    assert torch.equal(weight("a", 1), first)
    assert not torch.equal(weight("b", 1), first)
    assert not torch.equal(weight("a", 2), first)


def test_building_leaves_the_generator_of_torch_alone() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    build_module("a", "row_head", OPTIONS, 1)
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize(
    "kind",
    ["pretrained", "pool", "attention_pool", "layer", "scalar_mix", "feedforward", "row_head", "word_head", "crf_head"],
)
def test_types_of_a_recipe(kind: str) -> None:
    assert kind in MODULES


def test_an_unknown_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no module is called 'row_haed'.*did you mean 'row_head'"):
        build_module("a", "row_haed", OPTIONS, 0)


def test_unknown_and_missing_options_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        build_module("a", "row_head", {"widht": 4, "depth": 1}, 0)
    text = [str(p) for p in caught.value.problems]
    assert text[0] == (
        "modules.a.options.widht: unknown option (there are: 'width', 'classes', 'dropout')"
        "; found 'widht'; did you mean 'width'?"
    )
    assert text[1].startswith("modules.a.options.depth: unknown option")
    assert text[2:] == [
        "modules.a.options: the option 'width' is needed",
        "modules.a.options: the option 'classes' is needed",
    ]


def test_a_component_that_takes_any_keyword_is_not_checked() -> None:
    def build(**options: int) -> nn.Module:
        return nn.Linear(**options)

    check_options(build, {"in_features": 2, "anything": 3}, "modules.a.options")


def test_positional_remainders_are_not_needed() -> None:
    def build(width: int, *rest: int) -> nn.Module:
        return nn.Linear(width, width)

    check_options(build, {"width": 1}, "modules.a.options")
    check_options(RowHead, OPTIONS, "modules.a.options")
