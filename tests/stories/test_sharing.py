"""Learned sharing, from the recipe to the answers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from manyheads.api import recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.errors import Interrupted, WiringError
from manyheads.nn.stitch import CrossStitch, shares_of
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.summary import summary
from manyheads.train.events import Finished

KINDS = {"anna": "NN", "rome": "NN", "dog": "NN", "runs": "VB", "sings": "VB", "the": "DT", "fast": "RB"}
NAMES = {"anna": "B-PER", "rome": "B-LOC"}
CONSTANT = {"name": "constant", "warmup": 0}


@pytest.fixture
def data(place: Path) -> Path:
    """Sentences with kinds of words in one file and names in another."""
    draw = random.Random(4)
    for file, tags in (("pos.conll", KINDS), ("ner.conll", NAMES)):
        sentences = [draw.choices(list(KINDS), k=draw.randint(3, 7)) for _ in range(40)]
        text = "\n".join("".join(f"{w} {tags.get(w, 'O')}\n" for w in sentence) for sentence in sentences)
        (place / file).write_text(text)
    return place


def task(name: str, path: list[Any], dev: float = 0.2) -> dict[str, Any]:
    scheme = {"scheme": "none"} if name == "pos" else {}
    split = {"split": {"dev": dev}} if dev else {}
    data = {"format": "conll", "train": f"{name}.conll", **split}
    return {"type": "tagging", "path": path, "data": data, "dropout": 0.0, **scheme}  # noise hangs on the number of the step


def step(module: str, *inputs: str, **more: str) -> dict[str, Any]:
    return {"module": module, "inputs": list(inputs), **more}


def recipe(tasks: Mapping[str, Any], modules: Mapping[str, Any], output: str, **training: Any) -> dict[str, Any]:
    usual = {"device": "cpu", "batch": {"rows": 8}, "optimizer": {"lr": 0.02}, "checkpoint": {"every_minutes": None}}
    return {"output": output, "seed": 3, "modules": dict(modules), "tasks": dict(tasks), "training": {**usual, **training}}


COLUMNS = [
    step("pos1", "words"),
    step("ner1", "words"),
    step("stitch1", "pos1", "ner1"),
    step("pos2", "stitch1.pos"),
    step("ner2", "stitch1.ner"),
    step("stitch2", "pos2", "ner2"),
]


def sluice(unit: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The modules of two columns of two layers, and the path of each task."""
    modules: dict[str, Any] = {"words": first or {"type": "embedding", "width": 12}}
    modules |= {name: {"type": "recurrent", "width": 6} for name in ("pos1", "ner1", "pos2", "ner2")}
    for name in ("stitch1", "stitch2"):
        modules[name] = {"type": "cross_stitch", "columns": ["pos", "ner"], **unit}
    modules |= {f"{name}_layers": {"type": "layer_stitch"} for name in ("pos", "ner")}
    paths = {n: ["words", *COLUMNS, step(f"{n}_layers", f"stitch1.{n}", f"stitch2.{n}")] for n in ("pos", "ner")}
    return modules, paths


def two_tasks(unit: Mapping[str, Any], output: str, **training: Any) -> dict[str, Any]:
    modules, paths = sluice(unit)
    return recipe({name: task(name, path) for name, path in paths.items()}, modules, output, **training)


def finish(settings: Mapping[str, Any]) -> Finished:
    *_, last = run(recipe_from(settings))
    assert isinstance(last, Finished)
    return last


def weights(found: Finished) -> dict[str, Tensor]:
    return dict(load_artefact(found.artefact).model.pool.state_dict())


# identity ---------------------------------------------------------------------------------------------------------------


def single(name: str, encoder: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The net of one task: its own two layers over the encoder, and the mixture of both."""
    modules = {"words": encoder, f"{name}1": {"type": "recurrent", "width": 6}, f"{name}2": {"type": "recurrent", "width": 6}}
    modules[f"{name}_layers"] = {"type": "layer_stitch"}
    path = ["words", f"{name}1", f"{name}2", step(f"{name}_layers", f"{name}1", f"{name}2")]
    return recipe({name: task(name, path, 0)}, modules, f"only_{name}", steps=steps, schedule=CONSTANT)


@pytest.mark.parametrize("subspaces", [1, 2])
def test_with_identity_units_two_tasks_are_two_single_nets_to_the_bit(data: Path, tiny: Path, subspaces: int) -> None:
    encoder = {"type": "pretrained", "name": str(tiny), "max_length": 32, "freeze": True}
    modules, paths = sluice({"own": 1.0, "freeze": True, "subspaces": subspaces}, encoder)
    both = recipe({n: task(n, p, 0) for n, p in paths.items()}, modules, "both", steps=40, schedule=CONSTANT)
    both["mixture"] = {"sampling": "round_robin"}
    found = weights(finish(both))
    for name in ("pos", "ner"):
        alone = weights(finish(single(name, encoder, 20)))
        learned = [key for key in alone if not key.startswith("words.")]
        assert {key.partition(".")[0] for key in learned} == {f"{name}1", f"{name}2", f"{name}_layers", f"{name}_head"}
        assert all(torch.equal(alone[key], found[key]) for key in learned)


def test_with_units_that_share_they_are_not(data: Path, tiny: Path) -> None:
    encoder = {"type": "pretrained", "name": str(tiny), "max_length": 32, "freeze": True}
    modules, paths = sluice({"own": 0.9, "freeze": True}, encoder)
    both = recipe({n: task(n, p, 0) for n, p in paths.items()}, modules, "both", steps=4, schedule=CONSTANT)
    both["mixture"] = {"sampling": "round_robin"}
    found, alone = weights(finish(both)), weights(finish(single("pos", encoder, 2)))
    assert not torch.equal(alone["pos1.cells.weight_ih_l0"], found["pos1.cells.weight_ih_l0"])


# a run ------------------------------------------------------------------------------------------------------------------


def test_it_learns_and_answers_all_tasks_in_one_pass(data: Path) -> None:
    settings = two_tasks({"subspaces": 2}, "run", steps=120)
    settings["mixture"] = {"tasks_per_step": "all"}
    found = finish(settings)
    scores = {r.key: r.value for r in found.records if r.step == max(r.step for r in found.records)}
    assert scores["pos/pos/dev/accuracy"] > 0.95
    assert scores["ner/ner/dev/span_f1"] > 0.9
    artefact = load_artefact(found.artefact)
    [answer] = Predictor(artefact)(["anna sings the fast dog"])
    told = answer.to_json()["tasks"]
    assert told["pos"]["tags"] == ["NN", "VB", "DT", "RB", "NN"]
    assert [span["label"] for span in told["ner"]["spans"]] == ["PER"]
    unit = artefact.model.pool["stitch1"]
    assert isinstance(unit, CrossStitch)
    assert not torch.equal(unit.weight, CrossStitch("states", 12, ["pos", "ner"], subspaces=2).weight)
    assert [n.module for n in artefact.model.graph.nodes].count("stitch1") == 1


def test_what_units_learned_stands_in_the_card_and_in_the_drawing(data: Path) -> None:
    found = finish(two_tasks({}, "run", steps=6))
    model = load_artefact(found.artefact).model
    shares, card, drawn = shares_of(model.pool.items()), (found.artefact / "README.md").read_text(), summary(model)
    assert list(shares) == ["stitch1", "stitch2", "pos_layers", "ner_layers"]
    for name in ("stitch1", "stitch2"):
        table = shares[name].weights
        assert f"| {name}: from, to | pos | ner |" in card
        assert f"| ner | {table[1][0]:.4f} | {table[1][1]:.4f} |" in card
        assert f"{name}: from, to  pos     ner" in drawn
        assert f"{table[1][0]:.4f}  {table[1][1]:.4f}" in drawn
    assert "| layer 2 | " in card
    assert card.index("## Scores") < card.index("## Sharing") < card.index("## Use")


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(data: Path, arm: Callable[[str], None]) -> None:
    apart = {"modules": ["pos1", "ner1"], "strength": 0.1}
    whole = finish(two_tasks({"subspaces": 2}, "whole", steps=12, orthogonality=apart))
    arm("train.step:7=term")
    with pytest.raises(Interrupted):
        finish(two_tasks({"subspaces": 2}, "stopped", steps=12, orthogonality=apart))
    arm("")
    again = finish(two_tasks({"subspaces": 2}, "stopped", steps=12, orthogonality=apart))
    one, other = weights(whole), weights(again)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (data / "whole/records.jsonl").read_bytes() == (data / "stopped/records.jsonl").read_bytes()


def test_the_penalty_is_recorded_and_keeps_subspaces_apart(data: Path) -> None:
    told = {}
    for strength in (1e-9, 1.0):
        apart = {"modules": ["pos1", "ner1"], "strength": strength}
        found = finish(two_tasks({"subspaces": 2}, f"run{strength}", steps=30, orthogonality=apart))
        lines = [json.loads(line) for line in (found.folder / "progress.jsonl").read_text().splitlines()]
        told[strength] = [line["orthogonality"] / strength for line in lines]
    assert told[1.0][-1] < 0.5 * told[1e-9][-1]


# wiring -----------------------------------------------------------------------------------------------------------------


def test_a_path_may_take_one_result_and_end_there(data: Path) -> None:
    modules, paths = sluice({})
    ends = {n: [*path[:-2], {**path[-2], "take": n}] for n, path in paths.items()}
    for name in ("pos", "ner"):
        del modules[f"{name}_layers"]
    model = assemble(recipe_from(recipe({n: task(n, p) for n, p in ends.items()}, modules, "run"))).build()
    assert [step.inputs for step in model.tasks["ner"].steps[-2:]] == [("pos2", "ner2"), ("stitch2.ner",)]
    nodes = {node.module: node for node in model.graph.nodes}
    assert nodes["stitch2"].tasks == ("pos", "ner")
    assert nodes["pos_head"].inputs[0].attribute == "pos"


def test_vectors_are_stitched_as_states_are(data: Path) -> None:
    (data / "mood.csv").write_text("text,label\n" + "anna sings,up\nthe dog runs,down\n" * 8)
    columns = [
        step("one", "words"),
        step("two", "words"),
        step("a", "one"),
        step("b", "two"),
        step("stitch", "a", "b", take="b"),
    ]
    modules = {"words": {"type": "embedding", "width": 12}, "stitch": {"type": "cross_stitch", "columns": ["a", "b"]}}
    modules |= {name: {"type": "convolution", "filters": 6, "kernels": [2]} for name in ("one", "two")}
    modules |= {name: {"type": "feedforward", "width": 8} for name in ("a", "b")}
    tasks = {"mood": {"type": "classification", "path": ["words", *columns], "data": {"train": "mood.csv"}}}
    found = finish(recipe(tasks, modules, "run", steps=30))
    [answer] = Predictor.load(found.artefact)(["anna sings"])
    assert answer.to_json()["tasks"]["mood"]["label"] == "up"


def test_an_auxiliary_task_ends_at_a_lower_layer(data: Path) -> None:
    modules = {"words": {"type": "embedding", "width": 12}}
    modules |= {name: {"type": "recurrent", "width": 6} for name in ("lower", "upper")}
    tasks = {"ner": task("ner", ["words", "lower", "upper"]), "pos": task("pos", ["words", "lower"])}
    settings = recipe(tasks, modules, "run", steps=120, select="ner")
    settings["mixture"] = {"tasks_per_step": "all"}
    found = finish(settings)
    nodes = {node.module: node.tasks for node in load_artefact(found.artefact).model.graph.nodes}
    assert nodes["lower"] == ("ner", "pos")
    assert nodes["upper"] == nodes["ner_head"] == ("ner",)
    assert nodes["pos_head"] == ("pos",)
    [answer] = Predictor.load(found.artefact)(["rome runs"])
    assert [span["label"] for span in answer.to_json()["tasks"]["ner"]["spans"]] == ["LOC"]
    assert answer.to_json()["tasks"]["pos"]["tags"] == ["NN", "VB"]


@pytest.mark.parametrize(
    ("changes", "where", "wanted"),
    [
        ({"ner1": {"type": "recurrent", "width": 7}}, "tasks.pos.path.3", "states of width 12 and states of width 14"),
        (
            {"ner1": {"type": "convolution", "filters": 12, "kernels": [2]}},
            "tasks.pos.path.3",
            "states of width 12 and vector of width 12",
        ),
        (
            {"stitch2": {"type": "cross_stitch", "columns": ["pos", "ner"], "subspaces": 5}},
            "modules.stitch2.subspaces",
            "the subspaces must divide the width of the states, 12; found '5'; did you mean '4'?",
        ),
        (
            {"pos2": {"type": "recurrent", "width": 8}, "ner2": {"type": "recurrent", "width": 8}},
            "tasks.pos.path.7",
            "width 16",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(data: Path, changes: dict[str, Any], where: str, wanted: str) -> None:
    settings = two_tasks({}, "run")
    settings["modules"] |= changes
    with pytest.raises(WiringError) as caught:
        assemble(recipe_from(settings))
    assert where in str(caught.value)
    assert wanted in str(caught.value)
