"""A recipe that is told from another folder still names the same files."""

from __future__ import annotations

from pathlib import Path

from manyheads.config.load import recipe_from
from manyheads.config.rebase import rebase


def test_a_saved_folder_moves_and_a_hub_id_stays(tmp_path: Path) -> None:
    (tmp_path / "old" / "saved").mkdir(parents=True)
    data = {
        "saved": {"format": "hub", "hub": "saved", "train": "train"},
        "far": {"format": "hub", "hub": "a/b", "train": "train"},
    }
    modules = {"words": {"type": "embedding"}}
    tasks = {n: {"type": "classification", "path": ["words"], "data": {"from": n}} for n in data}
    recipe = recipe_from({"modules": modules, "data": data, "tasks": tasks}).recipe
    found = rebase(recipe, tmp_path / "old", tmp_path / "new" / "run").data
    assert {name: (spec.hub, spec.train) for name, spec in found.items()} == {
        "saved": ("../../old/saved", "train"),
        "far": ("a/b", "train"),
    }


def test_files_of_modules_move_with_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "v.txt").write_text("a 1 2\n")
    words = {"type": "embedding", "vectors": "v.txt", "vocabulary": {"file": "list.txt"}}
    modules = {
        "words": words,
        "known": {"type": "embedding", "vectors": "glove-50d"},
        "elmo": {"type": "elmo", "options": "options.json", "weights": "/all/weights.hdf5"},
    }
    tasks = {n: {"type": "classification", "path": [n], "data": {"train": "a.csv"}} for n in modules}
    found = rebase(recipe_from({"modules": modules, "tasks": tasks}).recipe, tmp_path / "old", tmp_path / "new" / "run").modules
    told = {name: module.model_dump() for name, module in found.items()}
    assert told["words"]["vectors"] == "../../old/v.txt"
    assert told["words"]["vocabulary"]["file"] == "../../old/list.txt"
    assert told["known"]["vectors"] == "glove-50d"
    assert (told["elmo"]["options"], told["elmo"]["weights"]) == ("../../old/options.json", "/all/weights.hdf5")
