"""PyText's multi-task tutorial: SST-2 alone, and beside a bi-directional language model over one embedding and one LSTM.

    python -m benchmarks.tutorial run [FOLDER]       # all runs that FOLDER (default runs/tutorial) does not hold yet
    python -m benchmarks.tutorial table [FOLDER]     # Markdown from what it holds

From $MANYHEADS_DATA (default ../shared/data): SST-2 whole; for the language model the train part of WikiText-103 that is there.
GloVe 50d beside letters, an LSTM in both directions. Both ways go equally often over SST-2; five seeds.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

from scipy.stats import ttest_rel, wilcoxon

from benchmarks.runs import main, results, run_jobs, spread

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute()
SEEDS = (13, 14, 15, 16, 17)
PASSES, ROWS, RATE = 6, 128, 2e-3
PUBLISHED = {"alone": 0.8567, "joint": 0.8612}
KEY = "sst2/sst2/dev/accuracy"


def job(name: str, seed: int) -> dict[str, Any]:
    sst2 = {"format": "glue", "train": f"{DATA}/glue/SST-2/train.tsv", "dev": f"{DATA}/glue/SST-2/dev.tsv"}
    wiki = f"{DATA}/wikitext-103-part/wiki"
    text = {"format": "lines", "train": f"{wiki}.train.part.tokens", "dev": f"{wiki}.valid.tokens", "batch": {"rows": 4}}
    path = [
        {"module": "words", "inputs": ["batch.text"]}, {"module": "letters", "inputs": ["batch.text"]},
        {"module": "both", "inputs": ["words", "letters"]}, "lstm",
    ]  # fmt: skip
    tasks: dict[str, Any] = {
        "sst2": {"type": "classification", "path": path, "pool": "max", "dropout": 0.5, "data": sst2},
    }
    if name == "joint":
        tasks["lm"] = {
            "type": "language_modelling", "path": path, "direction": "both", "softmax": "adaptive", "cutoffs": [2000, 10000],
            "weight": 0.2, "data": text,
        }  # fmt: skip
    recipe = {
        "seed": seed,
        "modules": {
            "words": {"type": "embedding", "vectors": "glove-50d", "dropout": 0.4, "vocabulary": {"vectors": 20000}},
            "letters": {"type": "characters", "filters": 30},
            "both": {"type": "concat"},
            "lstm": {"type": "recurrent", "width": 150},
        },
        "tasks": tasks,
        "mixture": {"sampling": "round_robin", "epoch": "sst2"} if name == "joint" else {},
        "training": {
            "epochs": PASSES, "batch": {"rows": ROWS}, "optimizer": {"lr": RATE, "head_lr": RATE},
            "schedule": {"name": "linear", "warmup": 0}, "select": "sst2", "threads": 1, "device": "cpu",
        },
    }  # fmt: skip
    return {"group": "tutorial", "name": name, "seed": seed, "recipe": recipe}


def jobs() -> list[dict[str, Any]]:
    """The long runs of each seed first."""
    return [job(name, seed) for seed in SEEDS for name in ("joint", "alone")]


def table(folder: Path) -> str:
    found = {(r["name"], r["seed"]): r for r in results(folder)}
    lines = ["| | published, one run | best epoch | last epoch | by seed (best) |", "|---|---|---|---|---|"]
    best: dict[str, list[float]] = {}
    for name in PUBLISHED:
        runs = [found[name, seed] for seed in SEEDS if (name, seed) in found]
        if not runs:
            continue
        best[name] = [max(scores[KEY] for scores in run["curve"]) for run in runs]
        last = [run["scores"][KEY] for run in runs]
        seeds = ", ".join(f"{value:.4f}" for value in best[name])
        lines.append(f"| {name} | {PUBLISHED[name]:.4f} | {spread(best[name])} | {spread(last)} | {seeds} |")
    if len(best) == 2 and len({len(values) for values in best.values()}) == 1 and len(best["alone"]) > 2:
        gains = [b - a for a, b in zip(best["alone"], best["joint"], strict=True)]
        told = (
            f"mean gain {statistics.mean(gains):+.4f}; paired t-test p = {ttest_rel(best['joint'], best['alone']).pvalue:.2f}"
        )
        lines.append(f"\nJoint − alone, by seed: {told}, Wilcoxon p = {wilcoxon(gains).pvalue:.2f}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main("tutorial", lambda folder: run_jobs(folder, jobs()), table)
