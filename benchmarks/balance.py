"""What a balanced step costs: four tasks of disjoint rows on MiniLM, against the plain sum of their losses.

    python -m benchmarks.balance                       # a method of each kind
    python -m benchmarks.balance upgrad/trunk gradnorm # these methods
    python -m benchmarks.balance cosines/2             # the plain sum with a look at the cosines in every second step

Reads GLUE from $MANYHEADS_DATA/glue (default ../shared/data). Each contender takes the same rounds, one batch of each task a
step, and trains with manyheads' own loop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.interleave import interleave, report
from manyheads.assemble import assemble
from manyheads.balance.aggregation import AGGREGATIONS
from manyheads.cli.training import keep_memory
from manyheads.config.load import Loaded, recipe_from
from manyheads.data.stream import Position, Stream
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")) / "glue"
COLUMNS: dict[str, dict[str, Any]] = {
    "RTE": {"text": "sentence1", "pair": "sentence2"},
    "CoLA": {"columns": ["source", "label", "star", "sentence"], "text": "sentence"},
    "MRPC": {"text": "#1 String", "pair": "#2 String", "label": "Quality"},
    "SST-2": {"text": "sentence"},
}
ROWS, BLOCK = 16, 2
METHODS = ("uncertainty", "geometric", "gradnorm", "upgrad/rows", "upgrad/trunk", "pcgrad/rows", "cosines/2")


def recipe(balance: dict[str, Any]) -> Loaded:
    tasks = {
        name: {
            "type": "classification",
            "path": ["encoder"],
            "data": {"format": "tsv", "train": f"{DATA}/{name}/train.tsv", "limit": 1000, **columns},
        }
        for name, columns in COLUMNS.items()
    }
    return recipe_from(
        {
            "modules": {"encoder": {"type": "pretrained", "name": "minilm", "max_length": 64}},
            "tasks": tasks,
            "mixture": {"tasks_per_step": "all"},
            "balance": balance,
            "training": {"steps": 10**6, "batch": {"rows": ROWS}, "optimizer": {"lr": 1e-5}},
        }
    )


def contender(balance: dict[str, Any]) -> Iterator[int]:
    keep_memory()
    loaded = recipe(balance)
    found, spec = assemble(loaded), loaded.recipe.training
    model = found.blueprint.build(13)
    stream = Stream({name: d.lengths for name, d in found.train.items()}, loaded.recipe.mixture, spec.batch, 13)
    steps = train(
        model, found.train, stream, make_optimizer(model, spec.optimizer), spec, state=State(Position.start(list(found.train))),
        engine=Engine(spec), seed=13, balance=loaded.recipe.balance,
    )  # fmt: skip
    while True:
        yield sum(sum(next(steps).rows.values()) for _ in range(BLOCK))


def settings(method: str) -> dict[str, Any]:
    """`name` or `name/level`, or `cosines/steps`, as the recipe's section `balance`."""
    name, _, level = method.partition("/")
    if name == "cosines":
        return {"cosines_every": int(level)}
    if name in AGGREGATIONS:
        return {"aggregation": {"type": name, **({"level": level} if level else {})}}
    return {"weighting": {"type": name}}


def main(methods: list[str]) -> None:
    contenders = {"plain sum": partial(contender, {})} | {m: partial(contender, settings(m)) for m in methods}
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {len(COLUMNS)} tasks, {ROWS} rows of each, fp32\n")
    print(report(interleave(contenders, turns=10), "plain sum"))


if __name__ == "__main__":
    main(sys.argv[1:] or list(METHODS))
