"""Six tasks of very unequal size on BERT-tiny: every sampling, every weighting, every aggregation; dev scores and cost a step.

    python -m benchmarks.mixing run [FOLDER]       # all runs that FOLDER (default runs/mixing) does not hold yet, two at a time
    python -m benchmarks.mixing table [FOLDER]     # Markdown from what it holds

RTE, CoLA, MRPC, STS-B, COPA (a row for each choice: right or wrong) and WNUT-17, read from $MANYHEADS_DATA (default
../shared/data). Samplings run with static weights; weightings and aggregations with proportional sampling. Every run takes as
many batches of 16 rows as two passes over all rows have, four of them a step, with the same optimizer. Two ways are different:
pike's steps have one batch, so it makes four times as many; pike and the bandit learn eight times a pass.
`tuned` is the static baseline: the best, by mean dev score of the first seed, of several tables of weights, trained again with
the second seed.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.runs import main, results, run_jobs, spread

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute()
TASKS = ("rte", "cola", "mrpc", "stsb", "copa", "wnut")
SEEDS = (13, 14)
PASSES = 2  # epochs; a pass over all rows is 386 rounds, 1544 batches
SAMPLINGS: dict[str, dict[str, Any]] = {
    "proportional": {},
    "uniform": {"sampling": "uniform"},
    "temperature 2 (square root)": {"sampling": "temperature", "temperature": 2},
    "temperature 5": {"sampling": "temperature", "temperature": 5},
    "annealed": {"sampling": "annealed", "temperature": 5, "over": 2},
    "fixed shares": {"sampling": "shares", "shares": {"rte": 2, "cola": 3, "mrpc": 2, "stsb": 3, "copa": 1, "wnut": 4}},
    "alternating tables": {
        "sampling": "alternating",
        "tables": [{"rte": 1, "mrpc": 1, "stsb": 1, "copa": 1}, {"cola": 1, "wnut": 1}],
    },
    "round robin": {"sampling": "round_robin"},
    "sequential": {"sampling": "sequential"},
    "main: cola, 2 others each": {"sampling": "main", "main": "cola", "ratio": 2.0},
    "unimax": {"sampling": "unimax", "repeats": 5.0, "over": 2},
    "half of cola, the rest, rest of cola": {
        "sampling": "phases",
        "phases": [
            {"datasets": ["cola"], "passes": 0.5},
            {"datasets": ["rte", "mrpc", "stsb", "copa", "wnut"], "passes": 1.0},
            {"datasets": ["cola"], "passes": 0.5},
        ],
    },
    "jump start: wnut, rte, mrpc for 100 rounds": {
        "sampling": "phases",
        "phases": [
            {"sampling": "round_robin", "datasets": ["wnut", "rte", "mrpc"], "rounds": 100},
            {"sampling": "proportional"},
        ],
    },
    "bandit": {"sampling": "bandit", "rate": 0.3, "temperature": 0.1},
    "pike": {"sampling": "pike", "rate": 0.2, "epoch": 193},
}
WEIGHTINGS = ("uncertainty", "dwa", "rlw", "gradnorm", "famo", "imtl_l", "geometric", "stch", "db_mtl")
AGGREGATIONS = (
    "mean", "upgrad", "mgda", "pcgrad", "cagrad", "nash_mtl", "imtl_g", "aligned_mtl", "gradvac", "graddrop", "config",
    "dualproj", "fairgrad",
)  # fmt: skip
LEVELS = {
    "upgrad at the trunk": {"type": "upgrad", "level": "trunk"},
    "pcgrad at the trunk": {"type": "pcgrad", "level": "trunk"},
}
GUESSES = 6  # tables of static weights that are tried


def recipe(
    folder: Path, mixture: Mapping[str, Any], balance: Mapping[str, Any], weights: Mapping[str, float], seed: int
) -> dict[str, Any]:
    glue = DATA / "glue"

    def tsv(name: str, **columns: Any) -> dict[str, Any]:
        return {"format": "tsv", "train": f"{glue}/{name}/train.tsv", "dev": f"{glue}/{name}/dev.tsv", **columns}

    kinds: dict[str, dict[str, Any]] = {
        "rte": {"type": "classification", "data": tsv("RTE", text="sentence1", pair="sentence2")},
        "cola": {
            "type": "classification", "metric": "mcc",
            "data": tsv("CoLA", columns=["source", "label", "star", "sentence"], text="sentence"),
        },
        "mrpc": {"type": "classification", "data": tsv("MRPC", text="#1 String", pair="#2 String", label="Quality")},
        "stsb": {
            "type": "regression", "low": 0.0, "high": 5.0,
            "data": tsv("STS-B", text="sentence1", pair="sentence2", label="score"),
        },
        "copa": {
            "type": "classification",
            "data": {
                "train": f"{folder}/copa.train.jsonl", "dev": f"{folder}/copa.dev.jsonl", "text": "premise", "pair": "choice",
            },
        },
        "wnut": {
            "type": "tagging",
            "data": {
                "format": "conll", "train": f"{DATA}/wnut17/wnut17train.conll", "dev": f"{DATA}/wnut17/emerging.dev.conll",
            },
        },
    }  # fmt: skip
    opening = "phases" in mixture and "passes" not in mixture["phases"][-1]  # its last phase lasts, and the steps say how long
    steps = PASSES * 1544 if mixture.get("sampling") == "pike" else PASSES * 386 if opening else None
    spec = {"tasks_per_step": 1 if mixture.get("sampling") == "pike" else 4, **mixture}
    return {
        "seed": seed,
        "modules": {"encoder": {"type": "pretrained", "name": "bert-tiny", "max_length": 64}},
        "tasks": {name: {"path": ["encoder"], "weight": weights.get(name, 1.0), **kind} for name, kind in kinds.items()},
        "mixture": spec,
        "balance": dict(balance),
        "training": {
            "epochs": PASSES, "batch": {"rows": 16}, "optimizer": {"lr": 7e-4}, "threads": 1, "device": "cpu",
            "evaluate_every": 48 if mixture.get("sampling") == "bandit" else 10**6,
            **({"steps": steps} if steps else {}),
        },
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """COPA as pairs: premise and question, a choice, and whether it is the right one."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"cause": "What was the cause?", "effect": "What happened as a result?"}
    for split, file in (("train", "train"), ("dev", "val")):
        lines = (DATA / "superglue" / "COPA" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
        with (folder / f"copa.{split}.jsonl").open("w", encoding="utf-8") as out:
            for row in map(json.loads, lines):
                for i in (0, 1):
                    text = f"{row['premise']} {asked[row['question']]}"
                    label = "right" if row["label"] == i else "wrong"
                    out.write(json.dumps({"premise": text, "choice": row[f"choice{i + 1}"], "label": label}) + "\n")


def tables() -> dict[str, dict[str, float]]:
    """Static weights to try: each task's drawn log-uniformly between 1/4 and 4."""
    draw = random.Random(17)
    return {f"static {i}": {t: round(4 ** draw.uniform(-1, 1), 3) for t in TASKS} for i in range(GUESSES)}


def runs(tuned: str | None) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, float]]]:
    """Group, name, mixture, balance and static weights of each run; of the tables of weights only `tuned`, if it is known."""
    for name, mixture in SAMPLINGS.items():
        yield "sampling", name, mixture, {}, {}
    for name in WEIGHTINGS:
        yield "weighting", name, {}, {"weighting": {"type": name}}, {}
    for name in AGGREGATIONS:
        yield "aggregation", name, {}, {"aggregation": {"type": name}}, {}
    for name, section in LEVELS.items():
        yield "aggregation", name, {}, {"aggregation": section}, {}
    for name, weights in tables().items():
        if tuned in (None, name):
            yield "tuned", name, {}, {}, weights


def run_all(folder: Path) -> None:
    prepare(folder)
    for seed in SEEDS:
        jobs = [
            {"group": group, "name": name, "seed": seed, "recipe": recipe(folder.absolute(), mixture, balance, weights, seed)}
            for group, name, mixture, balance, weights in runs(None if seed == SEEDS[0] else best_table(folder))
        ]
        run_jobs(folder, jobs)


def best_table(folder: Path) -> str | None:
    """The table of static weights with the best mean score of the first seed."""
    tried = [r for r in results(folder) if r["group"] == "tuned" and r["seed"] == SEEDS[0]]
    return str(max(tried, key=mean_score)["name"]) if tried else None


OWN = {"rte": "accuracy", "cola": "mcc", "mrpc": "accuracy", "stsb": "spearman", "copa": "accuracy", "wnut": "span_f1"}


def score(result: Mapping[str, Any], task: str) -> float:
    """The task's own metric; 0 where it is undefined, as a constant answer leaves it."""
    value = result["scores"][f"{task}/{task}/dev/{OWN[task]}"]
    return 0.0 if value is None or value != value else value


def mean_score(result: Mapping[str, Any]) -> float:
    return statistics.mean(score(result, task) for task in TASKS)


def table(folder: Path) -> str:
    found = results(folder)
    tuned = best_table(folder)
    plain = statistics.median(r["step"] for r in found if (r["group"], r["name"]) == ("sampling", "proportional"))
    lines = [f"| | {' | '.join(f'{t} ({OWN[t]})' for t in TASKS)} | mean | step |", "|---|" + "---|" * (len(TASKS) + 2)]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in found:
        if r["group"] != "tuned" or r["name"] == tuned:
            groups.setdefault((r["group"], r["name"]), []).append(r)
    last = ""
    for (group, name), rs in sorted(
        groups.items(), key=lambda g: ["sampling", "tuned", "weighting", "aggregation"].index(g[0][0])
    ):
        if group != last:
            lines.append(f"| **{group}** |" + " |" * (len(TASKS) + 2))
            last = group
        cells = [spread([score(r, t) for r in rs]) for t in TASKS]
        cost = statistics.median(r["step"] for r in rs) / plain
        lines.append(f"| {name} | {' | '.join(cells)} | {spread([mean_score(r) for r in rs])} | {cost:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main("mixing", run_all, table)
