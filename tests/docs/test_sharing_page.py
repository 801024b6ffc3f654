"""docs/sharing.md: its recipes train, and the table that it shows is drawn so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from manyheads.api import recipe_from
from manyheads.artefact import load_artefact
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.summary import summary
from manyheads.train.events import Finished

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", RECIPES, ids=range(len(RECIPES)))
def test_a_recipe_of_the_page_trains(text: str, place: Path, tiny: Path) -> None:
    for name in ("pos", "ner"):
        for part in ("", "-dev"):
            (place / f"{name}{part}.conll").write_text("anna B-PER\nsings O\n\nthe O\ndog O\n\n")
    for name in ("mood", "topic"):
        (place / f"{name}.csv").write_text("text,label\nanna sings,a\nthe dog,b\n")
    data = YAML(typ="safe").load(text.replace("minilm", str(tiny)))
    data["output"], data["training"] = "run", {**data.get("training", {}), "steps": 2, "device": "cpu"}
    *_, last = run(recipe_from(data))
    assert isinstance(last, Finished)
    [answer] = Predictor.load(last.artefact)(["the dog sings"])
    assert set(answer.predictions) == set(data["tasks"])
    if "stitch2" in text:
        [shown] = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        drawn = summary(load_artefact(last.artefact).model).partition("\nstitch1: ")[2].partition("\n\n")[0]
        assert frame(f"stitch1: {drawn}") == frame(shown)


def frame(table: str) -> list[str]:
    """Head and names of the rows."""
    head, *rows = table.splitlines()
    return [*head.split(), *(row.split()[0] for row in rows)]
