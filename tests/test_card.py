"""The model card: what it tells, and that no name can write in it what is not a name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan
from manyheads.card import card
from manyheads.graph import Step
from manyheads.types import Record
from manyheads.vocabularies import VocabularyFacts

HOSTILE = [
    "../x",
    "a\nb: c",
    "---",
    "[/INST]",
    "<img src=x onerror=alert(1)>",
    "a | b",
    "`rm -rf`",
    "](javascript:x)",
    "{{7*7}}",
    "x" * 300,
    "\x1b[31m",
    "# head",
    "emoji 🎉",
    "\u2028\x7f\x85",
    '"quoted"',
]


def head_of(text: str) -> dict[str, object]:
    _, head, _ = text.split("---\n", 2)
    data = YAML(typ="safe").load(head)
    assert isinstance(data, dict)
    return data


def make(name: str, value: float = 0.5) -> str:
    plan = TaskPlan("classification", (Step(name),), {"labels": [name]}, metric="accuracy")
    record = Record(3, name, name, "test", "accuracy", value)
    return card(name, Blueprint({}, {name: plan}), [record], {name: {"train": 5}}, {"seed": name})


def test_it_tells_tasks_data_scores_and_use(trained: Path) -> None:
    text = (trained / "run" / "artefact" / "README.md").read_text()
    for wanted in ("## Tasks", "## Data", "## Scores", "## Use", "## Limits", "Predictor.load", "| mood | classification"):
        assert wanted in text
    assert "train 24, dev 8, test 8" in text
    head = head_of(text)
    assert head["library_name"] == "manyheads"
    [model] = head["model-index"]  # type: ignore[misc]
    found = {(r["task"]["name"], r["dataset"]["split"], r["metrics"][0]["type"]) for r in model["results"]}
    assert {("mood", "test", "accuracy"), ("names", "test", "span_f1"), ("likeness", "test", "mse")} <= found


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_no_name_becomes_markup(name: str) -> None:
    text = make(name)
    [model] = head_of(text)["model-index"]  # type: ignore[misc]
    assert model["name"] == name  # the head holds it whole, as data
    body = text.split("---\n", 2)[2]
    assert "<" not in body
    assert "\x1b" not in body
    assert "](" not in body
    lines = body.splitlines()
    assert [line for line in lines if line.startswith("#")][1:] == [
        "## Tasks",
        "## Data",
        "## Scores",
        "## Use",
        "## How it was made",
        "## Limits",
    ]
    tables = [line for line in lines if line.startswith("|")]
    assert [line.count("|") for line in tables] == [5] * 3 + [3] * 3 + [6] * 3


def test_an_undefined_score_is_no_number() -> None:
    text = make("mood", math.nan)
    assert "undefined" in text
    assert "NaN" not in text
    [model] = head_of(text)["model-index"]  # type: ignore[misc]
    assert model["results"] == []


def test_the_head_is_json_inside() -> None:
    line = next(line for line in make("a").splitlines() if line.startswith("model-index: "))
    assert json.loads(line.removeprefix("model-index: "))[0]["name"] == "a"


@pytest.mark.parametrize(
    ("types", "tasks", "told"),
    [
        (["pretrained", "pool"], 3, "1 encoder, 3 tasks, trained together with manyheads."),
        (["pretrained", "adapter", "pretrained"], 1, "2 encoders, 1 task, trained with manyheads."),
        (["elmo", "embedding"], 2, "1 ELMo, 2 tasks, trained together with manyheads."),
        (["embedding", "recurrent"], 2, "2 tasks, trained together with manyheads."),
    ],
)
def test_it_says_what_reads(types: list[str], tasks: int, told: str) -> None:
    modules = {f"m{i}": ModulePlan(kind) for i, kind in enumerate(types)}
    plans = {f"t{i}": TaskPlan("classification", (Step("m0"),)) for i in range(tasks)}
    assert f"\n{told}\n" in card("x", Blueprint(modules, plans), [], {}, {})


def test_it_tells_what_vocabularies_know() -> None:
    facts = VocabularyFacts(("words",), 1200, 1000, {"words": 0.25}, {"a|b": {"train": 0.125, "dev": 0.5}}, {}, False)
    text = card("x", Blueprint({}, {"t": TaskPlan("classification", (Step("m"),))}), [], {}, {}, None, [facts])
    assert "| a&#124;b | 1,200 | 1,000 | train 12.5%, dev 50.0% |" in text
    assert "The file of vectors of words has 25.0% of the known words." in text
