"""Words a second of small models trained from scratch, and what a chain costs.

    python -m benchmarks.words classifier      # SST-2: GloVe 50d, an LSTM in both directions, the maximum of its states
    python -m benchmarks.words lm              # WikiText-103, lines: GloVe 50d, a forward LSTM, an adaptive softmax
    python -m benchmarks.words crf             # a chain over tags: training and decoding, against pytorch-crf

Reads SST-2 and WikiText from $MANYHEADS_DATA (default ../shared/data). The bare loop is written as one would by hand, with
packed rows, and takes manyheads' batches; `random` is manyheads without batches of like length. Each is timed a block of steps
at a time, in turn. The chain wants `pip install pytorch-crf==0.7.2`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.interleave import interleave, report
from manyheads.assemble import Assembly, assemble
from manyheads.cli.training import keep_memory
from manyheads.config.load import Loaded, recipe_from
from manyheads.data.stream import Position, Stream
from manyheads.nn import crf
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State
from manyheads.types import IGNORE

DATA = Path(os.environ.get("MANYHEADS_DATA", "../shared/data")).absolute()
WIDTH, RATE, CLIP = 150, 1e-3, 1.0
CUTOFFS = [2000, 10000]
ROWS = {"classifier": 32, "lm": 16}
BLOCK = {"classifier": 20, "lm": 5}
THREADS = 1


def recipe(name: str, *, grouped: bool = True) -> Loaded:
    if name == "classifier":
        files = {"train": f"{DATA}/glue/SST-2/train.tsv", "dev": f"{DATA}/glue/SST-2/dev.tsv"}
        task: dict[str, Any] = {"type": "classification", "pool": "max", "data": {"format": "glue", **files}}
    else:
        wiki = f"{DATA}/wikitext-103-part/wiki"
        files = {"train": f"{wiki}.train.part.tokens", "dev": f"{wiki}.valid.tokens"}
        task = {"type": "language_modelling", "softmax": "adaptive", "cutoffs": CUTOFFS, "data": {"format": "lines", **files}}
    return recipe_from(
        {
            "modules": {
                "words": {"type": "embedding", "vectors": "glove-50d", "vocabulary": {"vectors": 20000, "split": "spaces"}},
                "lstm": {"type": "recurrent", "width": WIDTH, "bidirectional": name == "classifier"},
            },
            "tasks": {name: {"path": [{"module": "words", "inputs": ["batch.text"]}, "lstm"], "dropout": 0.1, **task}},
            "training": {
                "epochs": 100, "batch": {"rows": ROWS[name], "group_by_length": grouped}, "clip": CLIP, "threads": THREADS,
                "optimizer": {"lr": RATE, "head_lr": RATE}, "schedule": {"name": "constant", "warmup": 0},
            },
        }
    )  # fmt: skip


def ours(name: str, *, grouped: bool = True) -> Iterator[int]:
    """Words of each block of steps."""
    torch.set_num_threads(THREADS)
    keep_memory()
    loaded = recipe(name, grouped=grouped)
    found = assemble(loaded)
    model, spec = found.blueprint.build(loaded.recipe.seed), loaded.recipe.training
    steps = train(
        model, found.train, stream_of(name, loaded, found), make_optimizer(model, spec.optimizer), spec,
        state=State(Position.start([name])), engine=Engine(spec), seed=loaded.recipe.seed,
    )  # fmt: skip
    while True:
        yield sum(next(steps).tokens[name] for _ in range(BLOCK[name]))


def stream_of(name: str, loaded: Loaded, found: Assembly) -> Stream:
    return Stream({name: found.train[name].lengths}, loaded.recipe.mixture, loaded.recipe.training.batch, loaded.recipe.seed)


class Bare(nn.Module):
    """A table of vectors and an LSTM over packed rows."""

    def __init__(self, vectors: Tensor, *, both: bool) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(vectors.clone(), freeze=False, padding_idx=0)
        self.lstm = nn.LSTM(vectors.shape[1], WIDTH, batch_first=True, bidirectional=both)
        self.dropout = nn.Dropout(0.1)

    def read(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.table(ids), lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


class BareClassifier(Bare):
    def __init__(self, vectors: Tensor) -> None:
        super().__init__(vectors, both=True)
        self.head = nn.Linear(2 * WIDTH, 2)

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        mask = (ids != 0).unsqueeze(-1)
        states = self.read(ids, lengths).masked_fill(~mask, -torch.inf).amax(1)
        return cross_entropy(self.head(self.dropout(states)), labels)


class BareLanguageModel(Bare):
    def __init__(self, vectors: Tensor) -> None:
        super().__init__(vectors, both=False)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(WIDTH, len(vectors), CUTOFFS)

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        states, following = self.dropout(self.read(ids, lengths))[:, :-1], ids[:, 1:]
        asked = following != 0
        found: Tensor = self.softmax(states[asked], following[asked]).loss
        return found


def bare(name: str) -> Iterator[int]:
    torch.set_num_threads(THREADS)
    loaded = recipe(name)
    found = assemble(loaded)
    table = found.train[name].table
    texts = [torch.tensor(ids) for ids in table["ids"].to_pylist()]
    labels = torch.tensor(table[f"target.{name}"].to_pylist()) if name == "classifier" else torch.zeros(len(texts))
    vectors = found.blueprint.build(loaded.recipe.seed).pool["words"].table.weight.detach()
    model = BareClassifier(vectors) if name == "classifier" else BareLanguageModel(vectors)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    words = 0
    for step, (draws, _) in enumerate(stream_of(name, loaded, found).rounds(Position.start([name])), 1):
        chosen = torch.as_tensor(draws[0].rows)
        rows = [texts[i] for i in chosen.tolist()]
        lengths = torch.tensor([len(row) for row in rows])
        loss = model(pad_sequence(rows, batch_first=True), lengths, labels[chosen])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        words += int(lengths.sum())
        if step % BLOCK[name] == 0:
            yield words
            words = 0


def speed(name: str, turns: int = 20) -> None:
    contenders = {
        "manyheads": partial(ours, name),
        "bare PyTorch loop, same batches": partial(bare, name),
        "manyheads, random batches": partial(ours, name, grouped=False),
    }
    print(f"{name}: {THREADS} thread, torch {torch.__version__}, batches of {ROWS[name]} rows, fp32\n")
    print(report(interleave(contenders, turns), "manyheads", unit="words"))


def chain(turns: int = 15) -> None:
    """Rows as NER has them: 32 of 5 to 40 words, 9 tags (four types, BIO), every transition allowed."""
    from torchcrf import CRF

    torch.set_num_threads(THREADS)
    torch.manual_seed(13)
    tags, rows, longest = 9, 32, 40
    emissions = torch.randn(rows, longest, tags)
    mask = torch.arange(longest) < torch.randint(5, longest + 1, (rows, 1))
    mask[0] = True
    target = torch.randint(tags, (rows, longest))
    peer = CRF(tags, batch_first=True)
    shared = [
        parameter.detach().clone().requires_grad_()
        for parameter in (peer.transitions, peer.start_transitions, peer.end_transitions)
    ]

    def lattice(scores: Tensor) -> crf.Lattice:
        return crf.Lattice(scores, mask, *(p.expand(rows, *p.shape) for p in shared))

    def step_of(likelihood: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        def step() -> Tensor:
            scores = emissions.clone().requires_grad_()
            (-likelihood(scores).sum()).backward()
            assert scores.grad is not None
            return scores.grad

        return step

    known = target.masked_fill(~mask, IGNORE)
    training = {
        "manyheads": step_of(lambda scores: crf.log_likelihood(lattice(scores), known)),
        "pytorch-crf": step_of(lambda scores: peer(scores, target, mask=mask, reduction="none")),
    }
    decoding = {
        "manyheads": lambda: crf.viterbi(lattice(emissions))[0],
        "pytorch-crf": lambda: peer.decode(emissions, mask=mask),
    }
    lines = [
        "| | manyheads, ms | pytorch-crf, ms | pytorch-crf / manyheads, median of turns (min to max) |",
        "|---|---|---|---|",
    ]
    works: dict[str, dict[str, Callable[[], Any]]] = {"training": training, "decoding": decoding}
    for name, work in works.items():
        mine, theirs = (do() for do in work.values())
        if isinstance(theirs, list):
            theirs = pad_sequence([torch.tensor(path) for path in theirs], batch_first=True)
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        seconds = [[_timed(do) for do in work.values()] for _ in range(turns)]
        ratios = [peers / ours for ours, peers in seconds]
        medians = [1000 * statistics.median(times) for times in zip(*seconds, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} | {spread} |")
    print("\n".join(lines))


def _timed(do: Callable[[], object], times: int = 10) -> float:
    """Processor seconds of one call; with one thread, what else runs does not count."""
    began = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - began) / times


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["classifier" | "lm" as which]:
            speed(which)
        case ["crf"]:
            chain()
        case found:
            sys.exit(f"`classifier`, `lm` or `crf` is wanted; found {' '.join(found)!r}")
