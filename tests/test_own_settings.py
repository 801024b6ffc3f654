"""What tasks, data sets and modules have of their own, through a whole run: batches, lengths, rates, steps of freezing."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.cli.planning import check
from manyheads.data.stream import Position
from manyheads.errors import RecipeError, ResourceError
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.events import Finished, Started
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress

OFTEN = "training.checkpoint.every_steps=1"
OWN = (
    "modules.encoder.unfreeze_at=6",
    "modules.encoder.layer_decay=0.8",
    "modules.encoder.lr=1e-3",
    "tasks.names.lr=0.02",
    "tasks.mood.data.batch={rows: 4}",
    "tasks.mood.data.max_length=8",
)


def assembled(recipe: Path, *overrides: str) -> Assembly:
    return assemble(load_recipe(recipe, overrides))


@pytest.fixture
def long(recipe: Path) -> Path:
    """The recipe, with moods of 11 pieces."""
    file = recipe.parent / "mood.csv"
    file.write_text(file.read_text().replace(" at ", " by the dog in "))
    return recipe


def rows_of(assembly: Assembly, rounds: int = 12) -> dict[str, set[int]]:
    """By data set the sizes of its first batches."""
    stream, found = assembly.stream(), dict[str, set[int]]()
    for (draws, _), _ in zip(stream.rounds(Position.start(stream.names)), range(rounds), strict=False):
        for draw in draws:
            found.setdefault(draw.dataset, set()).add(len(draw.rows))
    return found


def digest(folder: Path) -> dict[str, str]:
    names = ["records.jsonl", "artefact/model.safetensors", "artefact/encoder/model.safetensors"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def leave(recipe: Path, step: int, *overrides: str) -> None:
    """Train up to a step and its checkpoint, and leave."""
    walk = run(load_recipe(recipe, (*overrides, OFTEN)))
    for event in walk:
        if isinstance(event, Progress) and event.step == step + 1:
            break
    walk.close()


def test_rates_draws_learned_weights_and_gradients_out_of_conflict_in_one_run_answered_in_one_pass(recipe: Path) -> None:
    settings = (
        "tasks.names.lr=0.02",
        "mixture={sampling: temperature, temperature: 2, tasks_per_step: 2}",
        "balance={weighting: {type: uncertainty}, aggregation: {type: upgrad}}",
        "training.evaluate_every=2",
    )
    events = list(run(load_recipe(recipe, settings)))
    weights = [w for e in events if isinstance(e, Progress) for w in e.weights.values()]
    assert len({round(w, 9) for w in weights}) > 3, "they are learned"
    last = events[-1]
    assert isinstance(last, Finished)
    plain = finish(recipe, *settings, "balance={weighting: {type: uncertainty}}", "output=plain")
    first, second = (Predictor.load(e.artefact).model.pool["encoder"].state_dict() for e in (last, plain))
    assert not all(torch.equal(tensor, second[name]) for name, tensor in first.items()), "gradients were brought together"
    roots = {name: math.ceil(len(data) / 6) ** 0.5 for name, data in assembled(recipe).train.items()}
    asked = {r.dataset: r.value for r in last.records if r.metric == "asked_share"}
    assert asked == pytest.approx({name: root / sum(roots.values()) for name, root in roots.items()})

    predictor, passes = Predictor.load(last.artefact), list[int]()
    predictor.model.pool["encoder"].register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    [answer] = predictor(["anna saw the good film in rome"])
    assert (set(answer.predictions), passes) == ({"mood", "names"}, [1])


# batches and lengths ----------------------------------------------------------------------------------------------------


def test_each_data_set_has_batches_of_its_own(recipe: Path) -> None:
    found = rows_of(assembled(recipe, "tasks.mood.data.batch={rows: 4}", "tasks.names.data.batch={rows: 5}"))
    assert (found["mood"], found["likeness"], found["names"]) == ({4}, {6}, {5})


def test_a_budget_of_pieces_bounds_the_batches_of_its_data_set(recipe: Path) -> None:
    assembly = assembled(recipe, "tasks.mood.data.batch={tokens: 40}")
    stream = assembly.stream()
    lengths = assembly.train["mood"].lengths
    sizes = set()
    for (draws, _), _ in zip(stream.rounds(Position.start(stream.names)), range(30), strict=False):
        for draw in (d for d in draws if d.dataset == "mood"):
            sizes.add(len(draw.rows))
            assert len(draw.rows) * lengths[draw.rows].max() <= 40
    assert max(sizes) > 1
    assert rows_of(assembly)["names"] == {6, 3}


def test_a_data_set_that_tasks_share_has_one_batch_size(recipe: Path) -> None:
    text = recipe.read_text().replace("tasks:\n", "data:\n  both: {train: mood.csv, batch: {rows: 7}}\ntasks:\n", 1)
    text = text.replace("data: {train: mood.csv, split: {dev: 0.2, test: 0.2}}", "data: {from: both}")
    recipe.write_text(text)
    assert 7 in rows_of(assembled(recipe))["both"]


def test_defaults_reach_every_task(long: Path) -> None:
    defaults = "defaults: {data: {batch: {rows: 3}, max_length: 8}, lr: 0.5}\n"
    long.write_text(long.read_text().replace("tasks:\n", defaults + "tasks:\n"))
    assembly = assembled(long)
    assert all(max(sizes) == 3 for sizes in rows_of(assembly).values())
    assert all(data.lengths.max() <= 8 for data in assembly.train.values())
    assert {task.lr for task in assembly.recipe.tasks.values()} == {0.5}


def test_a_data_set_may_be_cut_shorter_in_all_its_splits(long: Path) -> None:
    whole, cut = assembled(long), assembled(long, "tasks.mood.data.max_length=8")
    for one, two in ((whole.train, cut.train), (whole.dev, cut.dev), (whole.test, cut.test)):
        assert two["mood"].lengths.max() <= 8 < one["mood"].lengths.max()
        assert two["likeness"].lengths.tolist() == one["likeness"].lengths.tolist()
    assert cut.cut["mood"]["train"] > 0
    assert cut.blueprint.modules["encoder"].options["max_length"] == 32


def test_the_plan_counts_what_the_run_does(long: Path) -> None:
    loaded = load_recipe(long, OWN)
    assembly = assemble(loaded)
    planned = plan(loaded.recipe, assembly, assembly.build())
    progress = [event for event in run(loaded) if isinstance(event, Progress)]
    assert planned.steps == len(progress)
    for name, data in planned.datasets.items():
        assert data.seen == sum(p.rows.get(name, 0) for p in progress)
    assert (planned.datasets["mood"].longest, planned.datasets["mood"].cut["train"]) == (8, 24)


def test_the_predictor_reads_as_far_as_the_encoder_and_scoring_again_as_far_as_training(long: Path) -> None:
    overrides = ("tasks.mood.data.max_length=8", "training.epochs=1")
    finished = finish(long, *overrides)
    text = "the film at rome was good good good"
    assert Predictor.load(finished.artefact)([text])[0].cut == 0
    first = {r.key: r.value for r in finished.records if r.split == "test" and "@" not in r.metric}
    records, _ = rescore(load_artefact(finished.artefact), load_recipe(long, overrides))
    again = {r.key: r.value for r in records}
    assert {key: again[key] for key in first} == pytest.approx(first)


# rates and freezing -----------------------------------------------------------------------------------------------------


def test_rates_of_a_recipe_reach_their_parameters(recipe: Path) -> None:
    assembly = assembled(recipe, *OWN, "training.optimizer.head_lr=0.5")
    model, own = assembly.build(), assembly.recipe
    optimizer = make_optimizer(model, own.training.optimizer, own.modules, own.tasks)
    peaks = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    found = {name.removeprefix("pool."): peaks[id(p)] for name, p in model.named_parameters()}
    assert {rate for name, rate in found.items() if name.startswith("names_head")} == {0.02}
    assert {rate for name, rate in found.items() if name.startswith("mood_head")} == {0.5}
    assert {rate for name, rate in found.items() if "encoder.layer.0" in name} == {1e-3}
    assert {rate for name, rate in found.items() if "embeddings" in name} == {1e-3 * 0.8}


@pytest.mark.parametrize("step", [4, 6, 9])
def test_a_run_with_settings_of_its_own_resumes_to_the_bit(recipe: Path, step: int) -> None:
    finish(recipe, *OWN, "output=whole")
    leave(recipe, step, *OWN)
    started = next(iter(run(load_recipe(recipe, OWN))))
    assert isinstance(started, Started)
    assert started.resumed == step
    finish(recipe, *OWN)
    assert digest(recipe.parent / "run") == digest(recipe.parent / "whole")


def test_rates_of_modules_and_tasks_may_change_on_the_way(recipe: Path) -> None:
    leave(recipe, 4, *OWN)
    new = [text.replace("modules.encoder.lr=1e-3", "modules.encoder.lr=1e-4") for text in OWN if "names.lr" not in text]
    finish(recipe, *new, "tasks.names.lr=0.01", "tasks.mood.lr=0.03")
    facts = json.loads((recipe.parent / "run" / "run.json").read_text())
    assert facts["changes"] == [
        "after step 4, modules.encoder.lr was 0.001 and is 0.0001",
        "after step 4, tasks.mood.lr was nothing and is 0.03",
        "after step 4, tasks.names.lr was 0.02 and is 0.01",
    ]


def test_steps_of_freezing_may_not(recipe: Path) -> None:
    leave(recipe, 4, *OWN)
    with pytest.raises(RecipeError, match="has 6 here"):
        finish(recipe, *OWN, "modules.encoder.unfreeze_at=7")


def test_a_layer_that_is_frozen_keeps_its_first_weights_and_is_not_counted(recipe: Path) -> None:
    text = recipe.read_text().replace("tasks:\n", "  top: {type: feedforward, width: 8, freeze: true}\ntasks:\n", 1)
    recipe.write_text(text.replace("classification, path: [encoder]", "classification, path: [encoder, top]"))
    loaded = load_recipe(recipe, ["training.epochs=1"])
    assembly = assemble(loaded)
    model = assembly.build()
    planned = plan(loaded.recipe, assembly, model)
    assert planned.parameters - planned.trainable == 16 * 8 + 8
    finished = finish(recipe, "training.epochs=1")
    after = Predictor.load(finished.artefact).model.pool["top"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in model.pool["top"].state_dict().items())


def test_check_finds_what_would_stop_the_run(recipe: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        check(recipe, ["modules.encoder.load=runs/none"], False)
    assert caught.value.problems[0].place == "override 'modules.encoder.load=runs/none'"
