"""`manyheads init`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_the_recipe_passes_check_as_it_is(command: Command, recipe: Path, tiny: Path) -> None:
    files = [recipe.parent / name for name in ("mood.csv", "pairs.jsonl", "names.conll")]
    code, out, err = command("init", *files, "-o", "mine.yaml", "--encoder", tiny)
    assert (code, out) == (0, "")
    assert "manyheads check mine.yaml" in err
    code, out, err = command("check", "mine.yaml", "modules.encoder.max_length=64")  # more this small encoder cannot read
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
    code, _, err = command("init", "mood.csv", "-o", "nowhere/r.yaml")
    assert code == 2
    assert err == ("error: nowhere: there is no such folder\n    make the folder first, or name another place with --output\n")
    assert not Path("nowhere").exists()


def test_a_folder_in_the_place_of_the_recipe(command: Command, recipe: Path) -> None:
    Path("inner").mkdir()
    for force in ([], ["--force"]):
        code, _, err = command("init", "mood.csv", "-o", "inner", *force)
        assert (code, err) == (
            2,
            "error: inner: a recipe is a file, and this is a folder\n    name a file in it: --output inner/recipe.yaml\n",
        )


def test_a_folder_in_the_place_of_a_data_file(command: Command, recipe: Path) -> None:
    Path("inner").mkdir()
    code, _, err = command("init", "mood.csv", "inner", "-o", "mine.yaml")
    assert code == 2
    assert err.startswith("error: inner: data files are wanted, and this is a folder\n    name files in it")
    assert not Path("mine.yaml").exists()


@pytest.mark.parametrize("refused", ["mine.yaml", "recipe.schema.json"])
def test_a_full_disk_is_told_with_the_file(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """The system names no file when a write fails that an open did not."""

    def write(path: Path, text: str, encoding: str) -> int:
        if path.name == refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return path.write_bytes(text.encode(encoding))

    monkeypatch.setattr(Path, "write_text", write)
    assert command("init", "mood.csv", "-o", "mine.yaml")[::2] == (
        7,
        f"error: {refused}: cannot be written: No space left on device\n",
    )


def test_an_unknown_ending(command: Command, place: Path) -> None:
    Path("notes.xyz").write_text("text\n")
    code, _, err = command("init", "notes.xyz")
    assert code == 2
    assert err.startswith("error: notes.xyz: the format cannot be told from a name that does not end in .csv, ")
    assert "\n    rename the file, or set `format` to one of 'conll', " in err


def test_train_and_dev_files_are_one_task(command: Command, recipe: Path, tiny: Path) -> None:
    Path("sst2").mkdir()
    for name in ("train", "dev"):
        Path(f"sst2/{name}.csv").write_text(Path("mood.csv").read_text())
    assert command("init", "sst2/train.csv", "sst2/dev.csv", "-o", "mine.yaml", "--encoder", tiny)[0] == 0
    code, out, _ = command("check", "mine.yaml")
    assert code == 0
    assert "sst2" in out
