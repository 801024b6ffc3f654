"""Intent and slots of SNIPS by an LSTM with a chain of tags, from GloVe 50d and letters: dev and test scores, wall time.

    python -m benchmarks.snips [SEED ...]

Reads $MANYHEADS_DATA/snips (default ../shared/data/snips), 13,084 utterances; one pass over the words answers both tasks.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute() / "snips"
EPOCHS, ROWS, RATE = 8, 32, 2e-3


def recipe(seed: int, output: str) -> dict[str, Any]:
    path = [
        {"module": "words", "inputs": ["batch.text"]}, {"module": "letters", "inputs": ["batch.text"]},
        {"module": "both", "inputs": ["words", "letters"]}, "lstm",
    ]  # fmt: skip
    shared = {"path": path, "dropout": 0.3, "data": {"from": "snips"}}
    return {
        "seed": seed,
        "output": output,
        "modules": {
            "words": {"type": "embedding", "vectors": "glove-50d", "dropout": 0.3, "vocabulary": {"vectors": 20000}},
            "letters": {"type": "characters", "filters": 30},
            "both": {"type": "concat"},
            "lstm": {"type": "recurrent", "width": 100},
        },
        "tasks": {
            "intent": {"type": "classification", "pool": "max", **shared},
            "slots": {"type": "tagging", "decoder": "crf", **shared},
        },
        "data": {"snips": {"format": "slots", **{split: str(DATA / split) for split in ("train", "dev", "test")}}},
        "training": {
            "epochs": EPOCHS, "batch": {"rows": ROWS}, "optimizer": {"lr": RATE, "head_lr": RATE},
            "schedule": {"name": "linear", "warmup": 0}, "device": "cpu",
        },
    }  # fmt: skip


def main(seeds: list[int]) -> None:
    from manyheads.api import recipe_from
    from manyheads.run import run
    from manyheads.train.events import Finished

    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            found = [event for event in run(recipe_from(recipe(seed, f"{folder}/run"))) if isinstance(event, Finished)]
            taken = time.perf_counter() - began
        scores = {r.key: r.value for r in found[-1].records if r.split != "train" and r.metric in ("accuracy", "span_f1")}
        told = ", ".join(f"{key} {value:.4f}" for key, value in sorted(scores.items()))
        print(f"seed {seed}: {told}; {taken:.0f} s", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [13])
