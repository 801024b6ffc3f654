"""The benchmark of tasks in pairs: which runs it plans, and what its table makes of their results."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from benchmarks import pairs

SETS = [set(some) for count in (1, 2, 3) for some in combinations(pairs.TASKS, count)]


def test_each_set_of_tasks_has_a_run_a_seed_with_the_settings_of_every_other(tmp_path: Path) -> None:
    jobs = pairs.jobs(tmp_path)
    assert len(pairs.SEEDS) >= 3
    planned = [(job["seed"], set(job["recipe"]["tasks"])) for job in jobs]
    assert all(planned.count((seed, some)) == 1 for seed in pairs.SEEDS for some in SETS)
    assert len(planned) == len(pairs.SEEDS) * len(SETS)
    first = jobs[0]["recipe"]
    for job in jobs:
        recipe = job["recipe"]
        assert (recipe["seed"], recipe["modules"], recipe["training"]) == (job["seed"], first["modules"], first["training"])
        assert all(task == first["tasks"][name] for name, task in recipe["tasks"].items())


def scores(tasks: set[str], seed: int) -> dict[str, float]:
    """A task gains two points in company, and one more a seed."""
    gain = 0.02 + 0.01 * (seed - pairs.SEEDS[0]) if len(tasks) > 1 else 0.0
    return {f"{task}/{task}/dev/{metric}": 0.5 + gain for task in tasks for metric in pairs.METRICS[task]}


def result(job: dict[str, Any]) -> dict[str, Any]:
    told = {key: job[key] for key in ("group", "name", "seed")}
    return {**told, "seconds": 36.0, "scores": scores(set(job["recipe"]["tasks"]), job["seed"])}


def test_gains_stand_by_seed_beside_what_the_study_says(tmp_path: Path) -> None:
    jobs = pairs.jobs(tmp_path)
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(result(job)) + "\n" for job in jobs))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in pairs.table(tmp_path).splitlines()]
    rows = {(row[0], row[1]): row[2:] for row in lines if row[0].count("+")}
    assert rows["SST-2 + MNLI", "SST-2 (accuracy)"] == ["50.000 ± 0.000", "53.000 ± 1.000", "+2.00, +3.00, +4.00", "+2.75"]
    assert rows["SST-2 + SQuAD", "SQuAD (answer_f1)"][2:] == ["+2.00, +3.00, +4.00", "+0.74"]
    told = {(run, re.sub(r" \(.*", "", task)): row[-1] for (run, task), row in rows.items() if row[-1] != "–"}
    assert told == pairs.PUBLISHED
    assert len(rows) == 2 * 3 + 2 + 3 + 1, "every task of every set, and both scores of SQuAD"


@pytest.mark.parametrize("missing", ["SST-2", "SST-2 + MNLI"])
def test_a_seed_without_one_of_both_runs_has_no_gain(tmp_path: Path, missing: str) -> None:
    kept = [job for job in pairs.jobs(tmp_path) if (job["name"], job["seed"]) != (missing, pairs.SEEDS[1])]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(result(job)) + "\n" for job in kept))
    [row] = [line for line in pairs.table(tmp_path).splitlines() if line.startswith("| SST-2 + MNLI | SST-2 ")]
    assert "| +2.00, +4.00 |" in row
