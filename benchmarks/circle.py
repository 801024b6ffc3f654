"""The circle toy: what the machinery costs when a step takes a third of a millisecond. Peer: a bare PyTorch loop.

    python -m benchmarks.circle

Both take the same batches, loss, clipping, optimizer and learning rate; the peer is written as one would by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import manyheads as mh
from benchmarks.interleave import interleave, report
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State

BLOCK = 200  # steps in a turn
SPEC = TrainingSpec.model_validate(
    {
        "steps": 10_000_000,
        "batch": {"rows": 32},
        "optimizer": {"lr": 5e-3},
        "schedule": {"name": "constant", "warmup": 0.0},
        "threads": 1,
    }
)


def points() -> mh.TensorDataset:
    x = torch.rand(8000, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return mh.TensorDataset({"x": x}, {"circle": (x.square().sum(1) < 0.5).long()}, name="points")


def build() -> mh.Model:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    task = mh.Task("circle", ["trunk", "head"], mh.Classification())
    return mh.Model({"trunk": trunk, "head": nn.Linear(64, 2)}, [task])


def manyheads() -> Iterator[int]:
    torch.set_num_threads(1)
    model, data = build(), points()
    stream = Stream({"points": data.lengths}, MixtureSpec(), SPEC.batch, 13)
    steps = train(
        model, {"points": data}, stream, make_optimizer(model, SPEC.optimizer), SPEC,
        state=State(Position.start(["points"])), engine=Engine(SPEC), seed=13,
    )  # fmt: skip
    while True:
        yield sum(sum(next(steps).rows.values()) for _ in range(BLOCK))


def bare() -> Iterator[int]:
    torch.set_num_threads(1)
    model, data = build(), points()
    everything = data.batch(range(len(data)))
    x, y = everything.fields["x"], everything.targets["circle"]
    network = nn.Sequential(*model.pool["trunk"], model.pool["head"])
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, fused=True)
    batches = endless(len(x))
    while True:
        rows = 0
        for _ in range(BLOCK):
            chosen = next(batches)
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(network(x[chosen]), y[chosen])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            loss.item()
            rows += len(chosen)
        yield rows


def endless(count: int) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count).split(32)


if __name__ == "__main__":
    print(report(interleave({"manyheads": manyheads, "bare PyTorch loop": bare}, turns=20), "manyheads"))
