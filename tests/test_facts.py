"""Whether a run that continues is still the same one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from manyheads.config.recipe import Recipe
from manyheads.errors import DataError, RecipeError
from manyheads.facts import RATES, SAFE, changed, check_same, environment, fingerprint

FOLDER = Path("runs/x")


@pytest.fixture
def then() -> dict[str, Any]:
    task = {"type": "classification", "path": ["e"], "data": {"train": "a.csv"}}
    recipe = Recipe.model_validate({"modules": {"e": {"type": "pretrained", "name": "minilm"}}, "tasks": {"mood": task}})
    return fingerprint(recipe, {"a.csv": "1" * 64}, {"mood": "2" * 64})


def put(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    new: dict[str, Any] = copy.deepcopy(data)
    *path, last = key.split(".")
    place = new
    for part in path:
        place = place[part]
    place[last] = value
    return new


def test_a_fingerprint_is_strict_json(then: dict[str, Any]) -> None:
    assert json.loads(json.dumps(then, allow_nan=False)) == then


def test_the_same_is_the_same(then: dict[str, Any]) -> None:
    assert check_same(then, then, FOLDER) == ()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("training.optimizer.weight_decay", 0.1, "runs/x has 0.01 here; found '0.1'"),
        ("modules.e.freeze_at", 3, "runs/x has nothing here; found '3'"),
        ("training.steps", 9, "has nothing here; found '9'"),
        ("tasks.mood.labels", ["a"], """found '["a"]'"""),
        ("mixture.sampling", "uniform", 'has "proportional" here'),
    ],
)
def test_a_changed_key_is_named_with_both_values(then: dict[str, Any], key: str, value: Any, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_same(put(then, f"recipe.{key}", value), then, FOLDER)
    assert caught.value.problems[0].place == key
    assert told in str(caught.value)
    assert all(key in str(caught.value.problems[-1]) for key in (*SAFE, *RATES))


@pytest.mark.parametrize("key", ["output", "training.patience", "training.minutes", "training.threads", "training.device"])
def test_safe_keys_may_change(then: dict[str, Any], key: str) -> None:
    assert check_same(put(then, f"recipe.{key}", "other"), then, FOLDER) == ()


@pytest.mark.parametrize("rate", RATES)
def test_rates_may_change_and_are_told(then: dict[str, Any], rate: str) -> None:
    key = rate.replace("<name>", {"modules": "e", "tasks": "mood"}.get(rate.partition(".")[0], ""))
    now = put(then, f"recipe.{key}", 0.125)
    assert check_same(now, then, FOLDER) == ()
    assert changed(then, then, RATES) == ()
    [told] = changed(now, then, RATES)
    assert told.startswith(f"{key} was ")
    assert told.endswith(" and is 0.125")


def test_all_keys_under_a_safe_one_may_change(then: dict[str, Any]) -> None:
    assert check_same(put(then, "recipe.training.checkpoint.keep", 9), then, FOLDER) == ()


def test_every_difference_is_told(then: dict[str, Any]) -> None:
    now = put(put(then, "recipe.seed", 1), "recipe.tasks.other", {"type": "regression"})
    with pytest.raises(RecipeError) as caught:
        check_same(now, then, FOLDER)
    assert {p.place for p in caught.value.problems if p.place} == {"seed", "tasks.other"}


@pytest.mark.parametrize("files", [{"a.csv": "9" * 64}, {}, {"a.csv": "1" * 64, "b.csv": "3" * 64}])
def test_changed_files_are_named_with_their_hashes(then: dict[str, Any], files: dict[str, str]) -> None:
    with pytest.raises(DataError, match="sha256") as caught:
        check_same({**then, "files": files}, then, FOLDER)
    [problem] = caught.value.problems
    assert problem.place == ("b.csv" if len(files) == 2 else "a.csv")
    assert ("absent now" in problem.rule) == (not files)


def test_another_file_in_the_recipe_is_a_change_of_the_recipe(then: dict[str, Any]) -> None:
    now = {**put(then, "recipe.tasks.mood.data.train", "b.csv"), "files": {"b.csv": "9" * 64}}
    with pytest.raises(RecipeError, match=r"tasks\.mood\.data\.train"):
        check_same(now, then, FOLDER)


def test_labels_that_are_read_otherwise(then: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"tasks\.mood.*labels differ"):
        check_same({**then, "labels": {"mood": "9" * 64}}, then, FOLDER)


def test_other_versions_and_threads_are_warnings(then: dict[str, Any]) -> None:
    now = put(put(then, "environment.torch", "9.9"), "environment.threads", "64")
    warnings = check_same(now, then, FOLDER)
    assert len(warnings) == 2
    assert all("not bit for bit" in text for text in warnings)
    assert "9.9" in warnings[0]


def test_the_environment_names_versions_and_nothing_private() -> None:
    facts = environment()
    assert facts["torch"].startswith("2.")
    assert str(Path.home()) not in json.dumps(facts)


def test_no_git_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git" not in environment()
