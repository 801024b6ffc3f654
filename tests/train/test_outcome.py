"""What a run does about its scores: averages, drops, votes, the cross table; all of it the same after an interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.run import run
from manyheads.train.checkpoint import Checkpoints
from manyheads.train.evaluate import evaluate
from manyheads.train.events import Dropped, Evaluated, Event, Finished, Retired, Saved, Started
from manyheads.train.outcome import BEST
from manyheads.train.state import Progress

OFTEN = "training.checkpoint.every_steps=1"
EMA = ["training.average.type=ema", "training.average.decay=0.8"]
SWA = ["training.average.type=swa", "training.average.start=0.4"]
DROP = ["training.plateau.patience=1", "training.plateau.reload=true", "training.evaluate_every=2"]
VOTES = ["training.stop=votes", "training.patience=1", "training.evaluate_every=1", "training.epochs=9"]
CROSS = ["training.cross_table=true", "training.evaluate_every=3"]
FIRST = ["training.evaluate_first=true", "training.evaluate_every=0.3", "training.evaluate_train=5"]
LIVES = {
    "ema": EMA,
    "swa": SWA,
    "drop": DROP,
    "votes": VOTES,
    "cross": CROSS,
    "all": [*EMA, *DROP, *CROSS[:1]],
    "first": [*FIRST, *SWA, "training.select=[mood/loss, names]"],
}


def events(recipe: Path, *overrides: str) -> list[Event]:
    return list(run(load_recipe(recipe, overrides)))


def leave(recipe: Path, steps: int, *overrides: str) -> None:
    """Take so many steps and stop dead after the checkpoint of the last one."""
    walk: Iterator[Event] = run(load_recipe(recipe, [*overrides, OFTEN]))
    done = 0
    for event in walk:
        if isinstance(event, Progress):
            done += 1
            if done > steps:
                break
    walk.close()


def result(folder: Path) -> dict[str, str]:
    names = ["records.jsonl", "artefact/model.safetensors", "artefact/encoder/model.safetensors"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.parametrize("life", list(LIVES))
def test_an_interrupted_run_ends_in_the_same_bits(recipe: Path, life: str) -> None:
    events(recipe, *LIVES[life], "output=whole")
    leave(recipe, 3, *LIVES[life])
    leave(recipe, 2, *LIVES[life])
    events(recipe, *LIVES[life])
    assert result(recipe.parent / "run") == result(recipe.parent / "whole")


# averages -------------------------------------------------------------------------------------------------------------


def test_the_artefact_holds_the_average_and_the_scores_are_its_own(recipe: Path) -> None:
    *_, last = events(recipe, *SWA, "training.select=loss")
    assert isinstance(last, Finished)
    best = recipe.parent / "run" / "checkpoints" / f"step-{last.best:08d}"
    extra, weights = load_file(best / "extra.safetensors"), load_file(best / "model.safetensors")
    saved = load_file(last.artefact / "model.safetensors")
    assert all(torch.equal(tensor, extra[f"average/{name}"]) for name, tensor in saved.items())
    assert not all(torch.equal(tensor, weights[name]) for name, tensor in saved.items())
    assert last.why == "steps"


def test_training_itself_does_not_see_the_average(recipe: Path) -> None:
    plain = [e.losses for e in events(recipe, "output=plain") if isinstance(e, Progress)]
    averaged = [e.losses for e in events(recipe, *EMA, "output=averaged") if isinstance(e, Progress)]
    assert plain == averaged


# drops ----------------------------------------------------------------------------------------------------------------


def test_rates_drop_when_nothing_gets_better(recipe: Path) -> None:
    told = events(recipe, DROP[0], DROP[2], "training.schedule.name=constant", "training.schedule.warmup=0")
    scale, waited = 1.0, 0
    for event in told:
        if isinstance(event, Evaluated):
            waited = 0 if "*" in event.better else 1
        elif isinstance(event, Dropped):
            assert waited == 1
            scale /= 2
            assert event.scale == scale
        elif isinstance(event, Progress):
            assert event.rate == pytest.approx(5e-3 * scale)
    assert scale < 1


@pytest.mark.parametrize("settings", [(), ("training.patience=1",)])
def test_a_drop_that_no_step_follows_is_not_told(recipe: Path, settings: tuple[str, ...]) -> None:
    """Scores stand still at a rate of nothing, so the second evaluation is one without gain."""
    still = ["training.optimizer.lr=1e-30", "training.optimizer.head_lr=1e-30", "training.optimizer.weight_decay=0"]
    told = events(recipe, DROP[0], *still, "training.steps=4", "training.evaluate_every=2", *settings)
    evaluated = [e.step for e in told if isinstance(e, Evaluated)]
    assert evaluated == [2, 4]
    assert not any(isinstance(e, Dropped) for e in told)
    saved = sorted((recipe.parent / "run" / "checkpoints").glob("step-*"))[-1]
    state = json.loads((saved / "state.json").read_text())
    assert state["state"]["plateau"]["scale"] < 1  # what goes on from there goes on at lower rates


def test_an_undefined_selection_is_no_evaluation_without_gain(recipe: Path) -> None:
    row = '{"one": "a cat", "two": "the dog", "score": 1}\n'
    (recipe.parent / "dev.jsonl").write_text(row * 3)  # all alike: their correlation with anything is undefined
    recipe.write_text(recipe.read_text().replace("label: score, split: {dev: 0.2, test: 0.2}", "label: score, dev: dev.jsonl"))
    told = events(recipe, DROP[0], DROP[2], "training.select=likeness")
    assert sum("likeness" in e.undefined for e in told if isinstance(e, Evaluated)) > 2
    assert not any(isinstance(e, Dropped) for e in told)


def test_a_drop_goes_back_to_the_best_weights(recipe: Path) -> None:
    overrides = [*DROP, "training.optimizer.lr=0.4", "training.optimizer.name=sgd", OFTEN, "training.checkpoint.keep=99"]
    told = events(recipe, *overrides)
    drop = next(e for e in told if isinstance(e, Dropped))
    assert drop.best is not None
    assert drop.best < drop.step
    folder = recipe.parent / "run" / "checkpoints"
    after, best = (load_file(folder / f"step-{step:08d}" / "model.safetensors") for step in (drop.step, drop.best))
    assert all(torch.equal(after[name], best[name]) for name in best)


# checkpoints ----------------------------------------------------------------------------------------------------------


def test_the_best_checkpoint_of_each_task_stays(recipe: Path) -> None:
    """Whatever `keep` says, and though tasks are best at different steps; its weights give the task's best score."""
    told = events(recipe, "training.evaluate_every=2", "training.checkpoint.keep=1")
    evaluated = [e for e in told if isinstance(e, Evaluated)]
    best = {task: e.step for e in evaluated for task in e.better}
    assert best.keys() == {"mood", "likeness", "names", "*"}
    assert len(set(best.values())) > 2
    checkpoints = Checkpoints(recipe.parent / "run" / "checkpoints", 1)
    assert len(list(checkpoints.folder.iterdir())) < len(evaluated)

    assembly = assemble(load_recipe(recipe))
    model = assembly.build()
    for task, step in best.items():
        checkpoints.restore(checkpoints.load(checkpoints.path(step)), model)
        then = {r.key: r.value for e in evaluated if e.step == step for r in e.records if task in (r.task, "*")}
        now = {r.key: r.value for r in evaluate(model, assembly.dev.values()) if task in (r.task, "*")}
        assert now == pytest.approx({key: then[key] for key in now}, abs=1e-6, nan_ok=True)


# stopping and choosing ------------------------------------------------------------------------------------------------


def test_votes_end_a_run_only_when_every_task_has_spent_its_patience(recipe: Path) -> None:
    told = events(recipe, *VOTES)
    assert not any(isinstance(e, Retired) for e in told)
    waited: dict[str, int] = {}
    spent = []
    for event in told:
        if isinstance(event, Evaluated):
            for task in ("mood", "likeness", "names"):
                waited[task] = 0 if task in event.better else waited.get(task, 0) + 1
            spent.append(min(waited.values()) >= 1)
    last = told[-1]
    assert isinstance(last, Finished)
    assert last.why == "patience"
    assert spent == [False] * (len(spent) - 1) + [True]


def test_the_selection_may_be_the_mean_loss(recipe: Path) -> None:
    told = events(recipe, "training.select=loss", "training.evaluate_every=2")
    records = [r for e in told if isinstance(e, Evaluated) for r in e.records if (r.split, r.metric) == ("dev", "loss")]
    losses = {step: [r.value for r in records if r.step == step] for step in {r.step for r in records}}
    last = told[-1]
    assert isinstance(last, Finished)
    assert last.best == min(losses, key=lambda step: sum(losses[step]))


def test_one_record_key_may_choose_the_best_step(recipe: Path) -> None:
    told = events(recipe, "training.select=likeness/likeness/dev/mse:max", "training.evaluate_every=2")
    values = {
        e.step: r.value for e in told if isinstance(e, Evaluated) for r in e.records if r.key == "likeness/likeness/dev/mse"
    }
    last = told[-1]
    assert isinstance(last, Finished)
    assert last.best == max(values, key=lambda step: values[step])


def test_the_main_task_ends_the_run_and_its_best_weights_are_kept(recipe: Path) -> None:
    """Those of then, not the ones that training went on from, though all was on one processor."""
    settings = ["training.select=mood", "training.patience=2", "training.evaluate_every=2", "training.epochs=9"]
    told = events(recipe, *settings, OFTEN, "training.checkpoint.keep=99")
    scores = {e.step: r.value for e in told if isinstance(e, Evaluated) for r in e.records if r.key == "mood/mood/dev/accuracy"}
    best = max(scores, key=lambda step: scores[step])
    last = told[-1]
    assert isinstance(last, Finished)
    assert (last.why, last.best, last.step) == ("patience", best, best + 4)
    assert list(scores)[-1] == last.step
    folder = recipe.parent / "run" / "checkpoints"
    then, after = (load_file(folder / f"step-{step:08d}" / "model.safetensors") for step in (best, last.step))
    kept = load_file(last.artefact / "model.safetensors")
    assert all(torch.equal(tensor, then[name]) for name, tensor in kept.items())
    assert not any(torch.equal(tensor, after[name]) for name, tensor in kept.items())


# the baseline, and scores on training rows ----------------------------------------------------------------------------


def test_a_run_that_only_got_worse_ends_with_its_first_weights(recipe: Path) -> None:
    """Worse by the key that chooses: training lowers a loss of which more is asked."""
    told = events(recipe, FIRST[0], "training.select=likeness/loss:max", "training.checkpoint.keep=1")
    first, *later = [e for e in told if isinstance(e, Evaluated)]
    assert (first.step, "*" in first.better) == (0, True)
    assert all("*" not in e.better for e in later)
    assert isinstance(told[2], Saved), "the baseline has a checkpoint before any step"
    last = told[-1]
    assert isinstance(last, Finished)
    assert (last.best, last.step) == (0, 20)
    saved, fresh = load_file(last.artefact / "model.safetensors"), assemble(load_recipe(recipe)).build().state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in saved.items())
    assert {r.step for r in last.records if r.split == "test"} == {0}


def test_later_steps_are_the_best_only_where_they_beat_the_baseline(recipe: Path) -> None:
    told = events(recipe, FIRST[0], "training.evaluate_every=2", "training.select=loss")
    values: list[float] = []
    for event in told:
        if isinstance(event, Evaluated):
            losses = [r.value for r in event.records if (r.split, r.metric) == ("dev", "loss")]
            assert ("*" in event.better) == (not values or sum(losses) < min(values))
            values.append(sum(losses))
    assert len(values) == 11
    plain = [e.losses for e in events(recipe, "output=plain") if isinstance(e, Progress)]
    assert [e.losses for e in told if isinstance(e, Progress)] == plain, "to be scored first changes no step"


@pytest.mark.parametrize("first", [[], FIRST[:1]], ids=["plain", "first"])
def test_a_run_that_says_nothing_of_evaluations_is_scored_each_epoch_and_leaves_what_it_learned(
    recipe: Path, first: list[str]
) -> None:
    told = events(recipe, *first)
    assert [e.step for e in told if isinstance(e, Evaluated)] == [*([0] if first else []), 10, 20]
    assert {10, 20} <= {e.step for e in told if isinstance(e, Saved)}
    last = told[-1]
    assert isinstance(last, Finished)
    assert last.best in (10, 20)
    saved, fresh = load_file(last.artefact / "model.safetensors"), assemble(load_recipe(recipe)).build().state_dict()
    assert not any(torch.equal(tensor, fresh[name]) for name, tensor in saved.items())


def test_a_run_that_was_left_after_its_baseline_is_not_scored_twice(recipe: Path) -> None:
    walk = run(load_recipe(recipe, FIRST))
    while not isinstance(next(walk), Saved):
        pass
    walk.close()
    told = events(recipe, *FIRST)
    assert next(e.step for e in told if isinstance(e, Evaluated)) > 0
    events(recipe, *FIRST, "output=whole")
    assert result(recipe.parent / "run") == result(recipe.parent / "whole")


def test_the_same_training_rows_are_scored_each_time(recipe: Path) -> None:
    told = events(recipe, "training.evaluate_train=7", "training.evaluate_every=10", "training.optimizer.lr=1e-9")
    looks = [{r.key: r.value for r in e.records if r.task != "*"} for e in told if isinstance(e, Evaluated)]
    keys = [
        f"{task}/{task}/train/{metric}" for task, metric in (("mood", "accuracy"), ("likeness", "mse"), ("names", "span_f1"))
    ]
    assert len(looks) == 2
    for key in keys:
        assert looks[0][key] == pytest.approx(looks[1][key], abs=1e-4), "nothing was learned, and the rows are the same"
    assembly = assemble(load_recipe(recipe))
    sample = assembly.train["mood"].sample(7, load_recipe(recipe).recipe.seed)
    [accuracy] = [r.value for r in evaluate(assembly.build(), [sample]) if r.metric == "accuracy"]
    assert accuracy == pytest.approx(looks[0][keys[0]])


def test_scores_on_training_rows_choose_nothing(recipe: Path) -> None:
    """And they are beside the mean loss of training, not in its place."""
    one, two = ([e for e in events(recipe, *more) if isinstance(e, Evaluated)] for more in ([], [FIRST[2], "output=two"]))
    assert [e.better for e in one] == [e.better for e in two]
    for with_rows, plain in zip(two, one, strict=True):
        kept = [r for r in with_rows.records if r.split != "train" or r.metric == "loss" or r.task == "*"]
        assert kept == list(plain.records)
        assert len({r.key for r in with_rows.records}) == len(with_rows.records)


# the cross table ------------------------------------------------------------------------------------------------------


def test_each_tasks_best_weights_on_every_task(recipe: Path) -> None:
    *_, last = events(recipe, *CROSS)
    assert isinstance(last, Finished)
    cross = {(r.metric.partition(BEST)[2], r.task): r for r in last.records if BEST in r.metric}
    tasks = ["mood", "likeness", "names"]
    assert list(cross) == [(best, task) for best in tasks for task in tasks]
    assert {r.split for r in cross.values()} == {"test"}
    metrics = {"accuracy", "spearman", "span_f1"}
    own = {(r.step, r.task): r.value for r in last.records if r.split == "test" and r.metric in metrics}
    for (_, task), record in cross.items():
        if record.step == last.best:
            assert record.value == pytest.approx(own[last.best, task], nan_ok=True)


def test_the_cross_table_leaves_the_model_as_it_is(recipe: Path) -> None:
    events(recipe, "training.evaluate_every=3", "output=without")
    events(recipe, *CROSS, "output=with")
    one, two = (result(recipe.parent / name) for name in ("without", "with"))
    assert one["artefact/encoder/model.safetensors"] == two["artefact/encoder/model.safetensors"]


def test_a_finished_run_tells_its_table_again(recipe: Path) -> None:
    *_, first = events(recipe, *CROSS)
    started, again = events(recipe, *CROSS)
    assert isinstance(started, Started)
    assert isinstance(first, Finished)
    assert isinstance(again, Finished)
    assert started.complete
    assert [r for r in again.records if BEST in r.metric] == [r for r in first.records if BEST in r.metric]
    shutil.rmtree(first.artefact)
    *_, third = events(recipe, *CROSS)
    assert isinstance(third, Finished)
    assert [r for r in third.records if BEST in r.metric] == [r for r in first.records if BEST in r.metric]
