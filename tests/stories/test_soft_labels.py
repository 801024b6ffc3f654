"""Labels that are probabilities, from a file to scores and a second run from the artefact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.config.load import Loaded
from manyheads.errors import DataError
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.events import Finished

WORDS = {"good": 0.9, "fine": 0.7, "poor": 0.2, "bad": 0.1}  # how likely `up` is


def label(share: float, number: int) -> Any:
    """The same in each of the three spellings."""
    hard = "up" if share > 0.5 else "down"
    return ({"up": share, "down": 1 - share}, [share, 1 - share], hard)[number % 3]


def recipe_of(place: Path, tiny: Path, kind: str, **more: Any) -> Loaded:
    rows = [{"text": f"the film {word}", "label": label(share, n)} for n in range(12) for word, share in WORDS.items()]
    (place / "mood.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"train": "mood.jsonl", "split": {"test": 0.25}}
    task = {"type": kind, "path": ["encoder"], "soft_labels": True, "labels": ["up", "down"], "data": data, **more}
    training = {"epochs": 12, "batch": {"rows": 6}, "optimizer": {"lr": 5e-3, "head_lr": 0.02}, "device": "cpu"}
    training["checkpoint"] = {"every_minutes": None}
    encoder = {"type": "pretrained", "name": str(tiny), "max_length": 16}
    return recipe_from({"output": "run", "modules": {"encoder": encoder}, "tasks": {"mood": task}, "training": training})


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_they_are_learned_and_scored_against_the_likeliest_label(place: Path, tiny: Path, kind: str) -> None:
    *_, last = run(recipe_of(place, tiny, kind, metrics=["roc_auc"]))
    assert isinstance(last, Finished)
    scores = {r.metric: r.value for r in last.records if r.split == "test"}
    assert scores["accuracy"] == scores["roc_auc"] == 1
    assert scores["accuracy@majority"] < 1
    artefact = load_artefact(last.artefact)
    again, _ = rescore(artefact, load_recipe(last.artefact / "resolved.yaml"))
    assert {r.metric: r.value for r in again if r.split == "test"}["accuracy"] == 1


def test_the_three_spellings_are_one_label(place: Path, tiny: Path) -> None:
    """Every third row has each; a row's target hangs on neither the spelling nor the cache."""
    train = assemble(recipe_of(place, tiny, "classification")).train["mood"]
    gold = train.gold("mood", range(len(train)))
    assert gold.sum(1).tolist() == pytest.approx([1] * len(train))
    assert {tuple(round(share, 3) for share in row) for row in gold.tolist()} == {
        *((round(1 - share, 3), share) for share in WORDS.values()),
        (0.0, 1.0),
        (1.0, 0.0),
    }


def test_what_does_not_sum_to_one_has_its_line(place: Path, tiny: Path) -> None:
    loaded = recipe_of(place, tiny, "classification")
    with (place / "mood.jsonl").open("a") as file:
        file.write(json.dumps({"text": "so", "label": {"up": 0.5, "down": 0.4}}) + "\n")
    with pytest.raises(DataError, match=r"mood.jsonl:49: task mood: probabilities sum to 1, and these to 0.9; found"):
        assemble(loaded)
