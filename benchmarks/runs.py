"""Many training runs, two at a time, each in a process of its own with one thread; a later call goes on where one stopped.

A job is a group, a name, a seed and a recipe; its result a line of FOLDER/results.jsonl: the job without the recipe, steps,
processor seconds of all steps and of the median one, wall seconds of the whole run, rows by data set, the dev scores after the
last step, and those of every evaluation as a curve.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any


def run_jobs(folder: Path, jobs: Iterable[Mapping[str, Any]]) -> None:
    """The jobs that have no result in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {key_of(result) for result in results(folder)}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: _launch(folder, job), [_placed(folder, job) for job in jobs if key_of(job) not in done]))


def main(name: str, run: Callable[[Path], None], table: Callable[[Path], str]) -> None:
    """`run [FOLDER]`, unless said otherwise, or `table [FOLDER]`; the folder is runs/NAME where none is given."""
    action, *rest = sys.argv[1:] or ["run"]
    folder = Path(rest[0] if rest else f"runs/{name}")
    if action == "table":
        print(table(folder))
    elif action == "run":
        run(folder)
    else:
        sys.exit(f"`run` or `table` is wanted, and then perhaps a folder; found {action!r}")


def results(folder: Path) -> list[dict[str, Any]]:
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def key_of(job: Mapping[str, Any]) -> tuple[str, str, int]:
    return job["group"], job["name"], job["seed"]


def spread(values: list[float]) -> str:
    """The mean of the seeds, and half of what lies between the least and the greatest."""
    half = (max(values) - min(values)) / 2
    return f"{statistics.mean(values):.3f} ± {half:.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _placed(folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """The job with a folder of its own for what it writes."""
    place = "-".join(map(str, key_of(job))).replace(" ", "-").replace(":", "").replace(",", "")
    return {**job, "recipe": {**job["recipe"], "output": str(folder.absolute() / "out" / place)}}


def _launch(folder: Path, job: Mapping[str, Any]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.runs", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        print(f"{job['name']} (seed {job['seed']}) failed with code {done.returncode}, saying: {told[0]}", flush=True)
        return
    with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(done.stdout.splitlines()[-1] + "\n")
    print(f"{job['group']}: {job['name']} (seed {job['seed']})", flush=True)


def _one(line: str) -> None:
    """In a process of its own: train, and print the scores and the processor time of a step."""
    from manyheads.api import recipe_from
    from manyheads.cli.training import keep_memory
    from manyheads.run import run
    from manyheads.train.baseline import SUFFIX
    from manyheads.train.events import Evaluated, Finished
    from manyheads.train.state import Progress

    keep_memory()
    job = json.loads(line)
    began = time.perf_counter()
    times, scores, rows, curve = [], {}, {}, []
    for event in run(recipe_from(job["recipe"])):
        if isinstance(event, Progress):
            times.append(time.process_time())  # one thread: what else runs does not count
            for name, count in event.rows.items():
                rows[name] = rows.get(name, 0) + count
        elif isinstance(event, Evaluated):
            scores = {r.key: r.value for r in event.records if r.split == "dev"}  # the last one counts, after the last step
            curve.append(scores)
        elif isinstance(event, Finished):
            scores |= {r.key: r.value for r in event.records if r.split == "dev" and r.metric.endswith(SUFFIX)}
    steps = [b - a for a, b in pairwise(times)]
    found = {
        "steps": len(times),
        "seconds": sum(steps),
        "step": statistics.median(steps),
        "wall": time.perf_counter() - began,
        "rows": rows,
        "scores": scores,
        "curve": curve,
    }
    print(json.dumps({**{k: job[k] for k in ("group", "name", "seed")}, **found}))


if __name__ == "__main__":
    _one(sys.argv[1])
