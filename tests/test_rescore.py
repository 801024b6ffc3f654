"""A saved model scored on its own data, which must be the same data, and on other files."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manyheads.api import load_recipe
from manyheads.artefact import Artefact, load_artefact
from manyheads.config.load import Loaded
from manyheads.data.labels import LabelMap
from manyheads.errors import ArtefactError, DataError, RecipeError
from manyheads.folder import read_json
from manyheads.rescore import rescore, rescore_file


@pytest.fixture
def moved(trained: Path, place: Path) -> Path:
    """A copy of the trained folder."""
    return Path(shutil.copytree(trained, place / "moved"))


def opened(folder: Path) -> tuple[Artefact, Loaded]:
    artefact = load_artefact(folder / "run" / "artefact")
    return artefact, load_recipe(artefact.folder / "resolved.yaml")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_artefact_knows_its_data(moved: Path) -> None:
    data = read_json(moved / "run" / "artefact" / "data.json")
    files = {"mood": "mood.csv", "likeness": "pairs.jsonl", "names": "names.conll"}
    assert data == {name: {"train": [[file, digest(moved / file)]]} for name, file in files.items()}


def test_all_tasks_on_the_rows_that_were_set_aside(moved: Path) -> None:
    records, missed = rescore(*opened(moved))
    assert missed == []
    assert {(r.task, r.split) for r in records} == {(t, s) for t in ("mood", "likeness", "names") for s in ("dev", "test")}


def test_a_changed_file_is_told_with_both_hashes_and_not_scored(moved: Path) -> None:
    """A row more draws the split anew: rows that the model was trained on would be scored."""
    before = digest(moved / "mood.csv")
    with (moved / "mood.csv").open("a") as file:
        file.write("the film at rome good,up\n")
    records, [missed] = rescore(*opened(moved))
    assert {r.task for r in records} == {"likeness", "names"}
    assert f"mood.csv {before[:12]} then, mood.csv {digest(moved / 'mood.csv')[:12]} now" in missed


def test_a_renamed_file_is_another_one(moved: Path) -> None:
    """Lots are drawn with the files' names."""
    (moved / "mood.csv").rename(moved / "moods.csv")
    other = moved / "run" / "other"
    other.mkdir()
    text = (moved / "run" / "artefact" / "resolved.yaml").read_text().replace("mood.csv", "moods.csv")
    (other / "resolved.yaml").write_text(text)
    artefact, _ = opened(moved)
    records, [missed] = rescore(artefact, load_recipe(other / "resolved.yaml"))
    assert {r.task for r in records} == {"likeness", "names"}
    assert "mood.csv" in missed


def test_no_data_set_as_it_was_is_an_error(moved: Path) -> None:
    for name in ("mood.csv", "pairs.jsonl", "names.conll"):
        (moved / name).write_bytes((moved / name).read_bytes() * 2)
    with pytest.raises(DataError) as caught:
        rescore(*opened(moved))
    assert len(caught.value.problems) == 4
    assert "--data task=file" in caught.value.problems[-1].remedy


def test_a_file_of_its_own(moved: Path) -> None:
    (moved / "more.csv").write_text("text,label\nthe film at rome good,up\nthe song at oslo bad,down\n")
    records, _ = rescore_file(*opened(moved), "mood", str(moved / "more.csv"))
    assert {(r.task, r.dataset, r.split) for r in records} == {("mood", "mood", "more.csv")}


def test_a_file_in_another_format_has_the_columns_of_the_training(moved: Path) -> None:
    """Those that the recipe's format implies as well; what `words` holds is then not read as text."""
    artefact, _ = opened(moved)
    loaded = load_recipe(artefact.folder / "resolved.yaml", ["tasks.names.data.format=conllu"])
    row = {"form": ["Anna", "is", "in", "Rome"], "words": [1, 2, 3, 4], "tags": ["O"] * 4}
    (moved / "more.jsonl").write_text(json.dumps(row) + "\n")
    records, _ = rescore_file(artefact, loaded, "names", str(moved / "more.jsonl"))
    assert {r.metric for r in records} >= {"loss", "span_f1"}


def test_an_unknown_task_is_named_with_the_nearest(moved: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        rescore_file(*opened(moved), "moods", "x.csv")
    assert caught.value.problems[0].nearest == "mood"


def test_bad_labels_are_left_out_where_the_recipe_says_so(moved: Path) -> None:
    """As training did with them: a row with a label that the model does not know would end the scoring."""
    (moved / "more.csv").write_text("text,label\nthe film at rome good,up\nthe film at rome poor,sideways\n")
    artefact, loaded = opened(moved)
    with pytest.raises(DataError, match=r"more\.csv:3: task mood: the label is not in the schema"):
        rescore_file(artefact, loaded, "mood", str(moved / "more.csv"))
    lenient = load_recipe(artefact.folder / "resolved.yaml", ["tasks.mood.data.bad_rows=skip"])
    (moved / "good.csv").write_text("text,label\nthe film at rome good,up\n")
    values = [
        [(r.metric, r.value) for r in rescore_file(artefact, lenient, "mood", str(moved / name))[0]]
        for name in ("more.csv", "good.csv")
    ]
    assert values[0] == values[1]


# artefacts whose files do not fit together ------------------------------------------------------------------------------


def rewritten(folder: Path, name: str, change: Callable[[Any], None]) -> tuple[Artefact, Loaded]:
    """The artefact with one file changed after it was loaded."""
    artefact, loaded = opened(folder)
    file = artefact.folder / name
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return artefact, loaded


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("labels.json", lambda d: d.pop("mood"), "labels.json: has no entry 'mood'"),
        ("labels.json", lambda d: d.update(mood=3), "labels.json: kind: a target's kind is one of"),
        ("labels.json", lambda d: d["mood"].update(labels=None), "task mood has the labels none, and the model 'down', 'up'"),
        ("labels.json", lambda d: d["mood"].update(labels=LabelMap(("up", "down")).to_json()), "the labels 'up', 'down'"),
        ("data.json", lambda d: d.pop("mood"), "data.json: has no entry 'mood'"),
        ("data.json", lambda d: d["mood"].pop("train"), "data.json: cannot be used: KeyError: 'train'"),
        ("data.json", lambda d: d["mood"].update(train=[7]), "data.json: cannot be used: TypeError"),
        ("data.json", lambda d: d.update(mood=None), "data.json: cannot be used: TypeError"),
    ],
)
def test_what_does_not_fit_is_an_error_of_the_artefact(
    moved: Path, name: str, change: Callable[[Any], None], rule: str
) -> None:
    with pytest.raises(ArtefactError, match=re.escape(rule)):
        rescore(*rewritten(moved, name, change))


def test_labels_that_are_gone_are_an_error_of_the_artefact_for_a_file_too(moved: Path) -> None:
    artefact, loaded = rewritten(moved, "labels.json", lambda data: data.pop("mood"))
    with pytest.raises(ArtefactError, match="has no entry 'mood'"):
        rescore_file(artefact, loaded, "mood", str(moved / "mood.csv"))


def test_a_recipe_of_another_model_is_an_error_of_the_artefact(moved: Path) -> None:
    artefact, loaded = opened(moved)
    without = loaded.recipe.model_copy(update={"tasks": {n: t for n, t in loaded.recipe.tasks.items() if n != "mood"}})
    for score in (rescore, lambda a, r: rescore_file(a, r, "names", str(moved / "names.conll"))):
        with pytest.raises(ArtefactError, match=r"resolved\.yaml: has the tasks 'likeness', 'names', and the model 'mood'"):
            score(artefact, replace(loaded, recipe=without))
