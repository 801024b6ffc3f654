"""`manyheads check` and `manyheads inspect`."""

from __future__ import annotations

import json
import re
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
    assert ["mood", "24", "8", "8", "2", "0"] in rows
    assert ["likeness", "18", "6", "6", "–", "0"] in rows  # numbers are no labels
    assert ["mood", "7", "7", "0", "0", "0", "4"] in rows
    assert ["mood", "8", "2.00", "48", "336"] in rows
    assert "20 steps, 20 rounds" in out
    assert "The run goes to run. Nothing was written." in out


def test_check_tells_as_how_many_rows_weights_make_them_count(command: Command, recipe: Path) -> None:
    lines = (recipe.parent / "mood.csv").read_text().splitlines()
    weighted = [f"{lines[0]},sure", *(f"{line},0.25" for line in lines[1:])]
    (recipe.parent / "mood.csv").write_text("\n".join(weighted) + "\n")
    _, out, _ = command("check", recipe, "tasks.mood.data.weight=sure")
    assert "mood: by their weights, rows with a label count as 6.0" in out  # 24 of them
    assert "by their weights" not in command("check", recipe)[1]


OF = """mixture:
  sampling: phases
  phases:
    - {sampling: shares, shares: {mood: 1, names: 0},
       passes: 1, of: names}"""
NO_TRUNK = "balance:\n  weighting: {type: gradnorm}"


@pytest.mark.parametrize(
    ("name", "section", "told"),
    [
        ("check", OF, "23: an epoch cannot be a pass over a data set without a share; found 'names'"),
        ("train", OF, "23: an epoch cannot be a pass over a data set without a share; found 'names'"),
        ("check", "mixture: {sampling: temperature, temperature: 1.0e-5}", "47: so low a temperature leaves nothing to"),
        ("check", NO_TRUNK, "21: nothing stands on the paths of all tasks"),
        ("train", NO_TRUNK, "21: nothing stands on the paths of all tasks"),
        ("check", "balance:\n  aggregation: {type: mgda, level: trunk}", "36: nothing stands on the paths of all tasks"),
        ("check", "balance:\n  aggregation: {type: mgda}", "23: an aggregation needs two tasks"),
    ],
)
def test_what_only_sizes_and_paths_tell_is_told_with_its_line(
    command: Command, recipe: Path, name: str, section: str, told: str
) -> None:
    text = recipe.read_text().replace("tagging, path: [encoder]", "tagging, path: [other]")
    second = re.search(r"  encoder: .*\n", text)[0].replace("encoder:", "other:")
    recipe.write_text(text.replace("tasks:\n", f"{second}tasks:\n") + section + "\n")
    weightless = ["tasks.mood.weight=0", "tasks.names.weight=0"] if "two tasks" in told else []
    code, _, err = command(name, recipe, *weightless)
    assert code == 2
    assert f"recipe.yaml:{recipe.read_text().count(chr(10))}:{told}" in " ".join(err.split())
    assert not (recipe.parent / "run" / "checkpoints").exists()


def test_check_says_that_shares_are_learned(command: Command, recipe: Path) -> None:
    _, plain, _ = command("check", recipe)
    _, out, _ = command("check", recipe, "mixture.sampling=bandit", "mixture.rate=0.5", "mixture.temperature=0.1")
    assert "The mixture learns its shares" in out
    assert "The mixture learns its shares" not in plain


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_check_keeps_its_numbers_on_narrow_terminals(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    name = "what_the_customers_of_our_shop_in_oslo_said"
    recipe.write_text(recipe.read_text().replace("mood:", f"{name}:"))
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = command("check", recipe)
    table, rest = out.split("steps, ")[0].splitlines(), out
    assert max(map(len, table)) <= max(columns, 60)
    rows = [line.split() for line in table]
    assert ["24", "8", "8", "2", "0"] in [row[-5:] for row in rows]
    assert ["7", "7", "0", "0", "0", "4"] in [row[-6:] for row in rows]
    assert ["8", "2.00", "48", "336"] in [row[-4:] for row in rows]
    assert "…" not in rest
    for start in (table.index("Rows"), table.index("Lengths"), table.index("What training takes")):
        folded = [re.split(" {2,}", line.strip())[0] for line in table[start:]]
        assert name in "".join(folded)


def test_check_as_json(command: Command, recipe: Path) -> None:
    _, out, _ = command("check", recipe, "--json", "training.steps=3")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["steps"] == 3
    assert sum(data["updates"] for data in found["datasets"].values()) == 3


def test_check_counts_what_is_cut_in_every_part(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "text,label\n" + "good good good good good good good good,up\n" * 3 + "a good film,up\n"
    (recipe.parent / "dev.csv").write_text(long)
    text = recipe.read_text().replace("max_length: 32", "max_length: 8").replace("mood.csv", "mood.csv, dev: dev.csv", 1)
    recipe.write_text(text.replace("split: {dev: 0.2, test: 0.2}", "split: {}", 1))
    _, out, err = command("check", recipe)
    assert "mood: 3 dev rows (75%) are longer than the limit and are cut" in err
    assert next(line.split()[3:6] for line in out.split("Lengths")[1].splitlines() if " mood " in line) == ["0", "3", "–"]
    assert max(map(len, out.splitlines())) <= 80


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
    assert "mood: bad rows are left out (1)" in err
    assert "are longer than the limit and are cut" in err
    assert "spare" in err


@pytest.mark.parametrize("artefact", [False, True])
def test_inspect_draws_what_is_shared(command: Command, recipe: Path, trained: Path, artefact: bool) -> None:
    code, out, _ = command("inspect", trained / "run" if artefact else recipe)
    assert code == 0
    assert "encoder* -> mean_pool* -> mood_head" in out
    assert "3 tasks over 5 modules, 2 of them shared" in out


@pytest.mark.parametrize("artefact", [False, True])
def test_inspect_as_json(command: Command, recipe: Path, trained: Path, artefact: bool) -> None:
    _, out, _ = command("inspect", trained / "run" if artefact else recipe, "--json")
    found = json.loads(out)
    assert found["tasks"]["names"] == {"type": "tagging", "path": ["encoder", "names_head"]}
    assert found["modules"]["names_head"] == {"type": "word_head", "parameters": 51}
    assert found["modules"]["encoder"]["type"] == "pretrained"
    assert found["shared"] == ["encoder", "mean_pool"]
    assert found["sharing"] == {}


def test_what_is_frozen_is_so_before_and_after_training(command: Command, place: Path) -> None:
    (place / "moods.csv").write_text("text,label\n" + "a good film,up\na bad film,down\n" * 4)
    (place / "r.yaml").write_text("""version: 1
output: run
modules:
  words: {type: embedding, width: 6, freeze: true}
  reader: {type: recurrent, width: 5, unfreeze_at: 1}
tasks:
  mood: {type: classification, path: [words, reader], data: {train: moods.csv, dev: moods.csv}}
training: {epochs: 1, threads: 1, device: cpu}
""")
    assert command("train", "r.yaml")[0] == 0
    before, after = command("inspect", "r.yaml")[1], command("inspect", "run")[1]
    assert before == after
    assert "Embedding, frozen" in after
    told = re.search(r"[\d,]+ parameters, ([\d,]+) of them trained", after)
    assert told
    assert f"parameters, {told[1]} trained" in command("check", "r.yaml")[1]


def test_inspect_of_a_folder_without_a_model(command: Command, place: Path) -> None:
    code, out, err = command("inspect", place)
    assert (code, out) == (2, "")
    assert str(place) in err


def test_tags_that_break_the_scheme_are_told_with_the_one_they_fit(command: Command, recipe: Path) -> None:
    (recipe.parent / "names.conll").write_text("anna I-PER\nin O\nrome I-LOC\n\nin O\n\n" * 6)
    code, _, err = command("check", recipe)
    assert code == 0
    told = re.sub(r"\s+", " ", err)
    assert re.search(r"names: \d+ training rows \(\d+%\) have tags of task names that break `scheme: BIO`; the first: ", told)
    assert "names.conll:1: 'I-PER' after the row's begin; all their tags fit `scheme: IOB1`" in told
    assert "break `scheme" not in command("check", recipe, "tasks.names.scheme=IOB1")[2]
