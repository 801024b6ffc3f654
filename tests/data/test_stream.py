"""The sequence of rounds: every row once an epoch, and the same sequence from wherever it was cut."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.mixture import MixtureSpec, PhaseSpec
from manyheads.config.spec.training import BatchSpec
from manyheads.data.stream import Draw, Position, Stream
from manyheads.errors import ArtefactError, RecipeError

MIXTURES = {
    "proportional": MixtureSpec(),
    "pairs": MixtureSpec(tasks_per_step=2),
    "uniform": MixtureSpec(sampling="uniform", epoch=7),
    "temperature": MixtureSpec(sampling="temperature", temperature=3.0, epoch="b"),
    "shares": MixtureSpec(sampling="shares", shares={"a": 3, "b": 1, "c": 0.1}),
    "all": MixtureSpec(tasks_per_step="all"),
    "round_robin": MixtureSpec(sampling="round_robin", tasks_per_step=3),
    "sequential": MixtureSpec(sampling="sequential"),
    "annealed": MixtureSpec(sampling="annealed", temperature=5.0, over=2, epoch="b"),
    "alternating": MixtureSpec(sampling="alternating", tables=[{"a": 1.0}, {"b": 1.0, "c": 1.0}]),
    "turns": MixtureSpec(sampling="round_robin", turns={"b": 2}, epoch="b", tasks_per_step=2),
    "main": MixtureSpec(sampling="main", main="a", ratio=0.7),
    "unimax": MixtureSpec(sampling="unimax", repeats=2.0, over=3),
    "portions": MixtureSpec(
        sampling="phases",
        phases=[
            PhaseSpec(datasets=["a"], passes=0.5),
            PhaseSpec(datasets=["b", "c"], passes=1.0),
            PhaseSpec(datasets=["a"], passes=0.5),
        ],
    ),
    "opening": MixtureSpec(sampling="phases", phases=[PhaseSpec(datasets=["b", "c"], rounds=9), PhaseSpec()], epoch=6),
    "bandit": MixtureSpec(sampling="bandit", temperature=0.1, rate=0.5, epoch=11),
    "pike": MixtureSpec(sampling="pike", rate=0.5),
}
ROWS = {"a": 40, "b": 13, "c": 1}


def lengths_of(rows=ROWS, seed=3):
    draw = np.random.default_rng(seed)
    return {name: draw.integers(2, 60, count) for name, count in rows.items()}


def stream_of(mixture=None, rows=ROWS, seed=13, batch=None):
    return Stream(lengths_of(rows), mixture or MixtureSpec(), batch or BatchSpec(tokens=128), seed)


def take(stream, count, position=None, retired=()):
    return list(islice(stream.rounds(position or Position.start(stream.names), retired), count))


def flat(rounds):
    return [draw for draws, _ in rounds for draw in draws]


def epochs(stream, count, retired=()):
    """The draws of each of the first epochs."""
    position, found = Position.start(stream.names), []
    for epoch in range(count):
        rounds = take(stream, stream.rounds_in(epoch), position, retired)
        position = rounds[-1][1]
        assert (position.epoch, position.draw) == (epoch + 1, 0)
        found.append(flat(rounds))
    return found


class TestEveryRow:
    @pytest.mark.parametrize("mixture", ["proportional", "pairs", "sequential", "portions"])
    def test_once_an_epoch_whatever_the_passes_hold(self, mixture):
        for draws in epochs(stream_of(MIXTURES[mixture]), 6):
            seen = Counter((draw.dataset, int(row)) for draw in draws for row in draw.rows)
            assert seen == Counter((name, row) for name, count in ROWS.items() for row in range(count))

    @given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1), st.integers(0, 9), st.sampled_from([1, 2]))
    def test_once_an_epoch_for_any_sizes(self, rows, seed, width):
        mixture = MixtureSpec(tasks_per_step=min(width, len(rows)))
        for epoch, draws in enumerate(epochs(stream_of(mixture, rows, seed), 3)):
            assert {draw.epoch for draw in draws} == {epoch}
            assert Counter(d.dataset for d in draws for _ in d.rows) == rows

    def test_batches_are_those_of_the_plan(self):
        stream = stream_of(batch=BatchSpec(rows=4, group_by_length=False))
        assert [[(d.dataset, d.index) for d in draws].count(("a", 0)) for draws in epochs(stream, 3)] == [1, 1, 1]
        multisets = [sorted((d.dataset, d.index) for d in draws) for draws in epochs(stream, 3)]
        assert multisets[0] == multisets[1] == multisets[2]
        assert len({tuple(d.dataset for d in draws) for draws in epochs(stream, 3)}) == 3

    def test_in_portions_the_rest_is_what_the_half_left(self):
        for epoch, draws in enumerate(epochs(stream_of(MIXTURES["portions"]), 3)):
            first = [d.index for d in draws if d.dataset == "a"]
            half = -(-len(first) // 2)
            assert first == list(range(len(first)))
            assert [d.dataset for d in draws[:half]] == ["a"] * half
            assert {d.dataset for d in draws[half : len(draws) - (len(first) - half)]} == {"b", "c"}
            assert {d.epoch for d in draws} == {epoch}

    def test_an_epoch_of_a_main_data_set_is_a_pass_over_it(self):
        for epoch, draws in enumerate(epochs(stream_of(MIXTURES["main"]), 5)):
            assert Counter(int(r) for d in draws if d.dataset == "a" for r in d.rows) == Counter(range(40))
            assert {d.epoch for d in draws if d.dataset == "a"} == {epoch}

    def test_a_data_set_without_a_share_stays_and_the_other_goes_on_over_the_epochs(self):
        stream = stream_of(MixtureSpec(sampling="shares", shares={"a": 1, "b": 0}, epoch=3), batch=BatchSpec(rows=4))
        draws = flat(take(stream, 10))
        assert [(d.dataset, d.epoch, d.index) for d in draws] == [("a", 0, i) for i in range(10)]

    def test_an_epoch_of_n_rounds_repeats_no_batch_before_the_pass_ends(self):
        stream = stream_of(MixtureSpec(sampling="proportional", epoch=6), batch=BatchSpec(rows=2))
        found = epochs(stream, 4)
        assert [len(draws) for draws in found] == [6] * 4
        seen = [(d.dataset, d.epoch, d.index) for draws in found for d in draws]
        assert len(set(seen)) == len(seen)
        ends = [d for draws in found for d in draws if d.dataset == "a"]
        assert [(d.epoch, d.index) for d in ends] == [(i // 20, i % 20) for i in range(len(ends))]

    def test_one_data_set_is_a_plain_loop_over_its_passes(self):
        for sampling in ("proportional", "uniform", "round_robin", "sequential"):
            stream = stream_of(MixtureSpec(sampling=sampling), {"a": 37})
            for epoch, draws in enumerate(epochs(stream, 4)):
                assert [(d.epoch, d.index) for d in draws] == [(epoch, i) for i in range(stream.batches("a", epoch))]

    def test_data_set_after_data_set(self):
        for draws in epochs(stream_of(MIXTURES["sequential"]), 2):
            names = [draw.dataset for draw in draws]
            assert names == sorted(names)
            assert set(names) == {"a", "b", "c"}

    def test_a_small_data_set_starts_over_with_another_order(self):
        stream = stream_of(MIXTURES["round_robin"], batch=BatchSpec(rows=4))
        draws = [d for d in flat(take(stream, 8)) if d.dataset == "b"]
        assert [(d.epoch, d.index) for d in draws] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]
        one, two = (np.concatenate([d.rows for d in draws if d.epoch == e]).tolist() for e in (0, 1))
        assert sorted(one) == sorted(two) == list(range(13))
        assert one != two

    @pytest.mark.parametrize("name", MIXTURES)
    def test_nothing_is_left_out_between_passes(self, name):
        stream = stream_of(MIXTURES[name])
        for dataset in ROWS:
            found = [(d.epoch, d.index) for d in flat(take(stream, 150)) if d.dataset == dataset]
            expected = [(e, i) for e in range(160) for i in range(stream.batches(dataset, e))]
            assert found == expected[: len(found)]
            assert found


class TestRounds:
    def test_all_holds_one_batch_of_each(self):
        rounds = take(stream_of(MIXTURES["all"]), 30)
        assert all([d.dataset for d in draws] == ["a", "b", "c"] for draws, _ in rounds)

    def test_rounds_of_all_end_with_whom_the_epoch_names(self):
        """Small data sets start over up to the largest, or the round of the smallest ends the epoch."""
        largest, smallest = (stream_of(MixtureSpec(tasks_per_step="all", epoch=epoch)) for epoch in ("pass", "c"))
        assert largest.rounds_in(0) == largest.batches("a", 0)
        assert smallest.rounds_in(0) == smallest.batches("c", 0) == 1

    def test_a_round_of_one_batch_has_one_data_set(self):
        assert all(len(draws) == 1 for draws, _ in take(stream_of(), 50))

    def test_an_epoch_of_all_is_a_pass_over_the_largest(self):
        for epoch, draws in enumerate(epochs(stream_of(MIXTURES["all"]), 4)):
            assert Counter(int(r) for d in draws if d.dataset == "a" for r in d.rows) == Counter(range(40))
            assert {d.epoch for d in draws if d.dataset == "a"} == {epoch}

    def test_the_last_round_of_an_epoch_holds_what_is_left(self):
        stream = stream_of(MixtureSpec(tasks_per_step=2), {"a": 3, "b": 2}, batch=BatchSpec(rows=1))
        assert [len(draws) for draws, _ in take(stream, 6)] == [2, 2, 1, 2, 2, 1]
        assert stream.rounds_in(0) == 3

    @pytest.mark.parametrize("name", MIXTURES)
    def test_they_are_counted_beforehand(self, name):
        stream = stream_of(MIXTURES[name])
        ends = [i + 1 for i, (_, position) in enumerate(take(stream, 200)) if position.draw == 0]
        assert ends[:3] == np.cumsum([stream.rounds_in(epoch) for epoch in range(3)]).tolist()

    def test_data_sets_have_batches_of_their_own_kind(self):
        stream = stream_of(batch={"a": BatchSpec(rows=10), "b": BatchSpec(rows=1), "c": BatchSpec()})
        assert [stream.batches(name, 0) for name in "abc"] == [4, 13, 1]

    def test_another_seed_is_another_sequence(self):
        sequences = [[d.rows.tolist() for d in flat(take(stream_of(seed=seed), 20))] for seed in (1, 1, 2)]
        assert sequences[0] == sequences[1] != sequences[2]

    def test_only_two_passes_of_a_data_set_are_kept(self):
        stream = stream_of(MIXTURES["all"])
        take(stream, 100)
        assert all(len(passes) <= 2 for passes in stream._passes.values())


class TestResume:
    @pytest.mark.parametrize("name", MIXTURES)
    @given(data=st.data())
    def test_a_position_from_json_goes_on_identically(self, name, data):
        whole = take(stream_of(MIXTURES[name]), 60)
        cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=4)))
        pieces, position = [], Position.start(list(ROWS))
        for start, stop in zip([0, *cuts], [*cuts, 60], strict=True):
            position = Position.from_json(json.loads(json.dumps(position.to_json(), allow_nan=False)))
            pieces += take(stream_of(MIXTURES[name]), stop - start, position)  # a new stream, as a new process has
            position = pieces[-1][1] if pieces else position
        assert pieces == whole
        assert [d.rows.tolist() for d in flat(pieces)] == [d.rows.tolist() for d in flat(whole)]

    @given(st.sampled_from(list(MIXTURES)), st.integers(1, 40), st.sampled_from(["a", "b", "c"]))
    def test_so_does_one_from_which_a_data_set_has_retired(self, name, cut, gone):
        before = take(stream_of(MIXTURES[name]), cut)[-1][1]
        whole = take(stream_of(MIXTURES[name]), 30, before, [gone])
        rest = take(stream_of(MIXTURES[name]), 15, whole[14][1], [gone])
        assert rest == whole[15:]

    def test_reading_on_does_not_move_a_position(self):
        stream = stream_of()
        start = Position.start(stream.names)
        rounds = stream.rounds(start)
        _, first = next(rounds)
        kept = first.to_json()
        next(rounds)
        assert first.to_json() == kept
        assert start == Position.start(stream.names)

    def test_the_shape_of_the_json(self):
        position = Position(2, 5, {"a": (1, 3)})
        assert position.to_json() == {"epoch": 2, "draw": 5, "cursors": {"a": [1, 3]}}
        assert Position.from_json(position.to_json()) == position

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (None, "has exactly 'epoch', 'draw', 'cursors'"),
            ({"epoch": 0, "draw": 0}, "has exactly"),
            ({"epoch": 0, "draw": 0, "cursors": {}, "more": 1}, "has exactly"),
            ({"epoch": 0, "draw": 0, "cursors": []}, "has exactly"),
            ({"epoch": -1, "draw": 0, "cursors": {}}, "position.epoch: must be a whole number"),
            ({"epoch": 0, "draw": 1.0, "cursors": {}}, "position.draw: must be a whole number"),
            ({"epoch": True, "draw": 0, "cursors": {}}, "position.epoch: must be a whole number"),
            ({"epoch": 0, "draw": 0, "cursors": {"a": [1]}}, r"position.cursors.a: must be \[pass, next batch\]"),
            ({"epoch": 0, "draw": 0, "cursors": {"a": [0, -1]}}, "position.cursors.a"),
            ({"epoch": 0, "draw": 0, "cursors": {"a": "01"}}, "position.cursors.a"),
        ],
    )
    def test_anything_else_is_refused(self, data, words):
        with pytest.raises(ArtefactError, match=words):
            Position.from_json(data)

    def test_a_position_in_other_data_is_refused(self):
        with pytest.raises(ArtefactError, match="the position is in the data sets 'a', and the run has 'a', 'b', 'c'"):
            take(stream_of(), 1, Position(0, 0, {"a": (0, 0)}))
        with pytest.raises(ArtefactError, match="pass 0 over 'c' has 1 batches, and the position is at batch 1"):
            take(stream_of(), 1, Position(0, 0, {"a": (0, 0), "b": (0, 0), "c": (0, 1)}))


class TestRetired:
    @pytest.mark.parametrize("name", MIXTURES)
    def test_its_draws_are_left_out_and_its_cursor_stays(self, name):
        stream = stream_of(MIXTURES[name])
        position = take(stream, 5)[-1][1]
        rounds = take(stream, 40, position, ["a"])
        assert len(rounds) == 40
        assert all(draws for draws, _ in rounds)
        assert {d.dataset for d in flat(rounds)} == {"b", "c"}
        assert {p.cursors["a"] for _, p in rounds} == {position.cursors["a"]}

    @pytest.mark.parametrize("name", MIXTURES)
    def test_the_others_see_what_they_would_have_seen(self, name):
        stream = stream_of(MIXTURES[name])
        full = [d for draws in epochs(stream, 3) for d in draws if d.dataset != "a"]
        assert flat(take(stream, len(full), retired=["a"]))[: len(full)] == full

    def test_a_round_of_all_gets_narrower(self):
        rounds = take(stream_of(MIXTURES["all"]), 10, retired=["b"])
        assert all([d.dataset for d in draws] == ["a", "c"] for draws, _ in rounds)

    @pytest.mark.parametrize("name", MIXTURES)
    def test_when_all_have_retired_there_are_no_rounds(self, name):
        assert take(stream_of(MIXTURES[name]), 1, retired=["a", "b", "c"]) == []

    def test_who_has_left_is_asked_for_no_more(self):
        assert stream_of().asked(0, retired=["a"])["a"] == 0
        assert sum(stream_of().asked(0, retired=["a"]).values()) == pytest.approx(1)
        assert stream_of(rows={"a": 3}).asked(0, retired=["a"]) == {"a": 0}

    def test_an_opening_of_others_does_not_keep_a_run_going(self):
        mixture = MixtureSpec(sampling="phases", phases=[PhaseSpec(datasets=["a"], rounds=3), PhaseSpec(datasets=["b"])])
        assert [d.dataset for d in flat(take(stream_of(mixture), 20, retired=["b"]))] == ["a"] * 3

    def test_what_has_no_share_cannot_keep_a_run_going(self):
        mixture = MixtureSpec(sampling="shares", shares={"a": 1, "b": 1})
        assert take(stream_of(mixture), 1, retired=["a", "b"]) == []

    def test_a_tiny_share_that_is_left_still_comes(self):
        mixture = MixtureSpec(sampling="shares", shares={"a": 1, "c": 0.01}, epoch=10)
        rounds = take(stream_of(mixture), 3, retired=["a"])
        assert [[d.dataset for d in draws] for draws, _ in rounds] == [["c"]] * 3
        assert rounds[0][1].epoch > 0 or rounds[1][1].epoch > 1  # whole epochs went by without a draw

    def test_an_unknown_name_is_an_error_with_the_nearest(self):
        with pytest.raises(RecipeError, match="found 'sentimnet'; did you mean 'sentiment'"):
            take(stream_of(rows={"sentiment": 3}), 1, retired=["sentimnet"])


def test_a_mixture_that_does_not_fit_is_refused_at_once():
    with pytest.raises(RecipeError, match=r"mixture.shares.x"):
        stream_of(MixtureSpec(sampling="shares", shares={"x": 1.0, "a": 1.0}))


def test_an_empty_data_set_takes_no_part():
    stream = stream_of(rows={"a": 5, "b": 0})
    assert {d.dataset for d in flat(take(stream, 20))} == {"a"}
    with pytest.raises(RecipeError, match="no data set that takes part has rows"):
        take(stream_of(rows={"a": 0}), 1)


def test_draws_compare_by_what_names_them():
    assert Draw("a", 0, 1, np.array([1, 2])) == Draw("a", 0, 1, np.array([1, 2]))
    assert Draw("a", 0, 1, np.array([1, 2])) != Draw("a", 0, 2, np.array([1, 2]))
