"""Shares that follow from scores and gradients: the formulas by hand, what is kept, and when new shares begin to hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import BatchSpec
from manyheads.data import mixture
from manyheads.data.stream import Position, Stream
from manyheads.seeds import generator

NAMES = ["a", "b", "c"]
BANDIT = MixtureSpec(sampling="bandit", temperature=0.1, rate=0.5, epoch=12)
PIKE = MixtureSpec(sampling="pike", rate=0.7, epoch=12)
LEARNERS = pytest.mark.parametrize("spec", [BANDIT, PIKE], ids=["bandit", "pike"])
Memory = dict[str, Any]


def see(
    memory: Mapping[str, Any], *, spec: MixtureSpec = BANDIT, epoch: int = 1, begun: bool = False, **scores: float
) -> Memory:
    return mixture.learn(spec, NAMES, memory, epoch, begun, scores, {})


def feel(memory: Mapping[str, Any], epoch: int = 0, begun: bool = True, **norms: float) -> Memory:
    return mixture.learn(PIKE, NAMES, memory, epoch, begun, {}, norms)


def shares(memory: Mapping[str, Any], epoch: int) -> dict[str, float]:
    found = mixture.shares_at(memory, epoch)
    assert found is not None
    return dict(found)


def softmax(*values: float) -> dict[str, float]:
    """With a tenth of an equal share for everyone."""
    total = sum(math.exp(v) for v in values)
    return {name: 0.1 / 3 + 0.9 * math.exp(v) / total for name, v in zip(NAMES, values, strict=True)}


class TestBandit:
    def test_at_first_all_are_alike(self) -> None:
        assert shares(see({}, a=0.9, b=0.5, c=0.1), 1) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))

    def test_who_falls_back_comes_more_often(self) -> None:
        memory = see(see({}, a=0.8, b=0.5, c=0.2), epoch=2, a=0.6, b=0.5, c=0.3)
        assert memory["best"] == {"a": 0.8, "b": 0.5, "c": 0.3}
        assert memory["gaps"] == pytest.approx({"a": 0.5 * 0.25, "b": 0.0, "c": 0.0})
        assert shares(memory, 2) == pytest.approx(softmax(1.25, 0, 0))

    def test_the_gap_is_a_running_mean(self) -> None:
        memory: Memory = {}
        for epoch, score in enumerate([1.0, 0.5, 0.8, 1.2], start=1):
            memory = see(memory, epoch=epoch, a=score)
        assert memory["gaps"]["a"] == pytest.approx(((0.5 * 0.5) * 0.5 + 0.5 * 0.2) * 0.5)

    def test_scores_where_lower_is_better_come_with_a_minus(self) -> None:
        memory = see(see({}, a=-1.0), epoch=2, a=-2.0)
        assert memory["gaps"]["a"] == 0.5 * 0.5

    @pytest.mark.parametrize(("best", "now"), [(0.5, -0.5), (0.0, -3.0), (0.0, 0.0)])
    def test_a_gap_is_never_above_one(self, best: float, now: float) -> None:
        memory = see(see({}, a=best), epoch=2, a=now)
        assert memory["gaps"]["a"] == 0.5 * (best > now)

    def test_an_undefined_score_teaches_nothing(self) -> None:
        memory = see({}, a=0.8, b=0.5, c=0.2)
        again = see(memory, epoch=2, a=math.nan, b=math.inf, c=0.2)
        assert (again["best"], again["gaps"]) == (memory["best"], memory["gaps"])

    def test_a_data_set_without_dev_rows_has_no_gap(self) -> None:
        assert shares(see(see({}, a=0.8), epoch=2, a=0.4), 2) == pytest.approx(softmax(2.5, 0, 0))

    def test_gradients_teach_it_nothing(self) -> None:
        assert mixture.learn(BANDIT, NAMES, {}, 1, False, {}, {"a": 3.0}) == {}


class TestPike:
    def test_the_larger_gradient_comes_more_often(self) -> None:
        memory: Memory = {}
        for name, norm in [("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", 2.0)]:
            memory = feel(memory, **{name: norm})
        assert mixture.shares_at(memory, 0) is None
        memory = feel(memory, epoch=1, begun=False, c=4.0)  # mean squares: 5, 4, 10
        mean = 19 / 3
        logs = [0.7 * (square / mean - 1) for square in (5, 4, 10)]
        assert list(memory["logs"].values()) == pytest.approx(logs)
        assert shares(memory, 1) == pytest.approx(softmax(*logs))

    def test_epochs_multiply(self) -> None:
        memory = feel({}, epoch=1, begun=False, a=1.0, b=1.0, c=2.0)
        once = shares(memory, 1)
        twice = shares(feel(memory, epoch=2, begun=False, a=1.0, b=1.0, c=2.0), 2)
        free = [(s - 0.1 / 3) / 0.9 for s in (once["c"], once["a"], twice["c"], twice["a"])]
        assert free[2] / free[3] == pytest.approx((free[0] / free[1]) ** 2)

    def test_equal_gradients_change_nothing(self) -> None:
        assert shares(feel({}, epoch=1, begun=False, a=5.0, b=5.0, c=5.0), 1) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))

    def test_the_unit_of_the_loss_does_not_matter(self) -> None:
        one, other = (feel({}, epoch=1, begun=False, a=1 * unit, b=2 * unit, c=3 * unit) for unit in (1.0, 1e-6))
        assert shares(one, 1) == pytest.approx(shares(other, 1))

    def test_who_was_not_drawn_keeps_its_place(self) -> None:
        memory = feel({}, epoch=1, begun=False, a=1.0, b=2.0, c=2.0)
        later = feel(memory, epoch=2, begun=False, a=2.0, b=2.0)
        assert later["logs"] == memory["logs"]

    def test_gradients_of_zero_and_none_at_all(self) -> None:
        for norms in ({"a": 0.0, "b": 0.0}, {}):
            memory = feel({}, epoch=1, begun=False, **norms)
            assert shares(memory, 1) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
            assert memory["squares"] == {}

    def test_scores_teach_it_nothing(self) -> None:
        assert see({}, spec=PIKE, epoch=0, a=0.5) == {"squares": {}}


@LEARNERS
@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 3), min_size=1, max_size=9))
def test_shares_are_positive_and_sum_to_one(spec: MixtureSpec, seen: list[tuple[float, ...]]) -> None:
    memory: Memory = {}
    for epoch, values in enumerate(seen, start=1):
        found = dict(zip(NAMES, values, strict=True))
        memory = mixture.learn(spec, NAMES, memory, epoch, False, found, found)
        now = shares(memory, epoch)
        assert sum(now.values()) == pytest.approx(1)
        assert min(now.values()) >= 0.1 / 3 - 1e-12
        counts = np.bincount(mixture.order(spec, NAMES, [5, 9, 2], 13, epoch, now), minlength=3)
        assert np.abs(counts - 12 * np.array(list(now.values()))).max() < 1 + 1e-9


def test_new_shares_wait_for_an_epoch_that_has_not_begun() -> None:
    memory = see(see({}, a=0.8, b=0.5), epoch=1, begun=True, a=0.4, b=0.5)
    assert [first for first, _ in memory["shares"]] == [1, 2]
    assert shares(memory, 1) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
    assert shares(memory, 2)["a"] > shares(memory, 2)["b"]
    again = see(memory, epoch=1, begun=True, a=0.8, b=0.1)  # once more in the same epoch
    assert shares(again, 1) == shares(memory, 1)
    assert [first for first, _ in again["shares"]] == [1, 2]
    assert [first for first, _ in see(again, epoch=5, a=0.8)["shares"]] == [5]


def test_samplings_that_learn_nothing_keep_nothing() -> None:
    assert mixture.learn(MixtureSpec(), NAMES, {}, 1, False, {"a": 0.5}, {"a": 1.0}) == {}


def made_up(purpose: str, step: int) -> dict[str, float]:
    """Scores of an evaluation that the test invents."""
    return dict(zip(NAMES, generator(7, purpose, step).uniform(0.1, 1, 3).tolist(), strict=True))


def walk(spec: MixtureSpec, cut: int | None, count: int = 60) -> list[tuple[str, int, int]]:
    """What a run draws that evaluates every 7 rounds, killed and resumed from JSON after every `cut` rounds."""
    sizes = {"a": 30, "b": 20, "c": 7}
    stream = Stream({n: np.full(k, 4) for n, k in sizes.items()}, spec, BatchSpec(rows=4), 5)
    position, memory, found = Position.start(NAMES), dict[str, Any](), list[tuple[str, int, int]]()
    while len(found) < count:
        rounds, held = stream.rounds(position, (), memory), memory.get("shares")
        for draws, after in islice(rounds, cut):
            found += [(d.dataset, d.epoch, d.index) for d in draws]
            position = after
            norms = {draws[0].dataset: made_up("norm", len(found))[draws[0].dataset]}
            memory = stream.learn(memory, position, norms=norms)
            if len(found) % 7 == 0:
                memory = stream.learn(memory, position, made_up("scores", len(found)))
            if memory.get("shares") != held or len(found) == count:
                break  # as the loop does
        position, memory = Position.from_json(json.loads(json.dumps(position.to_json()))), json.loads(json.dumps(memory))
    return found


@LEARNERS
@pytest.mark.parametrize("cut", [1, 2, 5, 7, 12])
def test_a_run_that_was_left_draws_the_rest_of_the_same(spec: MixtureSpec, cut: int) -> None:
    whole = walk(spec, None)
    assert walk(spec, cut) == whole
    assert [name for name, _, _ in whole] != [name for name, _, _ in walk(MixtureSpec(sampling="uniform", epoch=12), None)]


@LEARNERS
def test_what_is_asked_is_what_was_learned(spec: MixtureSpec) -> None:
    stream = Stream({n: np.full(9, 4) for n in NAMES}, spec, BatchSpec(rows=4), 5)
    start = Position(1, 0, Position.start(NAMES).cursors)
    memory = stream.learn({}, start, {"a": 0.9, "b": 0.9}, {"a": 1.0, "b": 2.0})
    memory = stream.learn(memory, Position(2, 0, start.cursors), {"a": 0.1, "b": 0.9}, {"a": 1.0, "b": 2.0})
    assert stream.learns
    assert stream.asked(2, memory) == pytest.approx(shares(memory, 2))
    assert stream.asked(0, memory) == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
    left = stream.asked(2, memory, ["b"])
    assert left["b"] == 0
    assert left["a"] / left["c"] == pytest.approx(shares(memory, 2)["a"] / shares(memory, 2)["c"])
