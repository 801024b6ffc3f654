"""A model written down, and built from what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan, make_type
from manyheads.errors import ArtefactError, RecipeError
from manyheads.graph import Step
from manyheads.task.classification import Classification

OPTIONS = {"labels": ["a", "b"], "label_smoothing": 0.1}


def blueprint() -> Blueprint:
    modules = {
        "wide": ModulePlan("feedforward", {"kind": "vector", "width_in": 4, "width": 8}),
        "head": ModulePlan("row_head", {"width": 8, "classes": 2}, freeze=True),
    }
    path = (Step("wide", ("batch.x",)), Step("head", name="scores"))
    return Blueprint(modules, {"mood": TaskPlan("classification", path, OPTIONS, "text", 2.0, "accuracy", ("f1_macro",), 3)})


def test_it_survives_json() -> None:
    found = blueprint()
    assert Blueprint.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_it_builds_the_model() -> None:
    model = blueprint().build(seed=3)
    task = model.tasks["mood"]
    assert isinstance(task.type, Classification)
    assert (task.weight, task.metric, task.metrics, task.patience) == (2.0, "accuracy", ("f1_macro",), 3)
    assert [step.result for step in task.steps] == ["wide", "scores"]
    assert task.type.label_smoothing == 0.1
    assert {name: {p.requires_grad for p in model.pool[name].parameters()} for name in model.pool} == {
        "wide": {True},
        "head": {False},
    }


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = blueprint().build(3).state_dict()
    torch.manual_seed(2)
    two, other = blueprint().build(3).state_dict(), blueprint().build(4).state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not torch.equal(one["pool.wide.layers.0.weight"], other["pool.wide.layers.0.weight"])


def test_a_module_more_changes_no_other_ones_weights() -> None:
    found = blueprint()
    more = Blueprint({"extra": ModulePlan("pool"), **found.modules}, found.tasks)
    weights = more.build(3).state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in found.build(3).state_dict().items())


@pytest.mark.parametrize("data", [None, [], {}, {"format": 2}, {"format": 1}, {"format": 1, "modules": {"a": 3}, "tasks": {}}])
def test_what_is_no_description(data: Any) -> None:
    with pytest.raises(ArtefactError, match=r"config\.json"):
        Blueprint.from_json(data)


@pytest.mark.parametrize(
    ("kind", "options", "rule"),
    [
        ("classifcation", {}, "did you mean 'classification'"),
        ("multilabel", {}, "the option 'labels' is needed"),
        ("classification", {"label": ["a"]}, "did you mean 'labels'"),
        ("classification", {"class_weights": ["heavy"]}, "does not take these options"),
    ],
)
def test_a_type_or_option_that_is_none(kind: str, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        make_type("mood", kind, options)
