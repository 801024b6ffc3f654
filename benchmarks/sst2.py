"""SST-2 on MiniLM: speed against a bare loop and transformers' Trainer, accuracy against a plain loop.

    python -m benchmarks.sst2 speed            # rows a second, interleaved
    python -m benchmarks.sst2 accuracy         # one epoch over 20,000 rows, three seeds each, dev accuracy

Reads SST-2 from $MANYHEADS_DATA/glue/SST-2 (default ../shared/data). All contenders train the same rows in batches of 32
with AdamW, the same rate and clipping; the plain loop is written as one would by hand, and takes manyheads' batches. Like the
command line, manyheads keeps freed memory; the peers run as they come.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

from benchmarks.interleave import interleave, report
from manyheads.assemble import Assembly, assemble
from manyheads.cli.training import keep_memory
from manyheads.config.load import Loaded, recipe_from
from manyheads.data.stream import Position, Stream
from manyheads.packages import package_path
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, evaluate
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")) / "glue" / "SST-2"
ROWS, BLOCK = 20_000, 8
RATE = 1e-4


def recipe(seed: int) -> Loaded:
    data = {"format": "tsv", "train": f"{DATA}/train.tsv", "dev": f"{DATA}/dev.tsv", "text": "sentence", "label": "label"}
    return recipe_from(
        {
            "seed": seed,
            "modules": {"encoder": {"type": "pretrained", "name": "minilm", "max_length": 128}},
            "tasks": {"sst2": {"type": "classification", "path": ["encoder"], "data": {**data, "limit": ROWS}}},
            "training": {"epochs": 1, "batch": {"rows": 32}, "optimizer": {"lr": RATE}},
        }
    )


def ours(loaded: Loaded, found: Assembly) -> tuple[Any, Iterator[Any]]:
    model, spec = found.blueprint.build(loaded.recipe.seed), loaded.recipe.training
    stream = Stream({"sst2": found.train["sst2"].lengths}, loaded.recipe.mixture, spec.batch, loaded.recipe.seed)
    steps = train(
        model, found.train, stream, make_optimizer(model, spec.optimizer), spec,
        state=State(Position.start(["sst2"])), engine=Engine(spec), seed=loaded.recipe.seed,
    )  # fmt: skip
    return model, steps


class Plain(nn.Module):
    """What one would write by hand: the encoder, the mean over real pieces, dropout, a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(package_path("minilm"))
        self.head = nn.Linear(384, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return self.head(self.dropout((states * weights).sum(1) / weights.sum(1)))


def plain(loaded: Loaded, found: Assembly) -> tuple[Plain, Iterator[int]]:
    torch.manual_seed(loaded.recipe.seed)
    model = Plain().train()
    return model, _plain_steps(model, loaded, found)


def _plain_steps(model: Plain, loaded: Loaded, found: Assembly) -> Iterator[int]:
    data, spec = found.train["sst2"], loaded.recipe.training
    stream = Stream({"sst2": data.lengths}, loaded.recipe.mixture, spec.batch, loaded.recipe.seed)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, fused=True)
    steps = stream.rounds_in(0)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.06 * steps), steps)
    table = data.table
    for draws, _ in stream.rounds(Position.start(["sst2"])):
        rows = draws[0].rows
        texts = [torch.tensor(table["ids"][int(i)].as_py()) for i in rows]
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(t) for t in texts], batch_first=True)
        labels = torch.tensor([table["target.sst2"][int(i)].as_py() for i in rows])
        loss = cross_entropy(model(ids, mask), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        yield len(rows)


def manyheads() -> Iterator[int]:
    keep_memory()
    loaded = recipe(13)
    return blocks(ours(loaded, assemble(loaded))[1])


def bare() -> Iterator[int]:
    loaded = recipe(13)
    return blocks(plain(loaded, assemble(loaded))[1])


def blocks(steps: Iterator[Any]) -> Iterator[int]:
    while True:
        yield sum(s if isinstance(s, int) else sum(s.rows.values()) for s in (next(steps) for _ in range(BLOCK)))


def trainer() -> Iterator[int]:
    """transformers' Trainer as it comes: random batches, each padded to its longest row. It waits between blocks."""
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    folder, found = package_path("minilm"), assemble(recipe(13))
    table = found.train["sst2"].table
    rows = [
        {"input_ids": i, "labels": t} for i, t in zip(table["ids"].to_pylist(), table["target.sst2"].to_pylist(), strict=True)
    ]
    go, done = threading.Semaphore(0), threading.Semaphore(0)

    class Turns(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step % BLOCK == 0:
                done.release()
                go.acquire()

    arguments = TrainingArguments(
        output_dir="runs/trainer", per_device_train_batch_size=32, learning_rate=RATE, num_train_epochs=3, use_cpu=True,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, weight_decay=0.01, warmup_steps=37,
    )  # fmt: skip
    peer = Trainer(
        model=AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2), args=arguments, train_dataset=rows,
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder)), callbacks=[Turns()],
    )  # fmt: skip

    def work() -> None:
        go.acquire()
        peer.train()

    threading.Thread(target=work, daemon=True).start()
    while True:
        go.release()
        done.acquire()
        yield BLOCK * 32


def speed(turns: int) -> None:
    contenders = {
        "manyheads": manyheads,
        "bare PyTorch loop, same batches": bare,
        "transformers Trainer, default": trainer,
    }
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, batches of 32 rows, fp32\n")
    print(report(interleave(contenders, turns), "manyheads"))


def accuracy() -> None:
    results: dict[str, list[float]] = {"manyheads": [], "plain PyTorch loop": []}
    for seed in (13, 14, 15):
        loaded = recipe(seed)
        found = assemble(loaded)
        for name in results:
            began = time.perf_counter()
            model, steps = ours(loaded, found) if name == "manyheads" else plain(loaded, found)
            count = loaded.recipe.training.epochs * 625
            for _, _ in zip(range(count), steps, strict=False):
                pass
            right = (
                as_dict(evaluate(model, found.dev.values()))["sst2/sst2/dev/accuracy"]
                if name == "manyheads"
                else _right(model, found)
            )
            results[name].append(right)
            print(
                json.dumps({"seed": seed, "loop": name, "accuracy": right, "seconds": round(time.perf_counter() - began)}),
                flush=True,
            )
    for name, values in results.items():
        print(f"{name}: mean {statistics.mean(values):.4f}, standard deviation {statistics.stdev(values):.4f}, {values}")


@torch.inference_mode()
def _right(model: Plain, found: Assembly) -> float:
    model.eval()
    table = found.dev["sst2"].table
    right = 0
    for ids, label in zip(table["ids"].to_pylist(), table["target.sst2"].to_pylist(), strict=True):
        text = torch.tensor([ids])
        right += int(model(text, torch.ones_like(text)).argmax().item() == label)
    return right / table.num_rows


if __name__ == "__main__":
    if sys.argv[1:] == ["accuracy"]:
        accuracy()
    else:
        speed(20)
