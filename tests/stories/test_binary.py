"""A task of two labels and one score, from its recipe to its answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from torch import nn

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.errors import DataError, RecipeError
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.events import Finished, Saved

BINARY = ("tasks.mood.type=binary", "tasks.mood.metrics=[f1, roc_auc]", "training.optimizer.head_lr=0.02")


@pytest.fixture
def mood(recipe: Path) -> Path:
    """The recipe with its first task alone."""
    lines = recipe.read_text().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if line.startswith("training:"))
    recipe.write_text("".join(lines[:7] + lines[end:]))
    return recipe


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, [*BINARY, *overrides]))
    assert isinstance(last, Finished)
    return last


def test_it_learns_and_answers_with_both_labels(mood: Path) -> None:
    last = ("tasks.mood.data.split={test: 0.2}", "training.epochs=12")  # of dev rows the first that are all right would be kept
    found = finish(mood, *last, "tasks.mood.positive=down", "tasks.mood.class_weights=balanced", "tasks.mood.threshold=0.4")
    artefact = load_artefact(found.artefact)
    head = artefact.model.pool["mood_head"].linear
    assert isinstance(head, nn.Linear)
    assert head.out_features == 1
    answers = Predictor(artefact)(["the film at rome good", "the song at oslo bad"], ["mood"])
    for answer, label in zip(answers, ("up", "down"), strict=True):
        told = answer.to_json()["tasks"]["mood"]
        assert list(told["probabilities"]) == ["up", "down"]
        assert sum(told["probabilities"].values()) == pytest.approx(1)
        assert told["label"] == label == ("down" if told["probabilities"]["down"] >= 0.4 else "up")
    scores = {r.metric: r.value for r in found.records if r.key.startswith("mood/mood/test/")}
    assert scores["accuracy"] == scores["f1"] == scores["roc_auc"] == 1
    assert scores["accuracy@majority"] < 1
    again, _ = rescore(artefact, load_recipe(found.artefact / "resolved.yaml"))
    assert next(r.value for r in again if r.key == "mood/mood/test/f1") == 1
    assert "| mood | binary | text |" in (found.artefact / "README.md").read_text()


def test_precision_and_recall_are_those_of_the_positive_label(mood: Path) -> None:
    """Of 40 rows 20 are `up`; an answer that is always the positive label finds all of them."""
    shown = {}
    for label in ("up", "down"):
        overrides = (f"tasks.mood.positive={label}", "tasks.mood.threshold=0.0001", "tasks.mood.metrics=[recall, f1]")
        found = finish(mood, *overrides, "training.epochs=1", f"output={label}")
        shown[label] = {r.metric: r.value for r in found.records if r.key.startswith("mood/mood/test/")}
    assert [shown[label]["recall"] for label in shown] == [1, 1]
    assert shown["up"]["f1"] == pytest.approx(2 * shown["up"]["accuracy"] / (1 + shown["up"]["accuracy"]))


def test_a_run_that_was_left_ends_in_the_same_bits(mood: Path) -> None:
    often = ("training.checkpoint.every_steps=3", "training.epochs=2")

    def bits(found: Finished) -> str:
        return hashlib.sha256((found.artefact / "model.safetensors").read_bytes()).hexdigest()

    whole = bits(finish(mood, *often, "output=whole"))
    for event in run(load_recipe(mood, [*BINARY, *often])):
        if isinstance(event, Saved):
            break
    assert bits(finish(mood, *often)) == whole


def test_the_plan_counts_both_labels(recipe: Path) -> None:
    loaded = load_recipe(recipe, BINARY)
    assembly = assemble(loaded)
    assert plan(loaded.recipe, assembly, assembly.build()).labels == {"mood": 2, "likeness": 1, "names": 3}


def test_a_third_label_is_told_with_its_line(recipe: Path) -> None:
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("a song,so so\n")
    with pytest.raises(DataError) as caught:
        assemble(load_recipe(recipe, [*BINARY, "tasks.mood.data.split={}"]))
    (problem,) = caught.value.problems
    assert (problem.place, problem.value) == ("mood.csv:42", "so so")
    assert problem.rule == "task mood: a binary task has two labels, here 'down', 'up', and this is a third"
    with pytest.raises(DataError, match=r"mood.csv:42: task mood: the label is not in the schema; found 'so so'"):
        assemble(load_recipe(recipe, [*BINARY, "tasks.mood.labels=[up, down]"]))


def test_what_the_recipe_gets_wrong_has_its_place(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("{type: classification, path", "{type: binary, positive: upp, path"))
    with pytest.raises(RecipeError, match=r"recipe.yaml:7:\d+: no label is called this.*'down', 'up'.*mean 'up'"):
        assemble(load_recipe(recipe))
    with pytest.raises(RecipeError, match=r"no label is called this.*did you mean 'up'"):
        load_recipe(recipe, ["tasks.mood.labels=[up, down]"])
    with pytest.raises(RecipeError, match=r"`tasks.mood.labels` must be of length at least 2"):
        load_recipe(recipe, ["tasks.mood.labels=[up]"])


def test_real_phrases_of_a_real_encoder(shared_data: Path, bert_tiny: Path, place: Path) -> None:
    lines = (shared_data / "glue" / "SST-2" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:1201]
    rows = [dict(zip(("text", "label"), line.rsplit("\t", 1), strict=True)) for line in lines]
    (place / "sst.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"train": "sst.jsonl", "split": {"dev": 0.2}}
    task = {"type": "binary", "path": ["encoder"], "data": data, "metrics": ["roc_auc"]}
    training = {"epochs": 3, "batch": {"rows": 16}, "optimizer": {"lr": 1e-3}, "checkpoint": {"every_minutes": None}}
    encoder = {"type": "pretrained", "name": str(bert_tiny), "max_length": 48}
    *_, last = run(
        recipe_from({"output": "run", "modules": {"encoder": encoder}, "tasks": {"mood": task}, "training": training})
    )
    assert isinstance(last, Finished)
    scores = {r.metric: r.value for r in last.records if r.split == "dev"}
    assert scores["accuracy"] > scores["accuracy@majority"] + 0.05
    assert scores["roc_auc"] > 0.7


def test_the_focal_loss_of_every_type_reaches_training(recipe: Path) -> None:
    """Its loss of the same weights is lower, since every item counts less."""
    for kind, task in (("classification", "mood"), ("binary", "mood"), ("multilabel", "mood"), ("tagging", "names")):
        plain = (f"tasks.{task}.type={kind}",)
        losses = []
        for overrides in (plain, (*plain, f"tasks.{task}.focal=2.0")):
            assembly = assemble(load_recipe(recipe, overrides))
            batch = assembly.train[task].batch(range(6))
            losses.append(float(assembly.build().eval().losses([batch])[task].detach()))
        assert 0 < losses[1] < losses[0]
    with pytest.raises(RecipeError, match=r"`decoder: crf` learns the likelihood of a whole path(.|\n)*`decoder: softmax`"):
        load_recipe(recipe, ["tasks.names.decoder=crf", "tasks.names.focal=2"])
