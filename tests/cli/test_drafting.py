"""`manyheads init`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., tuple[int, str, str]]


def test_the_recipe_passes_check_as_it_is(command: Command, recipe: Path, tiny: Path) -> None:
    files = [recipe.parent / name for name in ("mood.csv", "pairs.jsonl", "names.conll")]
    code, out, err = command("init", *files, "-o", "mine.yaml", "--encoder", tiny)
    assert (code, out) == (0, "")
    assert "manyheads check mine.yaml" in err
    code, out, err = command("check", "mine.yaml")
    assert (code, err) == (0, "")
    assert "The run goes to runs/mine" in out


def test_paths_are_relative_to_the_recipe(command: Command, recipe: Path, tiny: Path) -> None:
    (recipe.parent / "inner").mkdir()
    assert command("init", "mood.csv", "-o", "inner/r.yaml", "--encoder", tiny)[0] == 0
    assert "train: ../mood.csv" in Path("inner/r.yaml").read_text()
    assert command("check", "inner/r.yaml")[0] == 0


def test_editors_find_the_schema_beside_it(command: Command, recipe: Path) -> None:
    command("init", "mood.csv", "-o", "mine.yaml")
    assert Path("mine.yaml").read_text().startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert json.loads(Path("recipe.schema.json").read_text())["title"] == "Recipe"


def test_a_recipe_that_exists_is_not_overwritten(command: Command, recipe: Path) -> None:
    before = recipe.read_text()
    code, _, err = command("init", "mood.csv")
    assert code == 2
    assert "--force overwrites it" in err
    assert recipe.read_text() == before
    assert command("init", "mood.csv", "--force")[0] == 0
    assert recipe.read_text() != before


def test_a_file_that_cannot_be_read(command: Command, place: Path) -> None:
    code, _, err = command("init", "absent.csv")
    assert code == 3
    assert "absent.csv" in err
    assert not (place / "recipe.yaml").exists()


def test_a_folder_that_is_not_there(command: Command, recipe: Path) -> None:
    assert command("init", "mood.csv", "-o", "nowhere/r.yaml")[0] == 7
