"""Who shares what, found from paths: the blocks, the trunk and what lies beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from manyheads.config.spec.balance import BalanceSpec
from manyheads.errors import RecipeError
from manyheads.graph import Step
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.train.layout import balancer_of, layout_of, trunk_modules, trunk_of


class Layers(nn.Module):
    """Parameters as an encoder has them: an embedding, numbered layers, a last norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"word": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})
        self.layer = nn.ModuleList([nn.ModuleDict({"attention": nn.Linear(2, 2), "output": nn.Linear(2, 2)}) for _ in range(3)])
        self.norm = nn.LayerNorm(2)


def model_of(paths: dict[str, list[str | Step]], **modules: nn.Module) -> Model:
    names = dict.fromkeys(s if isinstance(s, str) else s.module for path in paths.values() for s in path)
    made = {name: modules.get(name) or nn.Linear(2, 2) for name in names}
    return Model(made, [Task(task, path, Regression()) for task, path in paths.items()])


def named(model: Model, parameters: tuple[nn.Parameter, ...]) -> set[str]:
    known = {id(p): n.removeprefix("pool.") for n, p in model.named_parameters()}
    return {known[id(p)] for p in parameters}


THREE: dict[str, list[str | Step]] = {
    "a": ["trunk", "middle", "a_head"],
    "b": ["trunk", "middle", "b_head"],
    "c": ["trunk", "c_head"],
}


@pytest.mark.parametrize(
    ("balance", "place", "value"),
    [
        ({"weighting": {"type": "gradnorm"}}, "balance.weighting.type", "gradnorm"),
        ({"aggregation": {"type": "mgda", "level": "trunk"}}, "balance.aggregation.level", "trunk"),
    ],
)
def test_a_balance_at_the_trunk_needs_one(balance: dict[str, Any], place: str, value: str) -> None:
    spec = BalanceSpec.model_validate(balance)
    with pytest.raises(RecipeError) as caught:
        balancer_of(spec, model_of({"a": ["one", "a_head"], "b": ["two", "b_head"]}), "ab")
    [problem] = caught.value.problems
    assert (problem.place, problem.value) == (place, value)
    assert "there is no trunk" in problem.rule
    assert balancer_of(spec, model_of(THREE), "abc").usual.tapped


def test_shared_private_and_beyond_the_trunk() -> None:
    model = model_of(THREE)
    layout = layout_of(model, "abc")
    assert named(model, layout.shared) == {"trunk.weight", "trunk.bias", "middle.weight", "middle.bias"}
    assert named(model, layout.own["a"]) == {"a_head.weight", "a_head.bias"}
    assert named(model, layout.beyond["a"]) == {"middle.weight", "middle.bias", "a_head.weight", "a_head.bias"}
    assert named(model, layout.beyond["c"]) == named(model, layout.own["c"]) == {"c_head.weight", "c_head.bias"}


def test_only_the_tasks_that_are_asked_for_count() -> None:
    model = model_of(THREE)
    layout = layout_of(model, "ac")
    assert named(model, layout.shared) == {"trunk.weight", "trunk.bias"}
    assert named(model, layout.own["a"]) == {"middle.weight", "middle.bias", "a_head.weight", "a_head.bias"}
    assert set(layout.own) == {"a", "c"}


def test_frozen_parameters_are_left_out() -> None:
    model = model_of(THREE)
    model.pool["trunk"].weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    model.pool["a_head"].requires_grad_(False)
    layout = layout_of(model, "abc")
    assert named(model, layout.shared) == {"trunk.bias", "middle.weight", "middle.bias"}
    assert layout.own["a"] == ()


def test_a_parameter_that_two_modules_hold_belongs_to_the_tasks_of_both() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.weight = one.weight
    model = model_of({"a": ["trunk", "one"], "b": ["trunk", "two"]}, one=one, two=two)
    layout = layout_of(model, "ab")
    assert one.weight in set(layout.shared)
    assert named(model, layout.own["a"]) == {"one.bias"}
    assert named(model, layout.own["b"]) == {"two.bias"}
    assert len(layout.shared) == len(set(layout.shared))


def test_the_same_module_twice_in_a_path_is_there_once() -> None:
    model = model_of({"a": ["trunk", Step("trunk", name="again"), "a_head"], "b": ["trunk", "b_head"]})
    assert named(model, layout_of(model, "ab").shared) == {"trunk.weight", "trunk.bias"}


# blocks -------------------------------------------------------------------------------------------------------------------


def test_a_block_is_a_layer_or_a_part() -> None:
    model = model_of({"a": ["trunk", "a_head"], "b": ["trunk", "b_head"]}, trunk=Layers())
    blocks = layout_of(model, "ab").blocks
    assert list(blocks) == ["trunk.embeddings", "trunk.layer.0", "trunk.layer.1", "trunk.layer.2", "trunk.norm"]
    assert [stop - start for start, stop in blocks.values()] == [10, 12, 12, 12, 4]


@given(
    st.lists(st.sets(st.sampled_from("mnop"), min_size=1), min_size=2, max_size=4),
    st.sets(st.integers(0, 40)),
)
def test_blocks_partition_the_shared_parameters(paths: list[set[str]], frozen: set[int]) -> None:
    pool: dict[str, nn.Module] = {"m": Layers(), "n": nn.Linear(2, 2), "o": Layers(), "p": nn.Sequential(nn.Linear(2, 2))}
    model = model_of({f"t{i}": [*sorted(path), f"head{i}"] for i, path in enumerate(paths)}, **pool)
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i not in frozen)
    layout = layout_of(model, model.tasks)
    reached = 0
    for start, stop in layout.blocks.values():
        assert start == reached
        assert stop > start
        reached = stop
    assert reached == sum(p.numel() for p in layout.shared)


@given(st.lists(st.sets(st.sampled_from("mnop"), min_size=1), min_size=2, max_size=4))
def test_each_parameter_is_shared_or_of_one_task(paths: list[set[str]]) -> None:
    model = model_of({f"t{i}": [*sorted(path), f"head{i}"] for i, path in enumerate(paths)})
    layout = layout_of(model, model.tasks)
    held = [*layout.shared, *(p for own in layout.own.values() for p in own)]
    assert len(held) == len({id(p) for p in held})
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    for task, own in layout.own.items():
        assert {id(p) for p in own} <= {id(p) for p in model.parameters()}
        assert f"head{task[1:]}.weight" in named(model, own)


# the trunk ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "modules"),
    [
        (THREE, {"trunk"}),
        ({"a": ["x", "y", "ah"], "b": ["x", "y", "bh"]}, {"x", "y"}),
        ({"a": ["x", "ah"], "b": ["y", "bh"]}, set()),
        ({"a": ["x", "ah"], "b": ["x", "ah", "bh"]}, {"x", "ah"}),  # b goes on from where a ends
        ({"a": ["x", "y"]}, {"x", "y"}),
        ({"a": ["x", "y", "ah"], "b": ["x", "y", Step("bh", ("x",))]}, {"x"}),  # b goes around y
        ({"a": ["x", "y", Step("z", ("x",)), "ah"], "b": ["x", "y", "z2", "bh"]}, {"x"}),
    ],
    ids=["heads apart", "two modules", "no trunk", "one goes on", "one task", "one goes around", "the other goes around"],
)
def test_the_trunk_is_all_up_to_the_last_step_that_all_take(paths: dict[str, list[str | Step]], modules: set[str]) -> None:
    model = model_of(paths)
    assert trunk_modules(model.graph, paths) == modules
    end = trunk_of(model.graph, paths)
    assert (end is None) == (not modules)
    if end is not None:
        assert set(paths) <= set(model.graph.nodes[end].tasks)


def test_the_trunk_of_fewer_tasks_may_be_longer() -> None:
    model = model_of(THREE)
    assert trunk_modules(model.graph, "ab") == {"trunk", "middle"}
