"""A run that is killed, at named points and at random ones, goes on and ends in the very same bits."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from manyheads import failpoints
from manyheads.cli.app import run

OFTEN = "training.checkpoint.every_steps=2"
KILLED = -signal.SIGKILL


def child(recipe: Path, points: str = "", kill_after: float | None = None) -> int:
    """Train in a process of its own, forked from this one so that nothing is imported again; its exit code.

    `points` are failpoints; after `kill_after` seconds it gets SIGKILL. A negative code is the signal that ended it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks in a process with threads
        number = os.fork()
    if number == 0:
        _train(recipe, points)

    def kill(signum: int, frame: FrameType | None) -> None:
        os.kill(number, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, kill_after or 0)
    try:
        _, status = os.waitpid(number, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return os.waitstatus_to_exitcode(status)


def _train(recipe: Path, points: str) -> NoReturn:
    """Never returns: the test runner must not go on in a second process."""
    code = 99
    sys.settrace(None)  # coverage of a process that is killed is lost
    try:
        os.environ[failpoints.VARIABLE] = points
        failpoints.forget()
        with (recipe.parent / "log.txt").open("a") as log:
            sys.stdout = sys.stderr = log
            code = run(["train", str(recipe), OFTEN])
    finally:
        os._exit(code)


def weights(folder: Path) -> dict[str, str]:
    names = ["records.jsonl", "artefact/model.safetensors", "artefact/encoder/model.safetensors", "artefact/labels.json"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def left_over(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith((".tmp-", ".old-"))]


def test_three_kills_and_the_same_weights(recipe: Path, trained: Path) -> None:
    """In a step, in the middle of a save, and between the last checkpoint and the artefact."""
    assert child(recipe, "train.step:13=kill") == KILLED
    assert child(recipe, "save.before_manifest:3=kill") == KILLED
    assert left_over(recipe.parent / "run")
    assert child(recipe, "train.step:2=term") == 75
    assert child(recipe, "save.before_rename:2=kill") == KILLED
    assert child(recipe) == 0
    assert weights(recipe.parent / "run") == weights(trained / "run")
    assert not left_over(recipe.parent / "run" / "checkpoints")
    assert child(recipe) == 0  # nothing is left to do


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "save.after_file:2",
        "save.before_manifest:1",
        "save.before_rename:2",
        "save.after_rename:1",
        "save.prune:1",
        "train.step:1",
        "train.step:20",
    ],
)
def test_a_kill_at_every_point_of_a_save(recipe: Path, trained: Path, point: str) -> None:
    assert child(recipe, f"{point}=kill") == KILLED
    assert child(recipe, f"{point}=kill") in (KILLED, 0)
    assert child(recipe) == 0
    assert weights(recipe.parent / "run") == weights(trained / "run")


@pytest.mark.slow
def test_a_kill_every_third_step(recipe: Path, trained: Path) -> None:
    codes = [child(recipe, "train.step:3=kill") for _ in range(12)]
    assert codes.count(KILLED) >= 8
    assert child(recipe) == 0
    assert weights(recipe.parent / "run") == weights(trained / "run")


@pytest.mark.slow
def test_twenty_kills_at_random_moments(recipe: Path, trained: Path) -> None:
    """Wherever it is: reading, encoding, training, evaluating, saving. A run that came to its end is begun anew."""
    began = time.monotonic()
    assert child(recipe) == 0
    whole = time.monotonic() - began
    draw, kills, ends = random.Random(20), 0, 0
    shutil.rmtree(recipe.parent / "run")
    while kills < 20:
        code = child(recipe, kill_after=draw.uniform(0.05, 1.0) * whole)
        assert code in (KILLED, 0)
        kills += code == KILLED
        if code == 0:
            ends += 1
            assert weights(recipe.parent / "run") == weights(trained / "run")
            shutil.rmtree(recipe.parent / "run")
    assert child(recipe) == 0
    assert weights(recipe.parent / "run") == weights(trained / "run")
