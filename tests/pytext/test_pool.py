"""Modules with one key are one module, at any depth, and may not differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.pytext.conftest import Convert, document

from manyheads.errors import RecipeError
from manyheads.pytext.pool import slug


def pair(first: dict[str, Any], second: dict[str, Any], **further: Any) -> dict[str, Any]:
    """Two tasks whose models are these."""
    tasks = {
        "a": {"DocumentClassificationTask": document("a", **first)},
        "b": {"DocumentClassificationTask": document("b", **second)},
    }
    return {"task": {"NewDisjointMultitask": {"tasks": tasks, **further}}}


def lstm(**settings: Any) -> dict[str, Any]:
    return {"representation": {"BiLSTMDocAttention": {"lstm": {"shared_module_key": "K", **settings}}}}


def test_what_a_later_task_leaves_out_is_as_the_first_says(convert_json: Convert) -> None:
    found = convert_json(pair(lstm(lstm_dim=64), lstm()))
    assert found.recipe["modules"]["K"]["width"] == 64
    assert [task["path"][1] for task in found.recipe["tasks"].values()] == ["K", "K"]


def test_a_later_task_may_repeat_settings(convert_json: Convert) -> None:
    assert convert_json(pair(lstm(lstm_dim=64), lstm(lstm_dim=64))).recipe["modules"]["K"]["width"] == 64


@pytest.mark.parametrize(
    ("first", "second", "setting"),
    [({"lstm_dim": 64}, {"lstm_dim": 32}, "width"), ({}, {"lstm_dim": 64}, "width"), ({}, {"freeze": True}, "freeze")],
)
def test_settings_that_differ_are_an_error_with_both_places(
    convert_json: Convert, first: Any, second: Any, setting: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        convert_json(pair(lstm(**first), lstm(**second)))
    [problem] = caught.value.problems
    assert f"`{setting}` of `K` is" in problem.rule
    lines = Path("conf.json").read_text().splitlines()
    here, there = problem.place.split(":"), problem.rule.rsplit("conf.json:", 1)[1].split(":")
    [key] = second
    assert f'"{key}"' in lines[int(here[1]) - 1]
    assert int(there[0]) < int(here[1])


def test_each_task_keeps_its_own_limit_of_what_is_read(convert_json: Convert) -> None:
    shared = {"embedding": {"shared_module_key": "E"}}
    first, second = ({**shared, "inputs": {"tokens": {"max_seq_len": n}}} for n in (40, 60))
    found = convert_json(pair(first, second))
    assert found.recipe["modules"]["E"]["max_length"] == 60
    assert [task["data"].get("max_length") for task in found.recipe["tasks"].values()] == [40, None]
    found = convert_json(pair(first, shared))
    assert "max_length" not in found.recipe["modules"]["E"]
    assert [task["data"].get("max_length") for task in found.recipe["tasks"].values()] == [40, None]


def test_one_key_for_two_classes_is_two_modules(convert_json: Convert) -> None:
    rep = {"BiLSTMDocAttention": {"lstm": {"shared_module_key": "K"}}}
    found = convert_json(pair({"representation": rep, "embedding": {"shared_module_key": "K"}}, {}))
    assert {name: found.recipe["modules"][name]["type"] for name in ("K", "K_2")} == {"K": "embedding", "K_2": "recurrent"}


def test_embeddings_and_hidden_layers_are_shared_too(convert_json: Convert) -> None:
    shared = {"embedding": {"shared_module_key": "E"}, "decoder": {"shared_module_key": "D", "hidden_dims": [8, 4]}}
    found = convert_json(pair(shared, {**shared, "decoder": {"shared_module_key": "D", "hidden_dims": [8, 4]}}))
    paths = [task["path"] for task in found.recipe["tasks"].values()]
    assert paths == [["E", f"{name}_lstm", f"{name}_pool", "D", "D_2"] for name in "ab"]


def test_weights_of_a_file_and_frozen_modules(convert_json: Convert) -> None:
    found = convert_json(
        pair(lstm(load_path="runs/a.safetensors", freeze=True), {"embedding": {"load_path": "x.pt", "save_path": "y.pt"}})
    )
    assert found.recipe["modules"]["K"]["load"] == "runs/a.safetensors"
    assert found.recipe["modules"]["K"]["freeze"] is True
    told = {remark.path.rsplit(".", 1)[-1] for remark in found.lost}
    assert {"load_path", "save_path"} <= told


def test_a_frozen_representation_freezes_what_is_in_it(convert_json: Convert) -> None:
    found = convert_json(
        {"task": {"DocumentClassificationTask": document(representation={"BiLSTMDocAttention": {"freeze": True}})}}
    )
    frozen = {name for name, module in found.recipe["modules"].items() if module.get("freeze")}
    assert frozen == {"lstm", "pool"}


@pytest.mark.parametrize(("name", "plain"), [("a b/c", "a_b_c"), ("", "_"), ("x" * 80, "x" * 60), ("ünï", "_n_")])
def test_names_are_those_of_recipes(name: str, plain: str) -> None:
    assert slug(name) == plain
