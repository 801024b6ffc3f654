"""`manyheads train`: progress on standard error, the scores on standard output."""

from __future__ import annotations

import ctypes
import json
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from manyheads.cli.training import _tell, keep_memory, last_scores, print_scores, values_of
from manyheads.train.events import Evaluated, NotSaved, Retired, Saved
from manyheads.types import Record

Command = Callable[..., tuple[int, str, str]]


def record(metric: str, value: float, split: str = "test", step: int = 4) -> Record:
    return Record(step, "mood", "reviews", split, metric, value)


def test_training_tells_what_it_does_and_ends_with_a_table(command: Command, recipe: Path) -> None:
    code, out, err = command("train", recipe)
    assert code == 0
    assert "20 steps, in run" in err
    assert "step 10: mood accuracy" in err
    assert "saved run/checkpoints/step-00000020" in err
    assert "manyheads predict run/artefact" in err
    assert out.startswith("Scores of step ")
    rows = [line.split() for line in out.splitlines()]
    assert ["task", "rows", "metric", "score", "majority"] in rows
    assert any(row[:3] == ["mood", "test", "accuracy"] and len(row) == 5 for row in rows)


def test_progress_shows_the_loss_of_each_task(command: Command, recipe: Path) -> None:
    """Though a step has trained only one of them."""
    _, out, err = command("train", recipe)
    [line] = [line for line in err.splitlines() if line.startswith("step 20/20  ")]
    number = r"\d+\.\d{3}"
    assert re.fullmatch(
        rf"step 20/20  mood {number}  likeness {number}  names {number}  lr \d\.\de-0\d  \d+ rows/s  0:00 left", line
    )
    assert "rows/s" not in out


def test_missing_labels_are_counted_in_training_and_leave_other_rows_out_of_the_scores(command: Command, recipe: Path) -> None:
    head, *lines = Path("mood.csv").read_text().splitlines()
    rows = [line.rpartition(",")[0] + "," if i % 8 == 0 else line for i, line in enumerate(lines)]
    Path("mood.csv").write_text("\n".join([head, *rows]) + "\n")
    Path("test.csv").write_text("text\nthe film at rome\n")
    named = "missing: [''], train: mood.csv, split: {dev: 0.2}, test: test.csv"
    recipe.write_text(recipe.read_text().replace("train: mood.csv, split: {dev: 0.2, test: 0.2}", named))
    _, out, _ = command("check", recipe, "--json")
    assert 0 < json.loads(out)["unlabelled"]["mood"] <= 5, "of 40 rows, a fifth of them set aside"
    code, out, err = command("train", recipe, "training.epochs=1", "--json")
    assert code == 0
    assert "warning: mood: no test row has a label in column 'label', so none is scored\n" in err
    splits = {key.split("/")[2] for key in json.loads(out)["scores"] if key.startswith("mood/")}
    assert splits == {"dev"}


def test_json_is_all_there_is_on_standard_output(command: Command, recipe: Path) -> None:
    code, out, _ = command("train", recipe, "--json", "training.epochs=1")
    found = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert found["folder"] == "run"
    assert found["best"] == 10
    assert set(found["scores"]) >= {"mood/mood/dev/accuracy", "mood/mood/test/accuracy", "mood/mood/test/accuracy@majority"}


def test_a_finished_run_shows_its_table_again(
    command: Command, trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(trained, place / "copy"))
    monkeypatch.chdir(copy)
    code, out, err = command("train", "recipe.yaml")
    assert code == 0
    assert "nothing is left to do in run" in err
    assert out.startswith("Scores of step ")
    assert command("train", "recipe.yaml", "--fresh")[0] == 2


def test_one_of_several_processes_speaks(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    code, out, err = command("train", recipe, "training.epochs=1")
    assert (code, out, err) == (0, "", "")


def test_warnings_of_the_recipe_are_shown(command: Command, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("modules:\n", "modules:\n  spare: {type: pool}\n"))
    _, _, err = command("train", recipe, "training.steps=1")
    assert "warning: " in err
    assert "spare" in err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["training.patience=1", "training.epochs=30"], "nothing has got better for as long as the recipe waits"),
        (["training.minutes=1e-9"], "the next evaluation would come after `training.minutes`"),
    ],
)
def test_why_a_run_ended_early_is_told(command: Command, recipe: Path, settings: list[str], told: str) -> None:
    code, _, err = command("train", recipe, "training.evaluate_every=2", *settings)
    [line] = [line for line in err.splitlines() if line.startswith("the run ended after step ")]
    assert (code, told in line) == (0, True)
    assert "the run ended" not in command("train", recipe, "output=whole")[2]


def test_events_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(Retired(3, "mo\x1bod"))
    _tell(NotSaved(4, "the disk is full"))
    _tell(Saved(5, Path("run/x")))
    _tell(Evaluated(6, [record("loss", 1.0, "dev"), record("accuracy", 0.5, "dev")], ["*"]))
    _tell(Evaluated(7, []))
    _tell(Evaluated(8, [record("accuracy", 0.5, "dev"), record("accuracy", 1.0, "train"), record("loss", 0.1, "train")]))
    assert capsys.readouterr().err.splitlines() == [
        "step 3: mo\\x1bod leaves the mixture, its patience is spent",
        "warning: step 4 is not saved, the run goes on: the disk is full",
        "saved run/x",
        "step 6: mood accuracy 0.5000  (best so far)",
        "step 7: no dev rows",
        "step 8: mood accuracy 0.5000 (train 1.0000)",
    ]


def test_the_scores_of_one_step() -> None:
    records = [record("loss", 1.0), record("accuracy", 0.5), record("accuracy", 0.4, step=3), record("accuracy", 0.9, "train")]
    assert last_scores(records, 4) == [records[1]]


def test_what_is_undefined_is_a_dash_or_null(capsys: pytest.CaptureFixture[str]) -> None:
    records = [record("spearman", float("nan")), record("spearman@majority", float("nan"))]
    print_scores(records, "Scores")
    assert capsys.readouterr().out.count("–") == 2
    assert values_of(records) == {"mood/reviews/test/spearman": None, "mood/reviews/test/spearman@majority": None}


# memory -----------------------------------------------------------------------------------------------------------------


def test_freed_memory_is_kept_where_the_c_library_can() -> None:
    assert keep_memory() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def absent(name: None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert keep_memory() is False
