"""What a run would do, before it does it: rows, labels, lengths, updates of each task, parameters, memory. Writes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from manyheads.assemble import Assembly
from manyheads.config.recipe import Recipe
from manyheads.data.dataset import TextDataset
from manyheads.data.stream import Position, Stream
from manyheads.model import Model, ports_of
from manyheads.nn.trunk import weights_under_adapters
from manyheads.ports import Port
from manyheads.train.advice import advise
from manyheads.train.layout import balancer_of
from manyheads.train.loop import rounds_in, steps_in
from manyheads.train.optim import make_optimizer
from manyheads.vocabularies import VocabularyFacts

_MOMENTS = 2  # numbers that Adam keeps for a parameter


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """One data set: rows by split, pieces a row (median, 99th percentile, longest), and what training takes from it.

    cut        rows by split that are longer than the encoder's limit
    sequences  what the encoder reads for the training rows: windows or choices, else a sequence a row
    batches    of one pass; updates, seen, passes and tokens are those of the whole run
    """

    tasks: tuple[str, ...]
    rows: Mapping[str, int]
    median: int
    p99: int
    longest: int
    cut: Mapping[str, int]
    sequences: int
    batches: int
    updates: int
    seen: int
    passes: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The run.

    Bytes are estimates: weights, gradient and moments; one checkpoint on disk. `seconds` is one batch of each data set,
    timed here, times its updates; evaluation comes on top. `passes`: each pass through an encoder that a text takes, by its
    module, and the tasks that it answers. `learns`: the mixture's shares, and with them all counts of data
    sets, will follow from what the run sees. `weighted`: as how many rows the labelled rows of a task count, where they have
    weights. `teachers`: how many rows each answers before the first step, which comes on top too.
    `vocabularies`: what each has of the words of its data sets. `warnings` are sentences about what a user may not expect.
    """

    datasets: Mapping[str, DatasetPlan]
    labels: Mapping[str, int]
    unlabelled: Mapping[str, int]
    weighted: Mapping[str, float]
    bad_rows: Mapping[str, int]
    teachers: Mapping[str, int]
    steps: int
    rounds: int
    parameters: int
    trainable: int
    state_bytes: int
    checkpoint_bytes: int
    seconds: float
    passes: Mapping[str, tuple[str, ...]]
    learns: bool
    vocabularies: tuple[VocabularyFacts, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(recipe: Recipe, assembly: Assembly, model: Model) -> Plan:
    """Goes through every draw of the run, without a tensor; so the numbers of updates are exact, not estimates.

    Of a mixture that learns its shares they are those of the first shares, and `learns` says so.

    Raises RecipeError as `train.advice.advise` does, and for what can be neither trained nor balanced.
    """
    with assembly.loaded.placed():  # both raise what they would raise in the run
        make_optimizer(model, recipe.training.optimizer, recipe.modules, recipe.tasks)
        balancer_of(recipe.balance, model, recipe.tasks)
    lengths = {name: data.lengths for name, data in assembly.train.items()}
    stream = assembly.stream()
    rounds = rounds_in(stream, recipe.training)
    updates: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for draws, _ in islice(stream.rounds(Position.start(list(lengths))), rounds):
        for draw in draws:
            updates[draw.dataset] += 1
            seen[draw.dataset] += len(draw.rows)
            tokens[draw.dataset] += int(lengths[draw.dataset][draw.rows].sum())
    datasets = {
        name: DatasetPlan(
            tasks=data.tasks,
            rows=assembly.rows[name],
            median=int(np.median(lengths[name])),
            p99=int(np.percentile(lengths[name], 99)),
            longest=int(lengths[name].max()),
            cut=assembly.cut[name],
            sequences=data.sequences,
            batches=stream.batches(name, 0),
            updates=updates[name],
            seen=seen[name],
            passes=round(seen[name] / len(data), 2),
            tokens=tokens[name],
        )
        for name, data in assembly.train.items()
    }
    parameters, trainable = _sizes(model)
    still = sum(p.numel() for p in {*weights_under_adapters(model).values()})
    state = 4 * (parameters + trainable * (1 + _MOMENTS))
    return Plan(
        datasets=datasets,
        labels={name: len(task.type.labels) or task.type.outputs for name, task in model.tasks.items()},
        unlabelled={t: int((~_labelled(data, t)).sum()) for data in assembly.train.values() for t in data.tasks},
        weighted={t: _weighted(data, t) for data in assembly.train.values() for t in data.weights},
        bad_rows={name: len(rows) for name, rows in assembly.bad.items()},
        teachers={teacher.told: sum(len(r.rows) for r in teacher.readings) for teacher in assembly.teachers},
        steps=steps_in(stream, recipe.training),
        rounds=rounds,
        parameters=parameters,
        trainable=trainable,
        state_bytes=state,
        checkpoint_bytes=4 * (parameters - still + trainable * _MOMENTS),
        seconds=round(_seconds(assembly, model, stream, updates), 1),
        passes=_passes(model),
        learns=stream.learns,
        vocabularies=assembly.words,
        warnings=advise(recipe, assembly, stream),
    )


def _sizes(model: Model) -> tuple[int, int]:
    """Parameters, and those that are trained."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(count for count, _ in counts), sum(count for count, trains in counts if trains)


def _passes(model: Model) -> dict[str, tuple[str, ...]]:
    """The tasks of each pass; one over what another step leaves of the pieces is told with that step."""
    found: dict[str, tuple[str, ...]] = {}
    for node in model.graph.nodes:
        ports = ports_of(model.pool[node.module])
        if ports.takes == (Port("tokens"),) and ports.gives.kind != "tokens":
            source = node.inputs[0].source
            behind = f" behind {model.graph.nodes[source].module}" if isinstance(source, int) else ""
            found[f"{node.module}{behind}"] = node.tasks
    return found


def _labelled(data: TextDataset, task: str) -> np.ndarray:
    """(N,) bool, rows with a label; one of weight 0 has one, for rows without a label have the weight 1."""
    found: np.ndarray = data.items(task) > 0
    return found | (data.weights[task] == 0) if task in data.weights else found


def _weighted(data: TextDataset, task: str) -> float:
    return round(float(data.weights[task][_labelled(data, task)].sum(dtype=np.float64)), 4)


def _seconds(assembly: Assembly, model: Model, stream: Stream, updates: Mapping[str, int]) -> float:
    """Forward and backward of the first batch of each data set, times its updates."""
    total = 0.0
    model.train()
    for name, data in assembly.train.items():
        if not updates[name]:
            continue
        [first, *_], _ = next(stream.rounds(Position.start(stream.names), [n for n in stream.names if n != name]))
        for timed in (False, True):  # the first pass also pays for what is done once
            began = time.perf_counter()
            losses = model.losses([data.batch(first.rows)])
            torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += (time.perf_counter() - began) * updates[name] * timed
        model.zero_grad(set_to_none=True)
    return total
