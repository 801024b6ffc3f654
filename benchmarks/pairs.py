"""SST-2, MNLI and SQuAD on one MiniLM: each alone, each pair, all three; dev scores, three seeds, beside a published study's.

    python -m benchmarks.pairs run [FOLDER]       # all runs that FOLDER (default runs/pairs) does not hold yet, two at a time
    python -m benchmarks.pairs table [FOLDER]     # Markdown from what it holds

Schedules are those of the recipe `pairs`: classification sets are shuffled together, and with SQuAD they come between its two
halves. From $MANYHEADS_DATA (default ../shared/data): 4,000 training rows of SST-2, 3,000 of MNLI, 1,000 questions on 17
articles of SQuAD; dev rows are those of SST-2, every fourth of MNLI (matched), and XQuAD's English part of SQuAD's dev set.
Every run goes twice over its rows in batches of 32, so that a task sees as many of its rows alone as together. Windows are
of 384 pieces, as in the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.runs import main, results, run_jobs, spread

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute()
SEEDS = (13, 14, 15)
PASSES, ROWS, RATE = 2, 32, 2e-4
LIMITS = {"SST-2": 4000, "MNLI": 3000, "SQuAD": 1000}
FOURTH = "mnli.dev.jsonl"  # what is left of a dev set that would take longer to score than the training takes
TASKS: dict[str, dict[str, Any]] = {
    "SST-2": {
        "type": "classification",
        "data": {"format": "glue", "train": f"{DATA}/glue/SST-2/train.tsv", "dev": f"{DATA}/glue/SST-2/dev.tsv"},
    },
    "MNLI": {
        "type": "classification",
        "data": {
            "format": "glue", "train": f"{DATA}/nli/mnli_train_10k.jsonl", "dev": FOURTH, "max_length": 96,
        },
    },
    "SQuAD": {
        "type": "question_answering",
        "metrics": ["exact_match"],
        "data": {
            "format": "squad", "train": f"{DATA}/squad/train-17articles.json", "dev": f"{DATA}/squad/xquad.en.json",
            "stride": 32,
        },
    },
}  # fmt: skip
METRICS = {"SST-2": ("accuracy",), "MNLI": ("accuracy",), "SQuAD": ("answer_f1", "exact_match")}
PUBLISHED = {
    ("SST-2 + MNLI", "SST-2"): "+2.75",
    ("SST-2 + MNLI", "MNLI"): "+0.73",
    ("SST-2 + SQuAD", "SST-2"): "+1.26",
    ("SST-2 + SQuAD", "SQuAD"): "+0.74",
    ("MNLI + SQuAD", "MNLI"): "-0.22",
}
"""Points that a task gained on BERT-base, of one run each; of what else there is the study says nothing."""


def mixture(tasks: Sequence[str]) -> dict[str, Any]:
    others = [name for name in tasks if name != "SQuAD"]
    if "SQuAD" not in tasks or not others:
        return {"sampling": "proportional"}
    half = {"datasets": ["SQuAD"], "passes": 0.5}
    return {"sampling": "phases", "phases": [half, {"datasets": others, "passes": 1}, half]}


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (DATA / "nli" / "mnli_dev_matched.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / FOURTH).write_text("".join(lines[::4]), encoding="utf-8")


def job(folder: Path, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    found = {name: {"path": ["encoder"], **TASKS[name]} for name in tasks}
    for name, task in found.items():
        task["data"] = {**task["data"], "limit": LIMITS[name], "dev": str(folder.absolute() / task["data"]["dev"])}
    recipe = {
        "seed": seed,
        "modules": {"encoder": {"type": "pretrained", "name": "minilm", "max_length": 384}},
        "tasks": found,
        "mixture": mixture(tasks),
        "training": {
            "epochs": PASSES, "batch": {"rows": ROWS}, "optimizer": {"lr": RATE, "head_lr": 1e-3}, "evaluate_every": 10**6,
            "threads": 1, "device": "cpu",
        },
    }  # fmt: skip
    return {"group": "alone" if len(tasks) == 1 else "together", "name": " + ".join(tasks), "seed": seed, "recipe": recipe}


def jobs(folder: Path) -> list[dict[str, Any]]:
    """The long runs of each seed first."""
    chosen = [tasks for count in (3, 2, 1) for tasks in reversed(list(combinations(TASKS, count)))]
    return [job(folder, tasks, seed) for seed in SEEDS for tasks in chosen]


def run(folder: Path) -> None:
    prepare(folder)
    run_jobs(folder, jobs(folder))


def score(result: Mapping[str, Any], task: str, metric: str) -> float:
    """In points; 0 where it is undefined."""
    value = result["scores"].get(f"{task}/{task}/dev/{metric}")
    return 0.0 if value is None or value != value else 100 * value


def table(folder: Path) -> str:
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for result in results(folder):
        runs.setdefault(result["name"], {})[result["seed"]] = result
    lines = ["| run | task | alone | together | together − alone, by seed | published |", "|---|---|---|---|---|---|"]
    for count in (2, 3):
        for tasks in combinations(TASKS, count):
            lines += _rows(" + ".join(tasks), tasks, runs)
    hours = sum(result["seconds"] for found in runs.values() for result in found.values()) / 3600
    return "\n".join([*lines, f"\nProcessor time of all steps: {hours:.1f} h."])


def _rows(run: str, tasks: Sequence[str], runs: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[str]:
    """The lines of one run, for the seeds of which both it and the task alone are there."""
    lines = []
    for task in tasks:
        seeds = [seed for seed in SEEDS if seed in runs.get(run, {}) and seed in runs.get(task, {})]
        for metric in METRICS[task] if seeds else ():
            alone, joint = ([score(runs[name][seed], task, metric) for seed in seeds] for name in (task, run))
            gains = ", ".join(f"{b - a:+.2f}" for a, b in zip(alone, joint, strict=True))
            told = PUBLISHED.get((run, task), "–") if metric == METRICS[task][0] else "–"
            lines.append(f"| {run} | {task} ({metric}) | {spread(alone)} | {spread(joint)} | {gains} | {told} |")
    return lines


if __name__ == "__main__":
    main("pairs", run, table)
