"""Batches of a pass: every row once, no batch over its limits, the same for the same arguments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.training import BatchSpec
from manyheads.data.batching import POOL, TOKENS, join, plan_pass
from manyheads.types import Batch

lengths = st.lists(st.integers(0, 300), max_size=120).map(lambda values: np.array(values, dtype=np.int64))
specs = st.builds(
    BatchSpec,
    rows=st.one_of(st.none(), st.integers(1, 20)),
    tokens=st.one_of(st.none(), st.integers(8, 600)),
    group_by_length=st.booleans(),
)
plans = st.tuples(lengths, specs, st.integers(0, 99), st.sampled_from(["news", "tweets"]), st.integers(0, 5))


def skewed(rows=3000, seed=0):
    """Many short rows and a few long ones."""
    return np.minimum(np.random.default_rng(seed).geometric(0.05, rows) + 3, 256)


def padding(batches, lengths):
    """Share of a pass's pieces that are padding."""
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return 1 - int(lengths.sum()) / padded


@given(plans)
def test_every_row_stands_in_exactly_one_batch(plan):
    batches = plan_pass(*plan)
    assert all(len(rows) for rows in batches)
    assert sorted(int(row) for rows in batches for row in rows) == list(range(len(plan[0])))


@given(plans)
def test_no_batch_is_over_its_limits(plan):
    sizes, spec = plan[:2]
    tokens = spec.tokens or (TOKENS if spec.rows is None else None)
    for rows in plan_pass(*plan):
        if spec.rows is not None:
            assert len(rows) <= spec.rows
        if tokens is not None and len(rows) > 1:
            assert len(rows) * sizes[rows].max() <= tokens


@given(plans)
def test_a_pure_function_of_its_arguments(plan):
    one, two = plan_pass(*plan), plan_pass(*plan)
    assert [rows.tolist() for rows in one] == [rows.tolist() for rows in two]


@pytest.mark.parametrize("grouped", [True, False])
def test_another_seed_data_set_or_pass_is_another_order(grouped):
    sizes, spec = skewed(200), BatchSpec(rows=8, group_by_length=grouped)
    plans = [plan_pass(sizes, spec, *rest) for rest in [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1)]]
    assert len({tuple(np.concatenate(batches).tolist()) for batches in plans}) == 4


@pytest.mark.parametrize("spec", [{"rows": 16}, {"tokens": 1024}, {}])
def test_groups_by_length_hold_less_padding(spec):
    sizes = skewed()
    grouped = padding(plan_pass(sizes, BatchSpec(**spec), 1, "a", 0), sizes)
    mixed = padding(plan_pass(sizes, BatchSpec(**spec, group_by_length=False), 1, "a", 0), sizes)
    assert grouped < 0.15
    assert mixed > 2 * grouped


def test_batches_do_not_come_sorted():
    sizes = skewed()
    longest = [int(sizes[rows].max()) for rows in plan_pass(sizes, BatchSpec(rows=16), 1, "a", 0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_rows_meet_other_rows_in_another_pass():
    sizes = np.full(400, 10)
    passes = [plan_pass(sizes, BatchSpec(rows=20), 1, "a", epoch) for epoch in (0, 1)]
    together = [{frozenset(pair) for rows in batches for pair in pairwise(rows)} for batches in passes]
    assert len(together[0] & together[1]) < 0.1 * len(together[0])


def test_the_default_budget_is_filled():
    sizes = np.full(1000, 32)
    batches = plan_pass(sizes, BatchSpec(), 1, "a", 0)
    assert [len(rows) for rows in batches].count(TOKENS // 32) == 1000 * 32 // TOKENS
    assert len(batches) == int(np.ceil(1000 * 32 / TOKENS))


def test_rows_alone_have_no_budget_of_pieces():
    assert len(plan_pass(np.full(10, 5000), BatchSpec(rows=10), 1, "a", 0)) == 1


def test_rows_and_tokens_hold_together():
    sizes = np.array([10] * 30 + [100] * 30)
    for rows in plan_pass(sizes, BatchSpec(rows=8, tokens=400), 1, "a", 0):
        assert len(rows) <= (4 if sizes[rows].max() == 100 else 8)


def test_a_row_over_the_budget_is_a_batch_of_its_own():
    sizes = np.array([5, 500, 5, 5, 700])
    batches = sorted(sorted(rows.tolist()) for rows in plan_pass(sizes, BatchSpec(tokens=64), 1, "a", 0))
    assert batches == [[0, 2, 3], [1], [4]]


def test_a_batch_is_sorted_by_length_and_pools_are_not():
    sizes = skewed(40 * POOL)
    batches = plan_pass(sizes, BatchSpec(rows=4), 1, "a", 0)
    assert all((np.diff(sizes[rows]) >= 0).all() for rows in batches)
    longest = sorted((int(sizes[rows].min()), int(sizes[rows].max())) for rows in batches)
    overlaps = sum(high > low for (_, high), (low, _) in pairwise(longest))
    assert overlaps > len(batches) / 4  # one sort of everything would leave none


@pytest.mark.parametrize("spec", [BatchSpec(), BatchSpec(rows=3), BatchSpec(group_by_length=False)])
def test_small_and_empty_data_sets(spec):
    assert plan_pass(np.array([], dtype=np.int64), spec, 1, "a", 0) == []
    assert [rows.tolist() for rows in plan_pass(np.array([7]), spec, 1, "a", 0)] == [[0]]
    assert sorted(np.concatenate(plan_pass(np.zeros(5, dtype=np.int64), spec, 1, "a", 0)).tolist()) == [0, 1, 2, 3, 4]


# joining --------------------------------------------------------------------------------------------------------------


def batch(name, rows, width):
    return Batch(name, {"x": torch.zeros(rows, width)}, {}, range(rows))


SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), max_size=8)


@given(SIZES)
def test_every_batch_is_in_one_group_and_no_group_pads_much(sizes):
    batches = [batch(str(i), *size) for i, size in enumerate(sizes)]
    groups = join(batches)
    assert sorted(b.dataset for group in groups for b in group) == sorted(b.dataset for b in batches)
    for group in groups:
        alone = sum(len(b) * b.width for b in group)
        assert sum(map(len, group)) * max(b.width for b in group) <= 1.1 * alone


@given(SIZES)
def test_groups_do_not_depend_on_the_order(sizes):
    batches = [batch(str(i), *size) for i, size in enumerate(dict.fromkeys(sizes))]
    one, other = join(batches), join(batches[::-1])
    widths = [[(len(b), b.width) for b in group] for group in one]
    assert len({w for _, w in sizes}) < len(set(sizes)) or widths == [[(len(b), b.width) for b in group] for group in other]


def test_equal_lengths_run_as_one():
    assert [len(group) for group in join([batch("a", 3, 7), batch("b", 9, 7), batch("c", 1, 7)])] == [3]


def test_long_and_short_rows_run_apart():
    long, short, shorter = batch("long", 16, 60), batch("short", 16, 10), batch("shorter", 16, 9)
    assert [[b.dataset for b in group] for group in join([short, long, shorter])] == [["long"], ["short", "shorter"]]


def test_nothing_to_join():
    assert join([]) == []
    assert [[b.dataset for b in group] for group in join([batch("a", 2, 5)])] == [["a"]]


def test_a_batch_without_a_second_dimension_has_width_one():
    assert Batch("d", {"x": torch.zeros(4), "names": ["a"] * 4}, {}, range(4)).width == 1
