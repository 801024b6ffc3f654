from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from manyheads.config.load import Loaded, load_recipe, recipe_from
from manyheads.config.recipe import Recipe
from manyheads.config.source import read_source
from manyheads.errors import RecipeError

Load = Callable[..., Loaded]
Refused = Callable[..., str]


def test_what_is_loaded(load: Load, small: str) -> None:
    loaded = load(small)
    assert isinstance(loaded.recipe, Recipe)
    assert loaded.recipe.tasks["mood"].data.train == "mood.csv"
    assert (loaded.path, loaded.text, loaded.warnings) == (Path("recipe.yaml"), small, ())
    assert loaded.data == read_source("recipe.yaml").root.plain()
    with pytest.raises(FrozenInstanceError):
        loaded.text = ""  # type: ignore[misc]


def test_where_every_value_comes_from(load: Load, small: str) -> None:
    loaded = load(small)
    assert loaded.where(("modules", "encoder", "name")) == "recipe.yaml:2:37"
    assert loaded.where(("tasks", "mood", "path", 0)) == "recipe.yaml:6:12"
    assert loaded.where(("training", "epochs")) == "not given"


def test_json_gives_the_same_recipe(load: Load, small: str) -> None:
    loaded = load(small)
    assert load(json.dumps(loaded.data, indent=1)).recipe == loaded.recipe


def test_a_byte_order_mark_does_no_harm(load: Load, refused: Refused, small: str) -> None:
    assert load(b"\xef\xbb\xbf" + small.encode()).recipe == load(small).recipe
    assert refused(b"\xef\xbb\xbfsed: 1\n" + small.encode()).startswith("recipe.yaml:1:1: ")


# extends ------------------------------------------------------------------------------------------------------------


def base(text: str, name: str = "base.yaml") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)


def test_a_recipe_lies_over_the_one_it_extends(load: Load, small: str) -> None:
    load(small)
    base(small + "training: {epochs: 7, batch: {rows: 4}}\nseed: 5\n", "bases/base.yaml")
    loaded = load("extends: bases/base.yaml\nseed: 6\ntasks: {mood: {weight: 2, path: []}}\ntraining: {batch: {tokens: 64}}\n")
    recipe = loaded.recipe
    assert (recipe.seed, recipe.training.epochs, recipe.extends) == (6, 7, None)
    assert (recipe.training.batch.rows, recipe.training.batch.tokens) == (4, 64)
    assert (recipe.tasks["mood"].weight, recipe.tasks["mood"].path, list(recipe.tasks)) == (2, [], ["mood", "names"])
    assert loaded.where(("training", "epochs")) == os.path.join("bases", "base.yaml") + ":12:20"
    assert loaded.where(("tasks", "mood", "weight")) == "recipe.yaml:3:24"
    assert "extends" not in loaded.data


def test_mistakes_are_told_in_the_file_where_they_are(load: Load, refused: Refused, small: str) -> None:
    load(small)
    base(small.replace("label:", "lable:"))
    text = refused("extends: base.yaml\nsed: 1\n")
    assert [line.partition(": ")[0] for line in text.splitlines()] == ["base.yaml:7:29", "recipe.yaml:2:1"]


def test_the_base_need_not_hold_by_itself(load: Load, small: str) -> None:
    load(small)
    base("training: {epochs: 9}\n")
    assert load("extends: base.yaml\n" + small).recipe.training.epochs == 9


def test_overrides_lie_over_both(load: Load, small: str) -> None:
    load(small)
    base(small)
    assert load("extends: base.yaml\nseed: 2\n", "seed=3", "tasks.mood.weight=0.5").recipe.seed == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extends: nowhere.yaml", "recipe.yaml:1:10: `extends` names a file that is not there; found 'nowhere.yaml'"),
        ("extends: [a, b]", "recipe.yaml:1:10: `extends` must be the path of one recipe"),
        ("extends: 3", "recipe.yaml:1:10: `extends` must be the path of one recipe; found '3'"),
        ("extends: base.yaml", "base.yaml:1:1: a recipe that is extended cannot extend another; found 'more.yaml'"),
        (
            "extends: recipe.yaml",
            "recipe.yaml:1:10: recipes extend each other in a circle: recipe.yaml -> recipe.yaml; found 'recipe.yaml'",
        ),
        ("extends: .", "recipe.yaml:1:10: `extends` names a file that is not there"),
    ],
)
def test_extends_that_cannot_be_followed(load: Load, refused: Refused, small: str, line: str, message: str) -> None:
    load(small)
    base("extends: more.yaml\n")
    assert refused(f"{line}\n{small}").startswith(message)


@pytest.mark.parametrize(
    ("further", "circle"),
    [
        ("../recipe.yaml", "recipe.yaml -> bases/base.yaml -> recipe.yaml"),
        ("base.yaml", "bases/base.yaml -> bases/base.yaml"),
        ("../bases/base.yaml", "bases/base.yaml -> bases/base.yaml"),
    ],
)
def test_a_circle_of_recipes_is_told_file_by_file(refused: Refused, small: str, further: str, circle: str) -> None:
    base(f"extends: {further}\n", "bases/base.yaml")
    assert refused(f"extends: bases/base.yaml\n{small}") == (
        f"recipe.yaml:1:10: recipes extend each other in a circle: {circle}; found 'bases/base.yaml'"
    )


@pytest.mark.parametrize("further", ["[base.yaml]", "3", "{a: b}"])
def test_what_an_extended_recipe_extends_may_be_no_name(refused: Refused, small: str, further: str) -> None:
    base(f"extends: {further}\n")
    assert "cannot extend another" in refused(f"extends: base.yaml\n{small}")


# Python -------------------------------------------------------------------------------------------------------------


def test_a_key_that_is_given_twice_hides_no_other_mistake(tmp_path: Path, small: str) -> None:
    (tmp_path / "base.yaml").write_text(small + "seed: 1\nseed: 2\n")
    (tmp_path / "recipe.yaml").write_text("extends: base.yaml\ntraining: {epochs: 0, steps: 3, steps: 4}\nseeds: 1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert [(Path(p.place.split(":")[0]).name, p.value) for p in caught.value.problems] == [
        ("base.yaml", "seed"),
        ("recipe.yaml", "0"),
        ("recipe.yaml", "steps"),
        ("recipe.yaml", "seeds"),
    ]


def test_plain_values_give_the_same_recipe(load: Load, small: str) -> None:
    loaded = load(small)
    made = recipe_from(loaded.data)
    assert made.recipe == loaded.recipe
    assert made.path is None
    assert load(made.text).recipe == loaded.recipe


def test_plain_values_have_dotted_places(load: Load, small: str) -> None:
    data = load(small).data
    data["tasks"]["mood"]["data"]["lable"] = "x"
    data["training"] = {"epochs": "3"}
    del data["modules"]["encoder"]["name"]
    with pytest.raises(RecipeError) as caught:
        recipe_from(data)
    assert [problem.place for problem in caught.value.problems] == [
        "modules.encoder",
        "tasks.mood.data.lable",
        "training.epochs",
    ]


def test_defaults_of_plain_values_are_merged(load: Load, small: str) -> None:
    data = load(small).data | {"defaults": {"dropout": 0.4}}
    assert recipe_from(data).recipe.tasks["names"].dropout == 0.4


def test_plain_values_extend_nothing() -> None:
    with pytest.raises(RecipeError, match="only a recipe in a file can extend another"):
        recipe_from({"extends": "base.yaml"})


def test_what_is_no_mapping() -> None:
    with pytest.raises(RecipeError, match="the recipe must be a mapping"):
        recipe_from([1])  # type: ignore[arg-type]


def test_loading_needs_no_torch() -> None:
    code = "import sys, manyheads.config.load, manyheads.config.dump; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_path_or_a_string(tmp_path: Path, small: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(small)
    assert load_recipe(path).recipe == load_recipe(str(path)).recipe
