"""Two processes train one model: the losses of one process, no hang, and an end for all when one fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SETTINGS = ["modules.encoder.dropout=0.0", *(f"tasks.{t}.dropout=0.0" for t in ("mood", "likeness", "names"))]
UNEVEN = [*SETTINGS, "mixture.tasks_per_step=2", "training.batch.rows=5", "training.clip=null"]


LAUNCHER = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in `folder`; what hangs is ended with all its children, and fails the test."""
    settings: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=240)  # a loaded machine needs a minute to import torch three times
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"it hangs: {err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(
    folder: Path, output: str, *arguments: str, processes: int = 1, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`manyheads train`, under torch's launcher where two processes are wanted."""
    launcher = LAUNCHER if processes == 2 else []
    return launch(folder, *launcher, "-m", "manyheads", "train", "recipe.yaml", f"output={output}", *arguments, **environment)


def records(folder: Path) -> dict[tuple[int, str, str, str], float | None]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    kept = [
        r for r in lines if "spearman" not in r["metric"]
    ]  # equal texts have equal answers but for rounding, which ranks show
    return {(r["step"], r["task"], r["split"], r["metric"]): r["value"] for r in kept}


@pytest.mark.parametrize("weights", [[], ["tasks.likeness.data.weight=score"]], ids=["plain", "weights of rows"])
def test_two_processes_give_the_losses_of_one(recipe: Path, weights: list[str]) -> None:
    place, settings = recipe.parent, [*UNEVEN, *weights]
    one, two = train(place, "one", *settings), train(place, "two", *settings, processes=2)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    first, second = records(place / "one"), records(place / "two")
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert second[key] == (None if value is None else pytest.approx(value, abs=1e-5)), key
    assert two.stdout.count("Scores of step") == 1  # one of them speaks


def test_two_processes_share_the_rows_that_a_teacher_answers(recipe: Path, trained: Path) -> None:
    tasks = ("mood", "likeness", "names")
    told = [f"tasks.{task}.teacher.from={trained / 'run' / 'artefact'}" for task in tasks]
    settings = [*UNEVEN, *told, *(f"tasks.{task}.consistency=0.5" for task in tasks)]
    one, two = train(recipe.parent, "one", *settings), train(recipe.parent, "two", *settings, processes=2)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    first, second = records(recipe.parent / "one"), records(recipe.parent / "two")
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert second[key] == (None if value is None else pytest.approx(value, abs=1e-5)), key


BALANCES = {
    "rows": ["balance.aggregation.type=upgrad"],
    "trunk": ["balance.aggregation.type=upgrad", "balance.aggregation.level=trunk"],
    "coordinates": ["balance.aggregation.type=graddrop"],
    "norms": ["balance.weighting.type=gradnorm"],
    "losses": ["balance.weighting.type=geometric"],
    "looks": ["balance.cosines_every=3"],
}


@pytest.mark.parametrize("balance", list(BALANCES))
def test_two_processes_balance_as_one_does(recipe: Path, balance: str) -> None:
    place, settings = recipe.parent, [*UNEVEN, *BALANCES[balance]]
    one, two = train(place, "one", *settings), train(place, "two", *settings, processes=2)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    first, second = records(place / "one"), records(place / "two")
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert second[key] == (None if value is None else pytest.approx(value, abs=1e-4 if "cosine" in key[-1] else 1e-5)), key


def test_fewer_rows_than_processes(recipe: Path) -> None:
    place = recipe.parent
    tiny = ["training.batch.rows=1", "training.epochs=1", *SETTINGS]
    one, two = train(place, "one", *tiny), train(place, "two", *tiny, processes=2)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    first, second = records(place / "one"), records(place / "two")
    for key, value in first.items():
        assert second[key] == (None if value is None else pytest.approx(value, abs=1e-5)), key


def test_two_processes_resume(recipe: Path) -> None:
    place = recipe.parent
    assert train(place, "whole", *UNEVEN, processes=2).returncode == 0
    stopped = train(place, "parts", *UNEVEN, processes=2, MANYHEADS_FAILPOINTS="train.step:4=term")
    assert stopped.returncode != 0
    assert "saved in" in stopped.stderr
    again = train(place, "parts", *UNEVEN, processes=2)
    assert again.returncode == 0, again.stderr
    assert "continuing after step 4" in again.stderr
    assert (place / "parts" / "records.jsonl").read_bytes() == (place / "whole" / "records.jsonl").read_bytes()


def test_a_full_disk_is_known_to_both(recipe: Path) -> None:
    done = train(
        recipe.parent,
        "run",
        *UNEVEN,
        "training.checkpoint.every_steps=1",
        processes=2,
        MANYHEADS_FAILPOINTS="save.after_file:1=full",
    )
    assert done.returncode == 0, done.stderr
    assert "step 1 is not saved" in done.stderr


FAIL = """\
import os, sys
if os.environ["RANK"] == "1":
    os.environ["MANYHEADS_FAILPOINTS"] = "{points}"
from manyheads.cli import main
main(["train", "recipe.yaml"])
"""


@pytest.mark.parametrize("points", ["train.step:3=raise", "train.step:3=kill"])
def test_one_process_that_fails_ends_all(recipe: Path, points: str) -> None:
    script = recipe.parent / "fail.py"
    script.write_text(FAIL.format(points=points))
    done = launch(recipe.parent, *LAUNCHER, str(script))
    assert done.returncode != 0
    assert "bug of manyheads" not in done.stderr
    assert not (recipe.parent / "run" / "artefact").exists()
