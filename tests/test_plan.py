"""The plan counts what the run will do, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.data.stream import Position, Stream
from manyheads.plan import Plan, plan


def planned(recipe: Path, *overrides: str) -> Plan:
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    return plan(loaded.recipe, assembly, assembly.blueprint.build(0))


def test_rows_lengths_and_labels(recipe: Path) -> None:
    found = planned(recipe)
    assert found.datasets["mood"].rows == {"train": 24, "dev": 8, "test": 8}
    assert found.labels == {"mood": 2, "likeness": 1, "names": 3}
    assert found.datasets["mood"].median == found.datasets["mood"].longest == 7
    assert found.unlabelled == {"mood": 0, "likeness": 0, "names": 0}


def test_an_epoch_of_the_proportional_mixture_is_one_pass(recipe: Path) -> None:
    found = planned(recipe, "training.epochs=3")
    for data in found.datasets.values():
        assert data.updates == 3 * data.batches
        assert data.passes == 3.0
        assert data.seen == 3 * data.rows["train"]


def test_the_log_of_the_run_has_what_was_planned(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    found = planned(trained / "recipe.yaml")
    records = [json.loads(line) for line in (trained / "run" / "records.jsonl").read_text().splitlines()]
    last = {(r["dataset"], r["metric"]): r["value"] for r in records if r["split"] == "train" and r["task"] == "*"}
    for name, data in found.datasets.items():
        said = {metric: last[name, metric] for metric in ("batches", "rows", "passes", "tokens")}
        assert said == {"batches": data.updates, "rows": data.seen, "passes": pytest.approx(data.passes, abs=0.005),
                        "tokens": data.tokens}  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        ("mixture.sampling=uniform",),
        ("mixture.tasks_per_step=all", "training.accumulate=2"),
        ("mixture.sampling=temperature", "mixture.temperature=4", "mixture.epoch=11"),
        ("training.steps=7",),
        ("mixture.sampling=annealed", "mixture.temperature=5", "mixture.over=2", "mixture.epoch=names"),
        ("mixture.sampling=alternating", "mixture.tables=[{mood: 1}, {names: 2, likeness: 1}]"),
        ("mixture.sampling=unimax", "mixture.repeats=1.5", "mixture.over=2"),
        ("mixture.sampling=phases", "mixture.phases=[{datasets: [mood], rounds: 3}, {sampling: uniform}]"),
    ],
    ids=str,
)
def test_updates_are_the_draws_of_the_stream(recipe: Path, overrides: tuple[str, ...]) -> None:
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    found = plan(loaded.recipe, assembly, assembly.blueprint.build(0))
    lengths = {name: data.lengths for name, data in assembly.train.items()}
    stream = Stream(lengths, loaded.recipe.mixture, loaded.recipe.training.batch, loaded.recipe.seed)
    counts = dict.fromkeys(lengths, 0)
    rounds = stream.rounds(Position.start(list(lengths)))
    for _ in range(found.rounds):
        for draw in next(rounds)[0]:
            counts[draw.dataset] += 1
    assert {name: data.updates for name, data in found.datasets.items()} == counts
    assert not found.learns


def test_a_mixture_that_learns_is_counted_by_its_first_shares(recipe: Path) -> None:
    found = planned(recipe, "mixture.sampling=pike", "mixture.rate=0.5", "mixture.epoch=12")
    assert found.learns
    assert {data.updates for data in found.datasets.values()} == {8}


def test_cut_rows_and_missing_labels_are_counted(recipe: Path) -> None:
    text = (
        recipe.read_text()
        .replace("max_length: 32", "max_length: 8")
        .replace("train: mood.csv", 'missing: [""], train: mood.csv')
    )
    recipe.write_text(text.replace("{dev: 0.2, test: 0.2}}}\n  likeness", "{}}}\n  likeness"))
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("the film at rome was good good good,up\nfine,\n")
    found = planned(recipe)
    assert found.datasets["mood"].cut["train"] == 1
    assert found.datasets["mood"].longest == 8
    assert found.unlabelled["mood"] == 1


def test_rows_with_weights_are_counted_by_them(recipe: Path) -> None:
    rows = [{"one": "a cat", "two": "the dog", "score": score, "w": w} for score, w in ((1, 0), (2, 2.5), (None, None), (0, 1))]
    (recipe.parent / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = planned(recipe, "tasks.likeness.data.weight=w", "tasks.likeness.data.split={}")
    assert found.weighted == {"likeness": 3.5}
    assert found.unlabelled["likeness"] == 1
    assert planned(recipe, "tasks.likeness.data.split={}").weighted == {}


def test_parameters_and_bytes(recipe: Path) -> None:
    found, frozen = planned(recipe), planned(recipe, "modules.encoder.freeze=true")
    assert found.parameters == found.trainable == frozen.parameters
    assert frozen.trainable == 2 * 17 + 17 + 3 * 17  # the heads alone
    assert found.state_bytes == 16 * found.parameters
    assert found.checkpoint_bytes == 12 * found.parameters
    assert frozen.state_bytes < found.state_bytes


def test_a_data_set_that_never_comes(recipe: Path) -> None:
    found = planned(recipe, "mixture.sampling=shares", "mixture.shares={mood: 1.0, names: 1.0}")
    assert found.datasets["likeness"].updates == 0
    assert found.seconds >= 0


def test_it_is_strict_json(recipe: Path) -> None:
    found = planned(recipe)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["steps"] == found.steps
