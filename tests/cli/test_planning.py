"""`manyheads check` and `manyheads inspect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]
Tree = Callable[[Path], dict[str, str]]


def test_check_writes_nothing(command: Command, recipe: Path, tree: Tree) -> None:
    before = tree(recipe.parent)
    assert command("check", recipe)[0] == 0
    assert command("check", recipe, "--json")[0] == 0
    assert tree(recipe.parent) == before
    assert not (recipe.parent / "cache").exists()


def test_check_shows_the_plan(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # parallel tests run with a narrow one
    code, out, err = command("check", recipe)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["mood", "24", "8", "8", "2", "0", "7", "7", "0", "4", "8", "2.00", "48", "336"] in rows
    assert "20 steps, 20 rounds" in out
    assert "The run goes to run. Nothing was written." in out


def test_check_says_that_shares_are_learned(command: Command, recipe: Path) -> None:
    _, plain, _ = command("check", recipe)
    _, out, _ = command("check", recipe, "mixture.sampling=bandit", "mixture.rate=0.5")
    assert "The mixture learns its shares" in out
    assert "The mixture learns its shares" not in plain


def test_check_as_json(command: Command, recipe: Path) -> None:
    _, out, _ = command("check", recipe, "--json", "training.steps=3")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["steps"] == 3
    assert sum(data["updates"] for data in found["datasets"].values()) == 3


def test_check_warns_of_cut_and_bad_rows(command: Command, recipe: Path) -> None:
    text = recipe.read_text().replace("max_length: 32", "max_length: 8")
    recipe.write_text(
        text.replace("train: mood.csv", "bad_rows: skip, train: mood.csv").replace(
            "modules:", "modules:\n  spare: {type: pool}"
        )
    )
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("one,two,three\n" + "good good good good good good good good,up\n" * 9)
    code, _, err = command("check", recipe)
    assert code == 0
    assert "mood: 1 bad rows are left out" in err
    assert "are longer than the limit and are cut" in err
    assert "spare" in err


@pytest.mark.parametrize("artefact", [False, True])
def test_inspect_draws_what_is_shared(command: Command, recipe: Path, trained: Path, artefact: bool) -> None:
    code, out, _ = command("inspect", trained / "run" if artefact else recipe)
    assert code == 0
    assert "encoder* -> mean_pool* -> mood_head" in out
    assert "3 tasks over 5 modules, 2 of them shared" in out


def test_inspect_as_json(command: Command, trained: Path) -> None:
    _, out, _ = command("inspect", trained / "run", "--json")
    found = json.loads(out)
    assert found["tasks"]["names"] == {"type": "Tagging", "path": ["encoder", "names_head"]}
    assert found["modules"]["names_head"] == {"type": "WordHead", "parameters": 51}
    assert found["shared"] == ["encoder", "mean_pool"]


def test_inspect_of_a_folder_without_a_model(command: Command, place: Path) -> None:
    code, out, err = command("inspect", place)
    assert (code, out) == (2, "")
    assert str(place) in err
