"""The draws of an epoch: exact shares, no data set starved, every setting that cannot work refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.check_mixture import check_mixture
from manyheads.config.node import refuse
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.data import mixture
from manyheads.errors import RecipeError

NAMES = ["a", "b", "c"]
SIZES = [64, 32, 16]
SHARED = ["proportional", "uniform", "temperature", "shares"]


def spec_of(sampling="proportional", **settings):
    if sampling == "shares":
        even = settings.get("tasks_per_step") == "all"
        settings.setdefault("shares", {"a": 1, "b": 1, "c": 1} if even else {"a": 1, "b": 2, "c": 0.5})
    if sampling == "temperature" and settings.get("tasks_per_step") != "all":
        settings.setdefault("temperature", 2.0)
    return MixtureSpec(sampling=sampling, **settings)


def draw(spec, sizes=SIZES, seed=13, epoch=0, names=NAMES):
    return mixture.order(spec, names[: len(sizes)], sizes, seed, epoch)


def counts(spec, sizes=SIZES, seed=13, epoch=0, names=NAMES):
    return np.bincount(draw(spec, sizes, seed, epoch, names), minlength=len(sizes)).tolist()


class TestShares:
    @given(st.lists(st.integers(0, 300), min_size=1, max_size=3).filter(any), st.integers(0, 99), st.integers(0, 9))
    def test_proportional_draws_every_batch_once_an_epoch(self, sizes, seed, epoch):
        assert counts(spec_of(), sizes, seed, epoch) == sizes

    @pytest.mark.parametrize(
        ("sampling", "settings", "shares"),
        [
            ("uniform", {}, [1 / 3, 1 / 3, 1 / 3]),
            ("temperature", {"temperature": 1.0}, [4 / 7, 2 / 7, 1 / 7]),
            ("temperature", {"temperature": 2.0}, [8 / 17.657, 5.657 / 17.657, 4 / 17.657]),
            ("temperature", {"temperature": 1 / 0.6}, [0.477, 0.315, 0.208]),  # size ** 0.6
            ("temperature", {"temperature": 5.0}, [0.380, 0.331, 0.288]),  # size ** 0.2
            ("temperature", {"temperature": 1e9}, [1 / 3, 1 / 3, 1 / 3]),
            ("shares", {"shares": {"a": 1, "b": 3}}, [0.25, 0.75, 0]),
            ("shares", {"shares": {"a": 1e308, "b": 1e308, "c": 1e308}}, [1 / 3, 1 / 3, 1 / 3]),
        ],
    )
    def test_each_data_set_gets_its_share_exactly(self, sampling, settings, shares):
        found = counts(MixtureSpec(sampling=sampling, epoch=3000, **settings))
        assert sum(found) == 3000
        assert np.array(found) / 3000 == pytest.approx(shares, abs=1e-3)

    @given(st.sampled_from(SHARED), st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.integers(1, 400))
    def test_no_count_is_off_by_one_draw(self, sampling, sizes, rounds):
        spec = spec_of(sampling, epoch=rounds)
        weights = {
            "proportional": sizes,
            "uniform": [1, 1, 1],
            "temperature": np.sqrt(sizes),
            "shares": [1, 2, 0.5],
        }[sampling]
        due = np.array(weights) * rounds / np.sum(weights)
        assert np.abs(np.array(counts(spec, sizes)) - due).max() < 1 + 1e-9

    @pytest.mark.parametrize("sampling", SHARED)
    def test_over_the_epochs_each_gets_what_it_is_due(self, sampling):
        spec, epochs = spec_of(sampling, epoch=5), 400
        total = np.sum([counts(spec, epoch=epoch) for epoch in range(epochs)], axis=0)
        weights = {"proportional": SIZES, "uniform": [1] * 3, "temperature": np.sqrt(SIZES), "shares": [1, 2, 0.5]}[sampling]
        assert np.abs(total - np.array(weights) * 5 * epochs / np.sum(weights)).max() < 4

    def test_draws_are_shuffled(self):
        order = draw(spec_of())
        assert (np.diff(order) != 0).sum() > 30
        assert 0 < order[:56].tolist().count(1) < 32

    def test_a_pure_function_of_seed_and_epoch(self):
        one = [draw(spec_of("temperature"), seed=s, epoch=e).tolist() for s, e in [(1, 0), (1, 1), (2, 0)]]
        two = [draw(spec_of("temperature"), seed=s, epoch=e).tolist() for s, e in [(1, 0), (1, 1), (2, 0)]]
        assert one == two
        assert len({tuple(order) for order in one}) == 3


class TestNobodyStarves:
    def test_one_row_beside_a_hundred_thousand(self):
        assert counts(spec_of(), [100_000, 1]) == [100_000, 1]

    def test_a_share_below_one_draw_comes_in_some_epochs(self):
        spec = spec_of(epoch=100)  # 1/1001 of 100 draws: once in about ten epochs
        found = [counts(spec, [1000, 1], epoch=epoch)[1] for epoch in range(200)]
        assert set(found) == {0, 1}
        assert 18 <= sum(found) <= 22
        longest = max(len(run) for run in "".join(map(str, found)).split("1"))
        assert longest < 30

    @given(st.integers(0, 1000), st.integers(0, 50))
    def test_one_round_an_epoch_goes_round(self, seed, first):
        spec = spec_of("uniform", epoch=1)
        found = [int(draw(spec, seed=seed, epoch=first + i)[0]) for i in range(12)]
        assert set(found) == {0, 1, 2}

    def test_a_share_of_0_and_an_empty_data_set_take_no_part(self):
        assert counts(spec_of("shares", shares={"a": 0.0, "b": 1})) == [0, 32, 0]
        assert counts(spec_of("uniform"), [10, 0, 10]) == [10, 0, 10]
        assert counts(spec_of("temperature"), [10, 0, 10]) == [10, 0, 10]
        assert counts(spec_of("round_robin"), [10, 0, 10]) == [10, 0, 10]
        assert mixture.taking_part(spec_of("uniform"), NAMES, [10, 0, 10]) == ["a", "c"]

    @given(st.floats(1, 1e300), st.integers(1, 10**6))
    def test_a_high_temperature_only_evens_out(self, temperature, size):
        large, small = counts(spec_of("temperature", temperature=temperature, epoch=1000), [size, 1])
        assert large >= small
        assert large + small == 1000

    def test_a_temperature_that_leaves_a_data_set_nothing_is_refused(self):
        with pytest.raises(RecipeError, match=r"mixture.temperature: so low a temperature leaves nothing to 'b', 'c'"):
            draw(spec_of("temperature", temperature=1e-5))


class TestOrderly:
    def test_round_robin(self):
        assert draw(spec_of("round_robin"), [3, 2, 1]).tolist() == [0, 1, 2, 0, 1, 2]

    def test_round_robin_goes_on_in_the_next_epoch(self):
        spec = spec_of("round_robin", epoch=2)
        assert [draw(spec, epoch=epoch).tolist() for epoch in range(3)] == [[0, 1], [2, 0], [1, 2]]

    def test_sequential(self):
        assert draw(spec_of("sequential"), [3, 2, 1]).tolist() == [0, 0, 0, 1, 1, 2]

    def test_sequential_of_so_many_rounds(self):
        assert draw(spec_of("sequential", epoch=12), [6, 4, 2]).tolist() == [0] * 6 + [1] * 4 + [2] * 2


class TestLength:
    @pytest.mark.parametrize("sampling", [*SHARED, "round_robin", "sequential"])
    def test_a_pass_is_as_many_draws_as_there_are_batches(self, sampling):
        assert len(draw(spec_of(sampling))) == 112

    def test_a_pass_counts_only_what_takes_part(self):
        assert len(draw(spec_of("shares", shares={"b": 1, "c": 1}))) == 48

    @pytest.mark.parametrize("sampling", [*SHARED, "round_robin", "sequential"])
    @pytest.mark.parametrize("name", NAMES)
    def test_one_pass_over_a_data_set(self, sampling, name):
        spec, i = spec_of(sampling, epoch=name), NAMES.index(name)
        found = [counts(spec, epoch=epoch)[i] for epoch in range(5)]
        assert all(SIZES[i] <= n <= SIZES[i] + 1 for n in found)

    def test_one_pass_at_an_exact_share(self):
        assert counts(spec_of("uniform", epoch="b")) == [32, 32, 32]
        assert counts(spec_of("shares", shares={"a": 3, "c": 1}, epoch="c")) == [48, 0, 16]

    def test_so_many_rounds(self):
        assert len(draw(spec_of("uniform", epoch=7))) == 7
        assert len(draw(spec_of("uniform", epoch=7, tasks_per_step=2))) == 14
        assert len(draw(spec_of("uniform", epoch=7, tasks_per_step="all"))) == 21

    @given(
        st.sampled_from([*SHARED, "round_robin"]),
        st.sampled_from([1, 2, 3, "all"]),
        st.sampled_from(["pass", "a", "c", 5]),
        st.lists(st.integers(1, 50), min_size=3, max_size=3),
    )
    def test_rounds_are_counted_without_drawing(self, sampling, width, epoch, sizes):
        spec = spec_of(sampling, tasks_per_step=width, epoch=epoch)
        order = draw(spec, sizes)
        k = mixture.round_width(spec, NAMES, sizes)
        assert k == (3 if width == "all" else width)
        assert mixture.rounds_per_epoch(spec, NAMES, sizes) == -(-len(order) // k)

    @given(st.lists(st.integers(1, 60), min_size=3, max_size=3), st.integers(1, 3))
    def test_every_batch_once_an_epoch_holds_for_wide_rounds_too(self, sizes, width):
        assert counts(spec_of(tasks_per_step=width), sizes) == sizes


class TestAll:
    def test_each_round_holds_every_data_set(self):
        order = draw(spec_of(tasks_per_step="all"), [3, 2, 5])
        assert order.reshape(5, 3).tolist() == [[0, 1, 2]] * 5

    def test_a_share_of_0_is_left_out(self):
        spec = spec_of("shares", shares={"a": 2, "c": 2}, tasks_per_step="all")
        assert draw(spec, [3, 9, 2]).tolist() == [0, 2] * 3
        assert mixture.round_width(spec, NAMES, [3, 9, 2]) == 2

    def test_a_pass_over_one_of_them(self):
        assert len(draw(spec_of(tasks_per_step="all", epoch="b"), [3, 2, 5])) == 2 * 3


class TestRefused:
    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            (spec_of("shares", shares={"aa": 1, "b": 1}), r"mixture.shares.aa: no data set .* found 'aa'"),
            (spec_of(epoch="passs"), r"mixture.epoch: .* found 'passs'"),
            (spec_of("shares", shares={"a": 0.0}), "mixture.shares: all shares are 0"),
            (spec_of("shares", shares={}), "needs the key 'shares'"),
            (spec_of(tasks_per_step=4), r"mixture.tasks_per_step: .* there are data sets \(3\); found '4'"),
            (spec_of(epoch=0), "at least one round"),
            (spec_of("sequential", tasks_per_step="all"), "exclude each other"),
            (spec_of(shares={"a": 1}), "mixture.shares: `shares` has no effect with `sampling: proportional`"),
            (spec_of("uniform", temperature=3.0), "mixture.temperature: `temperature` has no effect with `sampling: uniform`"),
        ],
    )
    def test_settings(self, spec, words):
        with pytest.raises(RecipeError, match=words):
            refuse(check_mixture(spec, NAMES))
        with pytest.raises(RecipeError, match=words):
            draw(spec)

    def test_an_epoch_by_a_data_set_without_a_share(self):
        with pytest.raises(RecipeError, match="a data set without a share"):
            draw(spec_of("shares", shares={"a": 1}, epoch="b"))

    @pytest.mark.parametrize("sampling", [*SHARED, "round_robin", "sequential"])
    def test_data_sets_that_are_all_empty(self, sampling):
        with pytest.raises(RecipeError, match="no data set that takes part has rows"):
            draw(spec_of(sampling), [0, 0, 0])

    @pytest.mark.parametrize("share", [1e-12, 5e-324])
    def test_an_epoch_too_long_to_draw(self, share):
        with pytest.raises(RecipeError, match=r"an epoch would have .* draws"):
            draw(spec_of("shares", shares={"a": 1, "b": share}, epoch="b"))


class TestOnlyTheSizesTell:
    def order(self, sizes, **settings):
        draw(MixtureSpec.model_validate(settings), sizes)

    def test_a_table_of_empty_data_sets(self):
        with pytest.raises(RecipeError, match=r"mixture.tables.1: no data set that this table draws has rows"):
            self.order([3, 3, 0], sampling="alternating", tables=[{"b": 1}, {"c": 1}])

    def test_a_phase_of_empty_data_sets(self):
        with pytest.raises(RecipeError, match=r"mixture.phases.1: no data set that takes part in this phase has rows"):
            self.order([3, 3, 0], sampling="phases", phases=[{"rounds": 2}, {"datasets": ["c"], "passes": 1}])

    def test_a_pass_over_who_is_not_in_the_phase(self):
        with pytest.raises(RecipeError, match=r"mixture.phases.0.of: an epoch cannot be a pass over a data set without"):
            self.order(
                [3, 3, 3], sampling="phases", phases=[{"sampling": "shares", "shares": {"c": 1}, "passes": 1, "of": "b"}]
            )

    def test_an_epoch_by_who_does_not_last(self):
        with pytest.raises(RecipeError, match=r"mixture.epoch: an epoch cannot be a pass over a data set without a share"):
            self.order([3, 3, 3], sampling="phases", phases=[{"rounds": 2}, {"datasets": ["c"]}], epoch="b")

    def test_too_low_a_temperature_at_the_end(self):
        with pytest.raises(RecipeError, match=r"mixture.phases.0.temperature: so low a temperature leaves nothing"):
            self.order([9, 3, 3], sampling="phases", phases=[{"sampling": "temperature", "temperature": 1e-5, "rounds": 2}])
