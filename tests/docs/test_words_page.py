"""docs/words.md: its recipe trains, and its tables have every key and type."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from manyheads.api import recipe_from
from manyheads.config.spec.words import VocabularySpec
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.events import Finished

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "words.md").read_text(encoding="utf-8")


def test_the_recipe_of_the_page_trains(place: Path) -> None:
    for part in ("train", "dev"):
        folder = place / "snips" / part
        folder.mkdir(parents=True)
        (folder / "seq.in").write_text("play some jazz\nrain in rome\nplay jazz\n")
        (folder / "seq.out").write_text("O O B-genre\nO O B-city\nO B-genre\n")
        (folder / "label").write_text("Play\nWeather\nPlay\n")
    (place / "v.txt").write_text("play 1 2\nrome 3 4\n")
    [text] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    data = YAML(typ="safe").load(text.replace("glove-50d", "v.txt").replace("min_count: 2", "min_count: 1"))
    data["output"], data["training"] = "run", {**data["training"], "epochs": 1, "device": "cpu"}
    *_, last = run(recipe_from(data))
    assert isinstance(last, Finished)
    [answer] = Predictor.load(last.artefact)(["play jazz in rome"])
    assert set(answer.predictions) == {"intent", "slots"}


def test_every_key_of_a_vocabulary_is_on_the_page() -> None:
    [table] = re.findall(r"\| key of `vocabulary` \|.*?\n\n", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`(?=[^|]*\|)", table.split("\n", 2)[2])) >= set(VocabularySpec.model_fields)
