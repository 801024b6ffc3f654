"""Eight tasks together on one MiniLM, beside each of them alone with the same rows: dev scores, three seeds.

    python -m benchmarks.together run [FOLDER]       # all runs that FOLDER (default runs/together) does not hold yet
    python -m benchmarks.together table [FOLDER]     # Markdown from what it holds

The six complete tasks of GLUE, WNUT-17 and COPA, read from $MANYHEADS_DATA (default ../shared/data); of SST-2 12,000 training
rows. Every run goes twice over its rows in batches of 32, one batch a step; a task sees as many of its rows alone as together.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import main, results, run_jobs, spread

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute()
SEEDS = (13, 14, 15)
PASSES, ROWS, RATE, LENGTH = 2, 32, 1e-4, 96
SST2_ROWS = 12_000
GLUE = {"CoLA": "mcc", "SST-2": "accuracy", "MRPC": "accuracy", "STS-B": "spearman", "RTE": "accuracy", "WNLI": "accuracy"}
METRICS = {**GLUE, "WNUT-17": "span_f1", "COPA": "accuracy"}


def task(name: str) -> dict[str, Any]:
    """The task as the recipe has it."""
    if name == "WNUT-17":
        files = {"train": f"{DATA}/wnut17/wnut17train.conll", "dev": f"{DATA}/wnut17/emerging.dev.conll"}
        return {"type": "tagging", "data": {"format": "conll", **files}}
    if name == "COPA":
        files = {"train": f"{DATA}/superglue/COPA/train.jsonl", "dev": f"{DATA}/superglue/COPA/val.jsonl"}
        columns = {"text": "premise", "pair": "asked", "choices": "choices"}
        return {"type": "multiple_choice", "data": {"format": "superglue", **files, **columns}}
    data: dict[str, Any] = {"format": "glue", "train": f"{DATA}/glue/{name}/train.tsv", "dev": f"{DATA}/glue/{name}/dev.tsv"}
    if name == "STS-B":
        return {"type": "regression", "low": 0, "high": 5, "data": {**data, "pair": "pair"}}
    if name == "SST-2":
        data["limit"] = SST2_ROWS
    return {
        "type": "classification",
        "metric": GLUE[name],
        "data": data if name in ("CoLA", "SST-2") else {**data, "pair": "pair"},
    }


def job(group: str, name: str, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    recipe = {
        "seed": seed,
        "modules": {"encoder": {"type": "pretrained", "name": "minilm", "max_length": LENGTH}},
        "tasks": {name: {"path": ["encoder"], **task(name)} for name in tasks},
        "training": {
            "epochs": PASSES, "batch": {"rows": ROWS}, "optimizer": {"lr": RATE, "head_lr": 1e-3}, "evaluate_every": 10**6,
            "threads": 1, "device": "cpu",
        },
    }  # fmt: skip
    return {"group": group, "name": name, "seed": seed, "recipe": recipe}


def jobs() -> list[dict[str, Any]]:
    """The long runs first, so that two cores end at about the same time."""
    found = []
    for seed in SEEDS:
        found.append(job("together", "all", list(METRICS), seed))
        found += [job("alone", name, [name], seed) for name in METRICS]
    return found


def score(result: Mapping[str, Any], name: str, suffix: str = "") -> float:
    """0 where it is undefined, as a constant answer leaves it."""
    value = result["scores"].get(f"{name}/{name}/dev/{METRICS[name]}{suffix}")
    return 0.0 if value is None or value != value else value


def table(folder: Path) -> str:
    found = results(folder)
    joint = {r["seed"]: r for r in found if r["group"] == "together"}
    lines = ["| task | metric | majority | alone | together | together − alone, by seed |", "|---|---|---|---|---|---|"]
    for name, metric in METRICS.items():
        alone = {r["seed"]: r for r in found if (r["group"], r["name"]) == ("alone", name)}
        seeds = [seed for seed in SEEDS if seed in joint and seed in alone]
        if not seeds:
            continue
        one, all_ = ([score(runs[seed], name) for seed in seeds] for runs in (alone, joint))
        gains = ", ".join(f"{b - a:+.3f}" for a, b in zip(one, all_, strict=True))
        constant = score(joint[seeds[0]], name, "@majority")
        lines.append(f"| {name} | {metric} | {constant:.3f} | {spread(one)} | {spread(all_)} | {gains} |")
    hours = [sum(r["seconds"] for r in found if r["group"] == group) / 3600 for group in ("together", "alone")]
    steps = statistics.median(r["step"] for r in joint.values()) if joint else 0.0
    lines.append(
        f"\nProcessor time of the steps: together {hours[0]:.1f} h, alone {hours[1]:.1f} h; a step together {steps:.2f} s."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main("together", lambda folder: run_jobs(folder, jobs()), table)
