"""A run as a user of the API sees it: events, files, resuming to the same bits, refusals."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal as signals
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.errors import ArtefactError, DataError, Interrupted, NumericsError, RecipeError, ResourceError
from manyheads.folder import verify
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.task.base import Task
from manyheads.train.events import Evaluated, Event, Finished, NotSaved, Retired, Saved, Started
from manyheads.train.state import Progress

OFTEN = "training.checkpoint.every_steps=1"


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def steps(recipe: Path, number: int, overrides: Sequence[str] = (OFTEN,)) -> list[Event]:
    """Take so many steps and leave, as a process that is killed does."""
    events: list[Event] = []
    walk = run(load_recipe(recipe, overrides))
    while sum(isinstance(e, Progress) for e in events) < number:
        events.append(next(walk))
    for event in walk:  # what follows a step, up to its checkpoint
        events.append(event)
        if not isinstance(event, Evaluated):
            break
    walk.close()
    return events


def weights(folder: Path) -> dict[str, str]:
    """sha256 of every file that must be the same after the same training."""
    names = ["records.jsonl", "artefact/model.safetensors", "artefact/encoder/model.safetensors", "artefact/labels.json"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


# events and files -------------------------------------------------------------------------------------------------------


def test_bad_rows_are_written_down(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("train: mood.csv", "bad_rows: quarantine, train: mood.csv"))
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("one,two,three\nthe film,\n")
    finish(recipe, "training.steps=1")
    lines = (recipe.parent / "run" / "mood.quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "place": "mood.csv:42",
            "rule": "a row of 2 columns is expected, this one has 3",
            "text": "one,two,three\n",
        },
        {
            "place": "mood.csv:43",
            "rule": "task mood: a label is empty; found ''",
            "text": '{"text": "the film", "label": ""}',
        },
    ]


def test_events_come_in_order(recipe: Path) -> None:
    events = list(run(load_recipe(recipe)))
    started, finished = events[0], events[-1]
    progress = [e for e in events if isinstance(e, Progress)]
    evaluated = [e for e in events if isinstance(e, Evaluated)]
    saved = [e for e in events if isinstance(e, Saved)]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.resumed, started.steps, started.complete) == (0, 20, False)
    assert [p.step for p in progress] == list(range(1, 21))
    assert [e.step for e in evaluated] == [10, 20]  # the end of each epoch
    assert saved[-1].step == 20
    assert (finished.why, finished.step) == ("steps", 20)
    assert [type(e) for e in events[10:13]] == [Progress, Evaluated, Saved]


def test_records_hold_every_score_of_every_task(trained: Path) -> None:
    records = [json.loads(line) for line in (trained / "run" / "records.jsonl").read_text().splitlines()]
    found = {(r["task"], r["split"], r["metric"]) for r in records}
    metrics = {"mood": ["accuracy"], "likeness": ["spearman", "mse"], "names": ["span_f1"]}
    wanted = {(t, s, m) for t, names in metrics.items() for s in ("dev", "test") for m in ("loss", *names)}
    wanted |= {(t, "train", "loss") for t in metrics}
    wanted |= {(t, s, f"{m}@majority") for t, names in metrics.items() for s in ("dev", "test") for m in names}
    wanted |= {("*", "train", m) for m in ("batches", "rows", "tokens", "passes", "asked_share")}
    wanted |= {("*", "train", f"share_{m}") for m in ("batches", "rows", "tokens", "loss", "norm")}
    assert found == wanted


def test_the_folder_of_a_run(trained: Path) -> None:
    names = {p.name for p in (trained / "run").iterdir()}
    wanted = {"recipe.yaml", "resolved.yaml", "recipe.schema.json", "run.json", "records.jsonl", "progress.jsonl"}
    assert names == wanted | {"checkpoints", "artefact"}
    verify(trained / "run" / "artefact", kind="artefact")
    facts = json.loads((trained / "run" / "run.json").read_text())
    assert facts["fingerprint"]["files"].keys() == {"mood.csv", "pairs.jsonl", "names.conll"}
    assert (trained / "run" / "recipe.yaml").read_text() == (trained / "recipe.yaml").read_text()


def test_the_time_goes_to_another_file_than_the_scores(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "run" / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 20
    speed = {"rows_per_second", "tokens_per_second"}
    assert lines[-1].keys() == {"step", "losses", "weights", "rate", "norm", "shares", "peak_memory_mib", *speed}
    assert lines[-1]["weights"] == {"mood": 1.0, "likeness": 1.0, "names": 1.0}
    assert lines[-1]["shares"].keys() == {"mood", "likeness", "names"}
    assert sum(lines[-1]["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert lines[-1]["peak_memory_mib"] > 10


def test_a_run_without_rows_set_aside_keeps_the_last_weights(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("split: {dev: 0.2, test: 0.2}", "split: {}"))
    finished = finish(recipe, "training.epochs=1")
    assert finished.best == finished.step
    assert {r.split for r in finished.records} == {"train"}
    assert finish(recipe, "training.epochs=1").best == finished.best  # nothing left to do


def test_updates_are_those_of_the_plan(recipe: Path) -> None:
    from manyheads.assemble import assemble
    from manyheads.plan import plan

    loaded = load_recipe(recipe, ["mixture.sampling=temperature", "mixture.temperature=3", "training.epochs=3"])
    assembly = assemble(loaded)
    planned = plan(loaded.recipe, assembly, assembly.blueprint.build(loaded.recipe.seed))
    progress = [e for e in run(loaded) if isinstance(e, Progress)]
    for name, data in planned.datasets.items():
        assert data.updates == sum(name in p.rows for p in progress)
        assert data.seen == sum(p.rows.get(name, 0) for p in progress)
    assert planned.steps == len(progress)


def test_the_resolved_recipe_gives_the_same_weights(trained: Path, place: Path) -> None:
    loaded = load_recipe(trained / "run" / "resolved.yaml", ["output=again"])
    list(run(loaded))
    assert weights(place / "again") == weights(trained / "run")


def test_a_task_stands_in_one_place_and_tasks_in_any_order(recipe: Path) -> None:
    """One less is one entry less, and each keeps its rows, labels, first weights and name in what is answered."""
    head, tasks, rest = re.split(r"(?<=tasks:\n)|(?=^training:)", recipe.read_text(), flags=re.MULTILINE)
    parts = re.split(r"^(?=  \w)", tasks, flags=re.MULTILINE)[1:]
    whole = assemble(load_recipe(recipe))
    first = whole.build().state_dict()
    for kept in ([2, 1, 0], [1, 0], [0, 2]):
        recipe.write_text(head + "".join(parts[i] for i in kept) + rest)
        found = assemble(load_recipe(recipe))
        assert list(found.blueprint.tasks) == [list(whole.blueprint.tasks)[i] for i in kept]
        assert all(found.blueprint.tasks[name] == whole.blueprint.tasks[name] for name in found.blueprint.tasks)
        assert all(found.labels[name] == whole.labels[name] for name in found.labels)
        assert all(torch.equal(tensor, first[name]) for name, tensor in found.build().state_dict().items())
    answer = Predictor.load(finish(recipe, "training.epochs=1").artefact)(["a cat in rome"])[0]
    assert list(answer.predictions) == ["mood", "names"]


def test_a_task_may_have_any_name_with_underscores(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("  mood:", "  the_mood_of__films_:"))
    found = finish(recipe, "training.epochs=1")
    assert "the_mood_of__films_" in Predictor.load(found.artefact)(["a cat in rome"])[0].predictions
    assert {"the_mood_of__films_", "likeness", "names"} <= {r.task for r in found.records}


def test_another_seed_gives_other_weights(recipe: Path, trained: Path) -> None:
    finish(recipe, "seed=6")
    assert (
        weights(recipe.parent / "run")["artefact/model.safetensors"] != weights(trained / "run")["artefact/model.safetensors"]
    )


# resuming ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[11], [2, 5, 7, 10, 15]], ids=str)
def test_a_run_that_was_left_ends_in_the_same_bits(recipe: Path, trained: Path, stops: list[int]) -> None:
    done = 0
    for stop in stops:
        started = steps(recipe, stop - done)[0]
        assert isinstance(started, Started)
        assert started.resumed == done
        done = stop
    assert finish(recipe, OFTEN).step == 20
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_a_run_with_weights_of_rows_goes_on_in_the_same_bits(recipe: Path, trained: Path) -> None:
    weighted = "tasks.likeness.data.weight=score"
    finish(recipe, weighted, "output=whole")
    steps(recipe, 7, [OFTEN, weighted])
    finish(recipe, OFTEN, weighted)
    found = weights(recipe.parent / "run")
    assert found == weights(recipe.parent / "whole")
    assert found["artefact/model.safetensors"] != weights(trained / "run")["artefact/model.safetensors"]


def test_steps_after_the_last_checkpoint_are_taken_again(recipe: Path, trained: Path) -> None:
    often = "training.checkpoint.every_steps=4"
    steps(recipe, 7, [often])
    started = next(walk := run(load_recipe(recipe, [often])))
    walk.close()
    assert isinstance(started, Started)
    assert started.resumed == 4
    finish(recipe, often)
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_resuming_between_accumulated_rounds(recipe: Path) -> None:
    settings = ["training.accumulate=3", OFTEN]
    finish(recipe, *settings, "output=whole")
    steps(recipe, 2, settings)
    steps(recipe, 2, settings)
    finish(recipe, *settings)
    assert weights(recipe.parent / "run") == weights(recipe.parent / "whole")


def test_a_finished_run_is_left_alone(trained: Path, place: Path) -> None:
    copy = Path(shutil.copytree(trained, place / "copy"))
    before = {p: p.read_bytes() for p in (copy / "run" / "artefact").rglob("*") if p.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        started, finished = run(load_recipe("recipe.yaml"))
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert started.complete
    assert (finished.why, finished.best) == ("done", finished.records[-1].step)
    assert {p: p.read_bytes() for p in (copy / "run" / "artefact").rglob("*") if p.is_file()} == before
    assert weights(copy / "run") == weights(trained / "run")


def test_a_lost_artefact_is_made_again(recipe: Path, trained: Path) -> None:
    finish(recipe)
    shutil.rmtree(recipe.parent / "run" / "artefact")
    finish(recipe)
    assert weights(recipe.parent / "run") == weights(trained / "run")


@pytest.mark.parametrize("damage", ["labels.json", "model.safetensors"])
def test_a_damaged_artefact_is_made_again(recipe: Path, trained: Path, damage: str) -> None:
    finish(recipe)
    file = recipe.parent / "run" / "artefact" / damage
    file.write_bytes(file.read_bytes()[:-1])
    started, *_, finished = run(load_recipe(recipe))
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert not started.complete
    assert damage in started.warnings[0]
    verify(finished.artefact, kind="artefact")
    assert weights(recipe.parent / "run") == weights(trained / "run")


@pytest.mark.parametrize("lost", ["manifest.json", "config.json", "model.safetensors"])
def test_an_artefact_without_one_of_its_files_is_moved_aside_and_made_again(recipe: Path, trained: Path, lost: str) -> None:
    finish(recipe)
    artefact = recipe.parent / "run" / "artefact"
    (artefact / lost).unlink()
    (artefact / "README.md").write_text("my own words")
    started, *_ = run(load_recipe(recipe))
    assert isinstance(started, Started)
    assert "written again" in started.warnings[0]
    verify(artefact, kind="artefact")
    assert weights(recipe.parent / "run") == weights(trained / "run")
    assert (recipe.parent / "run" / "artefact.damaged-1" / "README.md").read_text() == "my own words"


def test_a_folder_that_is_no_artefact_stays_and_is_told_as_such(recipe: Path) -> None:
    finish(recipe)
    artefact = recipe.parent / "run" / "artefact"
    shutil.rmtree(artefact)
    artefact.mkdir()
    (artefact / "notes.txt").write_text("mine")
    walk = run(load_recipe(recipe))
    started = next(walk)
    assert isinstance(started, Started)
    assert list(started.warnings) == []
    with pytest.raises(ResourceError, match="in the way"):
        list(walk)
    assert (artefact / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", [None, b"", b'{"step": 1, "ta\n'], ids=["lost", "empty", "broken"])
def test_lost_records_of_a_finished_run_come_back_from_the_artefact(recipe: Path, trained: Path, content: bytes | None) -> None:
    finish(recipe)
    file = recipe.parent / "run" / "records.jsonl"
    file.unlink() if content is None else file.write_bytes(content)
    started, finished = run(load_recipe(recipe))
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert started.complete
    assert list(started.warnings) == [f"{Path('run', 'records.jsonl')} was lost or changed, and is the artefact's again"]
    assert weights(recipe.parent / "run") == weights(trained / "run")
    assert finished.best == finished.records[-1].step


def test_a_broken_record_of_a_run_that_goes_on_is_told_before_it_does(recipe: Path) -> None:
    steps(recipe, 12)
    file = recipe.parent / "run" / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], lines[1][:9] + "\n", *lines[2:]]))
    with pytest.raises(ArtefactError, match=r"records\.jsonl:2: is no record"):
        next(run(load_recipe(recipe, [OFTEN])))
    file.write_text("".join([lines[0], *lines[2:]]))
    assert finish(recipe, OFTEN).step == 20


def test_an_older_releases_checkpoint_is_told_as_such(recipe: Path) -> None:
    from manyheads.folder import writing

    steps(recipe, 2)
    newest = max((recipe.parent / "run" / "checkpoints").iterdir())
    files = {p.name: p.read_bytes() for p in newest.iterdir() if p.name != "manifest.json"}
    data = json.loads(files["state.json"])
    del data["state"]["plateau"], data["state"]["ledger"]
    with writing(newest, kind="checkpoint") as folder:
        for name, content in {**files, "state.json": json.dumps(data).encode()}.items():
            (folder / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=r"step-00000002/state\.json: cannot be used: KeyError: 'ledger'"):
        next(run(load_recipe(recipe, [OFTEN])))


def test_a_second_run_into_the_same_folder_is_refused(recipe: Path, trained: Path) -> None:
    first = run(load_recipe(recipe, [OFTEN]))
    while not isinstance(next(first), Saved):
        pass
    with pytest.raises(ResourceError) as caught:
        next(run(load_recipe(recipe, [OFTEN])))
    assert caught.value.problems[0].place == "run"
    assert "another process trains into this folder" in str(caught.value)
    finish(recipe, "output=other")
    *_, last = first
    assert isinstance(last, Finished)
    assert weights(recipe.parent / "run") == weights(trained / "run")
    assert finish(recipe, OFTEN).why == "done"  # and the folder is free again


def test_a_lost_best_checkpoint_is_a_warning(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    finish(recipe, "training.optimizer.lr=0.3", "training.optimizer.name=sgd", "training.select=names")
    folder = recipe.parent / "run"
    state = json.loads((folder / "checkpoints" / "step-00000020" / "state.json").read_text())
    best = state["state"]["best"]["*"]["step"]
    if best == 20:
        pytest.skip("the last step is the best one here")
    shutil.rmtree(folder / "checkpoints" / f"step-{best:08d}")
    shutil.rmtree(folder / "artefact")
    found = finish(recipe, "training.optimizer.lr=0.3", "training.optimizer.name=sgd", "training.select=names")
    assert found.best == 20
    assert "the last weights are taken" in caplog.text


def test_fresh_refuses_a_folder_with_a_run(recipe: Path) -> None:
    steps(recipe, 2)
    with pytest.raises(RecipeError, match="already holds a run"):
        list(run(load_recipe(recipe), fresh=True))


# signals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["term", "int"])
def test_a_signal_saves_and_says_how_to_go_on(recipe: Path, trained: Path, arm: Callable[[str], None], signal: str) -> None:
    arm(f"train.step:7={signal}")
    with pytest.raises(Interrupted) as caught:
        list(run(load_recipe(recipe)))
    assert f"SIG{signal.upper()} after step 7" in str(caught.value)
    assert f"manyheads train {recipe}" in str(caught.value)
    assert caught.value.exit_code == 75
    arm("")
    finish(recipe)
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_a_signal_at_the_end_of_an_epoch_loses_no_evaluation(recipe: Path, trained: Path, arm: Callable[[str], None]) -> None:
    arm("train.step:10=term")
    with pytest.raises(Interrupted):
        list(run(load_recipe(recipe)))
    arm("")
    finish(recipe)
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_a_second_ctrl_c_ends_at_once_and_harms_nothing(recipe: Path, trained: Path, arm: Callable[[str], None]) -> None:
    steps(recipe, 3)
    arm("train.step:2=int,save.after_file:5=int")
    with pytest.raises(KeyboardInterrupt):
        list(run(load_recipe(recipe, [OFTEN])))
    arm("")
    finish(recipe)
    assert weights(recipe.parent / "run") == weights(trained / "run")


@pytest.mark.parametrize("number", [signals.SIGTERM, signals.SIGINT])
def test_a_signal_while_data_are_read_ends_at_once(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, number: signals.Signals
) -> None:
    monkeypatch.setattr("manyheads.assemble.prepare", lambda *_: signals.raise_signal(number))
    with pytest.raises(Interrupted) as caught:
        list(run(load_recipe(recipe, ["seed=6", "output=a b"])))
    assert f"stopped by {number.name} while data were read" in str(caught.value)
    assert f"manyheads train {recipe} seed=6 'output=a b'" in str(caught.value)
    assert not (recipe.parent / "a b").exists()


# refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "old", "new"),
    [
        ("training.optimizer.name=sgd", "training.optimizer.name", '"adamw"', '"sgd"'),
        ("seed=6", "seed", "5", "6"),
        ("tasks.mood.weight=2", "tasks.mood.weight", "1.0", "2.0"),
        ("training.epochs=3", "training.epochs", "2", "3"),
        ("modules.encoder.freeze=true", "modules.encoder.freeze", "false", "true"),
    ],
)
def test_another_recipe_does_not_continue_a_run(recipe: Path, override: str, key: str, old: str, new: str) -> None:
    steps(recipe, 2)
    with pytest.raises(RecipeError) as caught:
        list(run(load_recipe(recipe, [override])))
    first = caught.value.problems[0]
    assert (first.place, first.value) == (key, new)
    assert f"has {old} here" in first.rule
    assert "training.checkpoint" in str(caught.value.problems[-1])  # what may change


def test_a_task_more_is_a_change_of_the_recipe(recipe: Path) -> None:
    steps(recipe, 2)
    task = "  more: {type: classification, path: [encoder], data: {train: mood.csv}}\n"
    recipe.write_text(recipe.read_text().replace("tasks:\n", "tasks:\n" + task))
    with pytest.raises(RecipeError, match=r"tasks\.more"):
        list(run(load_recipe(recipe)))


def test_safe_keys_may_change(recipe: Path, trained: Path) -> None:
    steps(recipe, 4)
    finish(recipe, "training.checkpoint.keep=1", "training.checkpoint.every_minutes=9")
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_a_rate_may_be_lowered_on_the_way_and_that_is_kept_on_record(recipe: Path, trained: Path) -> None:
    steps(recipe, 4)
    lower = ["training.optimizer.lr=1e-4", "training.optimizer.head_lr=1e-3"]
    events = list(run(load_recipe(recipe, lower)))
    started, progress = events[0], [e for e in events if isinstance(e, Progress)]
    assert isinstance(started, Started)
    assert "after step 4, training.optimizer.lr was 0.005 and is 0.0001" in started.warnings[0]
    assert max(p.rate for p in progress) <= 1e-3
    changes = json.loads((recipe.parent / "run" / "run.json").read_text())["changes"]
    assert [c.partition(" was ")[0] for c in changes] == [
        "after step 4, training.optimizer.lr",
        "after step 4, training.optimizer.head_lr",
    ]
    assert changes[0] in (recipe.parent / "run" / "artefact" / "README.md").read_text()
    assert weights(recipe.parent / "run") != weights(trained / "run")
    again, _ = run(load_recipe(recipe, lower))  # what was changed once is no change the next time
    assert isinstance(again, Started)
    assert (again.complete, list(again.warnings)) == (True, [])
    assert json.loads((recipe.parent / "run" / "run.json").read_text())["changes"] == changes


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.optimizer.lr=1e-4", "training.optimizer.lr was 0.005 and is 0.0001"),
        ("training.patience=7", "training.patience was nothing and is 7"),
        ("training.checkpoint.keep=9", None),
    ],
)
def test_a_complete_run_takes_no_change_over(recipe: Path, override: str, told: str | None) -> None:
    finish(recipe)
    folder = recipe.parent / "run"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for _ in range(2):
        started, finished = run(load_recipe(recipe, [override]))
        assert isinstance(started, Started)
        assert isinstance(finished, Finished)
        assert finished.why == "done"
        refused = [warning for warning in started.warnings if "the run is complete" in warning]
        assert refused == ([f"{told}: the run is complete and takes nothing over"] if told else [])
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_complete_run_does_not_go_on_with_other_threads(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(recipe)
    monkeypatch.setattr("manyheads.facts.torch.get_num_threads", lambda: 99)
    started, _ = run(load_recipe(recipe))
    assert isinstance(started, Started)
    assert list(started.warnings) == []


def test_changed_data_are_refused_with_both_hashes(recipe: Path) -> None:
    steps(recipe, 2)
    before = hashlib.sha256((recipe.parent / "mood.csv").read_bytes()).hexdigest()
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("a new row,up\n")
    after = hashlib.sha256((recipe.parent / "mood.csv").read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        list(run(load_recipe(recipe)))
    assert caught.value.problems[0].place == "mood.csv"
    assert before[:12] in str(caught.value)
    assert after[:12] in str(caught.value)


def test_an_output_that_is_a_file_is_found_before_data_are_read(recipe: Path) -> None:
    (recipe.parent / "run").write_text("mine")
    (recipe.parent / "mood.csv").unlink()
    with pytest.raises(ResourceError, match="is a file"):
        list(run(load_recipe(recipe)))


def test_problems_of_all_data_sets_are_told_at_once(recipe: Path) -> None:
    (recipe.parent / "mood.csv").unlink()
    (recipe.parent / "names.conll").write_text("")
    with pytest.raises(DataError) as caught:
        list(run(load_recipe(recipe)))
    assert {p.place for p in caught.value.problems} == {"mood.csv", "names.conll"}


# numbers and disks ------------------------------------------------------------------------------------------------------


def spoil(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """After so many steps, losses are no numbers."""
    real, calls = Task.loss_sum, 0

    def loss_sum(self: Task, scores: torch.Tensor, target: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        loss = real(self, scores, target, *weights)
        calls += loss.requires_grad
        return loss * (torch.nan if calls > after else 1)

    monkeypatch.setattr(Task, "loss_sum", loss_sum)


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps(recipe, 3)
    spoil(monkeypatch, after=3)
    with pytest.raises(NumericsError) as caught:
        list(run(load_recipe(recipe, ["training.checkpoint.every_steps=99"])))
    text = str(caught.value)
    assert "the last good checkpoint is run/checkpoints/step-00000003" in text
    assert "run the same command again" in text
    assert "mood.csv:" in text or "pairs.jsonl:" in text
    journal = recipe.parent / "run" / "records.jsonl"
    assert not journal.exists() or "NaN" not in journal.read_text()


def test_a_checkpoint_whose_weights_give_no_number_is_told_as_ruined(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the rate was far too high: the same command, at any rate, meets the same weights and the same rows."""
    steps(recipe, 3)
    spoil(monkeypatch, after=0)
    told = []
    for _ in range(2):
        with pytest.raises(NumericsError) as caught:
            list(run(load_recipe(recipe, [OFTEN, "training.optimizer.lr=1e-9"])))
        told.append(caught.value.problems[-1])
        assert "run the same command again" not in str(caught.value)
        assert "last good checkpoint" not in str(caught.value)
        newest = max((recipe.parent / "run" / "checkpoints").iterdir())
        assert str(Path("run", "checkpoints", newest.name)) in told[-1].rule
        shutil.rmtree(newest)
    assert "the run then continues from run/checkpoints/step-0000000" in told[0].remedy
    assert told[1].remedy == "lower `training.optimizer.lr` or `training.clip`, and name another `output`"


def test_a_full_disk_in_the_middle_is_survived(recipe: Path, trained: Path, arm: Callable[[str], None]) -> None:
    arm("save.after_file:1=full,save.after_file:2=full")
    events = list(run(load_recipe(recipe, [OFTEN])))
    missed = [e for e in events if isinstance(e, NotSaved)]
    assert [e.step for e in missed] == [1, 2]
    assert "No space left" in missed[0].why
    assert weights(recipe.parent / "run") == weights(trained / "run")


def test_a_disk_that_stays_full_ends_the_run(recipe: Path, arm: Callable[[str], None]) -> None:
    arm("save.before_manifest=full")
    with pytest.raises(ResourceError, match="No space left"):
        list(run(load_recipe(recipe)))
    assert not (recipe.parent / "run" / "artefact").exists()
    assert list((recipe.parent / "run" / "checkpoints").iterdir()) == []


# patience ---------------------------------------------------------------------------------------------------------------


def test_patience_of_the_whole_stops_the_run(recipe: Path) -> None:
    settings = ["training.epochs=30", "training.patience=1", "training.evaluate_every=2"]
    finished = finish(recipe, *settings)
    assert finished.why == "patience"
    assert finished.step < 300
    assert finished.best < finished.step
    assert finish(recipe, *settings).why == "done"


@pytest.mark.parametrize("more", ["3", "null"])
def test_a_run_with_more_patience_than_it_stopped_with_goes_on(recipe: Path, more: str) -> None:
    settings = ["training.epochs=8", "training.evaluate_every=2"]
    short = finish(recipe, *settings, "training.patience=1")
    assert short.why == "patience"
    events = list(run(load_recipe(recipe, [*settings, f"training.patience={more}"])))
    started, long = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(long, Finished)
    assert (started.resumed, started.complete) == (short.step, False)
    assert long.step > short.step
    whole = finish(recipe, *settings, f"training.patience={more}", "output=whole")
    assert (whole.step, whole.why) == (long.step, long.why)
    assert weights(recipe.parent / "whole") == weights(recipe.parent / "run")


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Trains, each step taking a minute, in processes of which each begins at another time."""
    clock = [0.0]
    monkeypatch.setattr("manyheads.train.allowance.monotonic", lambda: clock[0])

    def train(recipe: Path, *overrides: str, steps: int = 999) -> Finished | None:
        clock[0] += 1e6
        walk = run(load_recipe(recipe, ["training.evaluate_every=2", *overrides]))
        for event in walk:
            if isinstance(event, Progress):
                clock[0] += 60
                if event.step == steps:
                    walk.close()
                    return None
        return event if isinstance(event, Finished) else None

    return train


@pytest.mark.parametrize("left", [0, 4])
def test_a_run_ends_before_the_evaluation_that_would_come_too_late(
    recipe: Path, minutes: Callable[..., Finished], left: int
) -> None:
    """The time of a process that was killed counts; with more time the run goes on to the same bits."""
    if left:
        minutes(recipe, OFTEN, "training.minutes=7", steps=left)
    short = minutes(recipe, OFTEN, "training.minutes=7")
    assert (short.why, short.step) == ("time", 6)
    assert {r.step for r in short.records if r.split == "dev"} >= {2, 4, 6}
    assert minutes(recipe, "training.minutes=7.5").why == "done"
    longer = minutes(recipe, "training.minutes=10")
    assert (longer.why, longer.step) == ("time", 10)
    assert minutes(recipe, "training.minutes=null").why == "steps"
    assert minutes(recipe, "output=whole").step == 20
    assert weights(recipe.parent / "whole") == weights(recipe.parent / "run")


def test_time_for_all_steps_is_no_limit(recipe: Path, minutes: Callable[..., Finished]) -> None:
    """The last evaluation has none after it."""
    assert minutes(recipe, "training.minutes=20").why == "steps"


def test_a_task_without_patience_leaves_the_mixture(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("mood: {type", "mood: {patience: 1, type"))
    events = list(run(load_recipe(recipe, ["training.epochs=6", "training.evaluate_every=4"])))
    [retired] = [e for e in events if isinstance(e, Retired)]
    assert retired.task == "mood"
    after = events[events.index(retired) :]
    assert not any("mood" in e.rows for e in after if isinstance(e, Progress))
    assert any("names" in e.rows for e in after if isinstance(e, Progress))


def test_when_every_task_has_left_the_run_is_complete(recipe: Path) -> None:
    for task in ("mood: {", "names: {"):
        recipe.write_text(recipe.read_text().replace(task, f"{task}patience: 1, "))
    recipe.write_text(recipe.read_text().replace("  likeness:\n", "  likeness:\n    patience: 1\n"))
    settings = ["training.epochs=40", "training.evaluate_every=2"]
    finished = finish(recipe, *settings)
    assert finished.why == "patience"
    assert finish(recipe, *settings).why == "done"


# data sets of several tasks ---------------------------------------------------------------------------------------------

SHARED = """\
output: run
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 32, dropout: 0.0}}
data:
  reviews: {{train: reviews.jsonl, text: text}}
tasks:
  mood: {{type: classification, path: [encoder], dropout: 0.0, data: {{from: reviews, label: mood}}}}
  stars: {{type: regression, path: [encoder], dropout: 0.0, data: {{from: reviews, label: stars}}}}
training: {{epochs: 1, batch: {{rows: 4}}, device: cpu}}
"""


def test_one_data_set_trains_two_heads_in_one_pass(place: Path, tiny: Path) -> None:
    rows = [{"text": f"good {i}", "mood": ["up", None][i % 2], "stars": [None, 2.0][i % 2]} for i in range(7)]
    rows.append({"text": "bad", "mood": "down", "stars": 1.0})
    (place / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "recipe.yaml").write_text(SHARED.format(encoder=tiny))
    passes = 0

    def count(module: torch.nn.Module, *_: object) -> None:
        nonlocal passes
        passes += type(module).__name__ == "BertModel"

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    try:
        progress = [e for e in run(load_recipe("recipe.yaml")) if isinstance(e, Progress)]
    finally:
        hook.remove()
    assert passes == len(progress) == 2  # one for each batch of four rows, for both heads
    assert sum(p.items.get("mood", 0) for p in progress) == 5  # a missing label is no item
    assert sum(p.items.get("stars", 0) for p in progress) == 4
    assert all(p.rows == {"reviews": 4} for p in progress)


FORMATS = """\
output: run
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 32}}
defaults: {{path: [encoder]}}
data:
  orders: {{format: slots, train: orders}}
tasks:
  grammar: {{type: classification, data: {{train: cola.tsv, columns: [source, label, star, sentence], text: sentence}}}}
  facts: {{type: classification, data: {{format: superglue, train: boolq.jsonl, text: question, pair: passage}}}}
  names: {{type: tagging, scheme: IOB1, data: {{format: conll, train: eng.train}}}}
  speech: {{type: tagging, scheme: none, data: {{train: tree.conllu}}}}
  intent: {{type: classification, data: {{from: orders}}}}
  slots: {{type: tagging, data: {{from: orders}}}}
training: {{epochs: 1, batch: {{rows: 4}}, device: cpu}}
"""


def test_data_sets_of_many_formats_train_in_one_run(place: Path, tiny: Path) -> None:
    """As GLUE, SuperGLUE, CoNLL-2003, Universal Dependencies and SNIPS have them."""
    (place / "orders").mkdir()
    facts = [{"question": "is rome a cat", "passage": "the cat in rome", "label": i == 0} for i in range(2)]
    files = {
        "cola.tsv": "x\t1\t\tthe cat\nx\t0\t*\tcat the\n",
        "boolq.jsonl": "".join(json.dumps(fact) + "\n" for fact in facts),
        "eng.train": "-DOCSTART- -X- -X- O\n\nanna NNP B-NP I-PER\nrome NNP B-NP I-LOC\n",
        "tree.conllu": "# text = good dog\n1\tgood\tgood\tADJ\tJJ\t_\t2\tamod\t_\t_\n2\tdog\tdog\tNOUN\tNN\t_\t0\troot\t_\t_\n",
        "orders/seq.in": "song by anna\na film\n",
        "orders/seq.out": "O O B-artist\nO O\n",
        "orders/label": "play\nshow\n",
    }
    for name, text in files.items():
        (place / name).write_text(text)
    (place / "recipe.yaml").write_text(FORMATS.format(encoder=tiny))
    items: Counter[str] = Counter()
    for event in run(load_recipe("recipe.yaml")):
        if isinstance(event, Progress):
            items.update(event.items)
    assert items == {"grammar": 2, "facts": 2, "names": 2, "speech": 2, "intent": 2, "slots": 5}
