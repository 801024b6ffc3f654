"""Realised shares beside the asked one: what the records say is what the run drew, and `check` foretold it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.balance.backward import Gramians
from manyheads.plan import plan
from manyheads.run import run
from manyheads.train.checkpoint import Checkpoints
from manyheads.train.events import Finished
from manyheads.train.ledger import Ledger, scores_of
from manyheads.train.state import Progress
from manyheads.types import Record

PHASES = "[{datasets: [mood], passes: 0.5}, {datasets: [names, likeness], passes: 1}, {datasets: [mood], passes: 0.5}]"
PIKE = ("mixture.sampling=pike", "mixture.rate=0.5", "training.epochs=3")
BANDIT = ("mixture.sampling=bandit", "mixture.rate=0.5", "mixture.temperature=0.1", "training.epochs=3")


def step_of(
    losses: dict[str, float], batches: dict[str, int], rows: dict[str, int], tokens: dict[str, int], norm: float = 1.0
) -> Progress:
    items = dict.fromkeys(losses, 2)
    return Progress(1, 9, 0, losses, items, rows, batches, tokens, 0.1, norm, False, False, False)


def ledger_of() -> Ledger:
    found = Ledger({"x": "a", "y": "a", "z": "b"}, {"a": 10, "b": 4})
    found.add(step_of({"x": 1.0, "y": 2.0}, {"a": 1}, {"a": 5}, {"a": 40}), {"a": 0.5, "b": 0.5})
    found.add(step_of({"z": 1.0}, {"b": 1}, {"b": 3}, {"b": 10}, norm=3.0), {"a": 0.5, "b": 0.5})
    found.add(
        step_of({"x": 3.0, "y": 0.0, "z": 2.0}, {"a": 1, "b": 1}, {"a": 2, "b": 4}, {"a": 6, "b": 4}), {"a": 1.0, "b": 0.0}
    )
    return found


def told(records: Sequence[Record], name: str) -> dict[str, float]:
    return {r.metric: r.value for r in records if (r.task, r.dataset) == ("*", name)}


def test_shares_since_the_last_evaluation_and_counts_since_the_start() -> None:
    ledger = ledger_of()
    records = ledger.take(7)
    assert {(r.step, r.split) for r in records} == {(7, "train")}
    assert told(records, "a") == {
        "asked_share": 0.75,
        "share_batches": 0.5,
        "share_rows": 0.5,
        "share_tokens": 46 / 60,
        "share_loss": 6 / 9,
        "share_norm": 0.25,  # of the two steps with one data set
        "batches": 2,
        "rows": 7,
        "tokens": 46,
        "passes": 0.7,
    }
    assert {r.task: r.value for r in records if r.metric == "loss"} == {"x": 2.0, "y": 1.0, "z": 1.5}
    ledger.add(step_of({"z": 1.0}, {"b": 1}, {"b": 1}, {"b": 2}), {"a": 0.25, "b": 0.75})
    later = ledger.take(9)
    assert told(later, "b")["share_rows"] == 1
    assert told(later, "a") == {"batches": 2, "rows": 7, "tokens": 46, "passes": 0.7, **told(later, "a")}
    assert told(later, "b")["passes"] == 2
    assert told(later, "a")["asked_share"] == 0.25


@pytest.mark.parametrize("metric", ["asked_share", "share_batches", "share_rows", "share_tokens", "share_loss"])
def test_shares_sum_to_one(metric: str) -> None:
    records = ledger_of().take(1)
    assert sum(r.value for r in records if r.metric == metric) == pytest.approx(1)


def test_shares_on_the_way_are_those_of_batches() -> None:
    ledger = ledger_of()
    assert ledger.shares() == {"a": 0.5, "b": 0.5}
    ledger.take(3)
    assert ledger.shares() == {}
    ledger.add(step_of({"z": 1.0}, {"b": 1}, {"b": 1}, {"b": 2}), {"a": 0.5, "b": 0.5})
    assert ledger.shares() == {"a": 0, "b": 1}


def test_cosines_are_records_of_the_first_task_of_each_pair() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    looked = Gramians(("x", "z"), rows @ rows.T, {"low": rows[:, :1] @ rows[:, :1].T})
    assert ledger_of().cosines(4, looked) == [
        Record(4, "x", "a", "train", "cosine:z:*", pytest.approx(math.sqrt(0.5))),
        Record(4, "x", "a", "train", "cosine:z:low", pytest.approx(1.0)),
    ]


def test_nothing_trained_is_no_share() -> None:
    empty = Ledger({"x": "a"}, {"a": 0})
    assert empty.shares() == {}
    assert told(empty.take(1), "a") == {"batches": 0, "rows": 0, "tokens": 0, "passes": 0}


def test_a_page_that_was_saved_goes_on() -> None:
    ledger, again = ledger_of(), Ledger({"x": "a", "y": "a", "z": "b"}, {"a": 10, "b": 4})
    again.restore(json.loads(json.dumps(ledger.to_json())))
    one, two = ledger.take(1), again.take(1)
    assert one == two
    assert again.to_json()["total"] == ledger.to_json()["total"]


def test_the_score_of_a_data_set_is_the_mean_of_its_tasks_with_errors_counted_negative() -> None:
    tasks: Any = {n: SimpleNamespace(metric=m) for n, m in {"x": "accuracy", "y": "mse", "z": "accuracy"}.items()}
    values = [("x", "accuracy", 0.5), ("x", "loss", 9.0), ("y", "mse", 2.0), ("z", "accuracy", 0.25)]
    records = [Record(1, t, "d", "dev", m, v) for t, m, v in values]
    records += [Record(1, "x", "d", "train", "accuracy", 1.0), Record(1, "x", "d", "dev", "accuracy@majority", 0.9)]
    assert scores_of(records, tasks, {"x": "a", "y": "a", "z": "b"}) == {"a": -0.75, "b": 0.25}


# a whole run ------------------------------------------------------------------------------------------------------------


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("mixture.sampling=annealed", "mixture.temperature=5", "mixture.over=2", "mixture.tasks_per_step=2"),
        ("mixture.sampling=phases", f"mixture.phases={PHASES}", "training.evaluate_every=3"),
        ("mixture.sampling=main", "mixture.main=names", "mixture.ratio=0.5", "training.accumulate=2"),
    ],
    ids=str,
)
def test_the_log_says_what_check_foretold(recipe: Path, overrides: tuple[str, ...]) -> None:
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    planned = plan(loaded.recipe, assembly, assembly.build())
    assert not planned.learns
    records = finish(recipe, *overrides).records
    counts: dict[str, list[float]] = defaultdict(list)
    for name, data in planned.datasets.items():
        last = {r.metric: r.value for r in records if (r.task, r.dataset) == ("*", name)}  # the newest of each
        assert (last["batches"], last["rows"], last["tokens"]) == (data.updates, data.seen, data.tokens)
        assert last["passes"] == pytest.approx(data.passes, abs=0.005)
        counts["asked"].append(last["asked_share"])
    assert sum(counts["asked"]) == pytest.approx(1)


def test_each_epoch_of_a_proportional_mixture_has_the_shares_that_were_asked(recipe: Path) -> None:
    records = finish(recipe).records
    for name in ("mood", "likeness", "names"):
        for step in (10, 20):
            found = {r.metric: r.value for r in records if (r.task, r.dataset, r.step) == ("*", name, step)}
            assert found["share_batches"] == pytest.approx(found["asked_share"])


@pytest.mark.parametrize(
    "overrides", [BANDIT, (*BANDIT, "training.evaluate_every=3"), PIKE], ids=["bandit", "bandit within epochs", "pike"]
)
def test_a_mixture_that_learns_ends_the_same_after_a_kill(recipe: Path, overrides: tuple[str, ...]) -> None:
    whole = finish(recipe, *overrides, "output=whole").folder
    often = (*overrides, "training.checkpoint.every_steps=1")
    for steps in (4, 10, 13):  # within an epoch, at its end, in the next
        walk = run(load_recipe(recipe, often))
        for event in walk:
            if isinstance(event, Progress) and event.step > steps:
                break
        walk.close()
    finish(recipe, *overrides)
    for name in ("records.jsonl", "artefact/model.safetensors"):
        assert (recipe.parent / "run" / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("overrides", [BANDIT, PIKE], ids=["bandit", "pike"])
def test_a_mixture_that_learns_leaves_equal_shares(recipe: Path, overrides: tuple[str, ...]) -> None:
    records = finish(recipe, *overrides).records
    asked = {r.dataset: r.value for r in records if r.metric == "asked_share"}
    assert sum(asked.values()) == pytest.approx(1)
    assert max(asked.values()) > 1 / 3 + 1e-6
    found = Checkpoints(recipe.parent / "run" / "checkpoints", 2).load_newest()
    assert found is not None
    assert found.state["loop"]["mixture"]["shares"]


def test_check_says_that_shares_are_learned(recipe: Path) -> None:
    loaded = load_recipe(recipe, BANDIT)
    assembly = assemble(loaded)
    found = plan(loaded.recipe, assembly, assembly.build())
    assert found.learns
    assert {data.updates for data in found.datasets.values()} == {10}
