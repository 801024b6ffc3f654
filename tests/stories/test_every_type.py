"""Tasks of every type, on single texts, pairs, words, choices and long texts, in one run on one encoder; as a library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.inputs import Input
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.events import Finished

RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 24}}}}
defaults: {{path: [encoder], data: {{split: {{dev: 0.25}}}}}}
data:
  texts: {{train: texts.jsonl, split: {{dev: 0.25}}}}
  pairs: {{train: pairs.jsonl, text: one, pair: two, split: {{dev: 0.25}}}}
  said: {{train: said.jsonl, words: words, split: {{dev: 0.25}}}}
tasks:
  mood: {{type: classification, data: {{from: texts, label: mood}}}}
  about_rome: {{type: binary, data: {{from: texts, label: rome}}}}
  themes: {{type: multilabel, data: {{from: texts, label: themes}}}}
  stars: {{type: regression, low: 0, high: 5, data: {{from: texts, label: stars}}}}
  entailment: {{type: classification, data: {{from: pairs, label: follows}}}}
  likeness: {{type: regression, data: {{from: pairs, label: likeness}}}}
  intent: {{type: classification, data: {{from: said, label: intent}}}}
  names: {{type: tagging, decoder: crf, data: {{from: said, label: tags}}}}
  speech: {{type: tagging, scheme: none, data: {{from: said, label: speech}}}}
  where: {{type: multiple_choice, data: {{train: where.jsonl, choices: choices}}}}
  who: {{type: question_answering, data: {{train: who.jsonl, stride: 4}}}}
  order: {{type: ranking, data: {{train: order.jsonl, choices: candidates}}}}
  same: {{type: matching, data: {{train: same.jsonl}}}}
training: {{epochs: 2, batch: {{rows: 8}}, optimizer: {{lr: 5.0e-3}}, checkpoint: {{every_minutes: null}}, device: cpu}}
mixture: {{tasks_per_step: 2}}
"""
SCORES = {
    "mood": "accuracy", "about_rome": "accuracy", "themes": "f1_micro", "stars": "spearman", "entailment": "accuracy",
    "likeness": "spearman", "intent": "accuracy", "names": "span_f1", "speech": "accuracy", "where": "accuracy",
    "who": "answer_f1", "order": "mrr", "same": "spearman",
}  # fmt: skip
INPUTS: list[Input] = [
    "the good film in rome",
    ["anna", "in", "rome"],
    ("a cat", "the dog"),
    ("anna in", ["rome", "oslo", "a cat"]),
    ("by ?", "the good film by the dog " * 5 + "by anna in rome"),
]


def rows(i: int) -> dict[str, dict[str, Any]]:
    """The i-th row of each data set."""
    name, town, kind = ("anna", "omar")[i % 2], ("rome", "oslo")[i % 3 % 2], ("good", "bad")[i % 2]
    context = "the good film by the dog " * (i % 4) + f"by {name} in {town}"
    labels = {"mood": kind, "rome": town == "rome", "themes": [kind, town] if i % 4 else [], "stars": i % 6}
    alike = {"follows": ("yes", "no", "perhaps")[i % 3], "likeness": i / 24}
    spoken = {"intent": kind, "tags": ["B-PER", "O", "B-LOC"], "speech": ["PROPN", "ADP", "PROPN"]}
    return {
        "texts": {"text": f"the {kind} film in {town} {i}", **labels},
        "pairs": {"one": f"a {kind} cat", "two": f"the dog at {town}", **alike},
        "said": {"words": [name, "in", town], **spoken},
        "where": {"text": f"{name} in", "choices": ["rome", "oslo", "a cat"][: 2 + i % 2], "label": i % 2},
        "who": {"question": "by ?", "context": context, "answers": [name], "starts": [context.index(name)]},
        "order": {"text": f"{name} in", "candidates": ["rome", "oslo", "a cat"], "label": [i % 3, (i + 1) % 3, 0]},
        "same": {"text": f"a {kind} cat", "pair": f"the dog at {town}", "label": i / 24},
    }


@pytest.fixture
def recipe(place: Path, tiny: Path) -> Path:
    for name in rows(0):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(rows(i)[name]) + "\n" for i in range(24)))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny))
    return place / "recipe.yaml"


def test_tasks_of_every_type_learn_are_scored_and_answer(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    first = assemble(loaded).build().state_dict()
    *_, last = run(loaded)
    assert isinstance(last, Finished)
    artefact = load_artefact(last.artefact)
    weights = {name: tensor for name, tensor in artefact.model.state_dict().items() if name.endswith(".weight")}
    moved = [name for name, tensor in weights.items() if not torch.equal(tensor, first[name])]
    headed = [task for task in SCORES if task != "same"]  # two vectors are compared as they are
    assert [task for task in SCORES if any(name.startswith(f"pool.{task}_head.") for name in moved)] == headed
    kept = {r.key: r.value for r in last.records if r.step == last.best and r.split == "dev"}
    for task, metric in SCORES.items():
        [key] = [key for key in kept if key.startswith(f"{task}/") and key.endswith(f"/{metric}")]
        assert -1 <= kept[key] <= 1
    again, missed = rescore(artefact, load_recipe(last.artefact / "resolved.yaml"))
    assert missed == []
    assert {r.key: r.value for r in again} == {
        k: pytest.approx(v, abs=1e-6, nan_ok=True) for k, v in kept.items() if "@" not in k
    }


def test_an_input_is_answered_by_the_tasks_that_read_its_kind(recipe: Path) -> None:
    """What an input is follows from its Python type."""
    *_, last = run(load_recipe(recipe, ["training.epochs=1"]))
    assert isinstance(last, Finished)
    predictor = Predictor.load(last.artefact)
    alone = {"mood", "about_rome", "themes", "stars", "intent", "names", "speech"}
    pairs = {"entailment", "likeness", "who", "same"}
    wanted = [alone, alone, pairs, {"where", "order"}, pairs]
    answers = predictor(INPUTS)
    assert [set(answer.predictions) for answer in answers] == wanted
    assert [len(answer.predictions["names"].value) for answer in answers[:2]] == [5, 3]  # type: ignore[arg-type]  # a tag a word
    for answer, value in zip(answers, INPUTS, strict=True):
        [by_itself] = predictor([value])
        told = {
            task: p.value if not isinstance(p.value, float) else pytest.approx(p.value)
            for task, p in answer.predictions.items()
        }
        assert {task: p.value for task, p in by_itself.predictions.items()} == told


def test_a_trained_model_needs_nothing_that_it_was_made_of(recipe: Path, place: Path) -> None:
    """No data set, recipe, run or label file: its folder alone, wherever it lies."""
    *_, last = run(load_recipe(recipe, ["training.epochs=1"]))
    assert isinstance(last, Finished)
    before = [answer.to_json() for answer in Predictor.load(last.artefact)(INPUTS)]
    kept = shutil.move(last.artefact, place.parent / f"{place.name}-model")
    for left in place.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    assert [answer.to_json() for answer in Predictor.load(kept)(INPUTS)] == before
