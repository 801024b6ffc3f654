"""What every sampling keeps, stated once: exact shares, the same draws again, nobody drawn without a share. Then each alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.data import mixture
from manyheads.data.mixture import SAMPLINGS

NAMES = ["a", "b", "c"]
SIZES = [64, 32, 16]
OPTIONS: dict[str, dict[str, Any]] = {
    "proportional": {},
    "uniform": {},
    "temperature": {"temperature": 2.0},
    "annealed": {"temperature": 5.0, "over": 4},
    "shares": {"shares": {"a": 1, "b": 2, "c": 0.5}},
    "alternating": {"tables": [{"a": 1, "b": 1}, {"c": 3, "b": 1}]},
    "round_robin": {"turns": {"b": 2}},
    "sequential": {},
    "main": {"main": "b", "ratio": 1.5},
    "unimax": {"repeats": 2.0, "over": 3},
    "phases": {
        "phases": [
            {"datasets": ["a"], "passes": 0.5},
            {"sampling": "uniform", "datasets": ["b", "c"], "rounds": 10},
            {"sampling": "shares", "shares": {"a": 1, "c": 2}, "passes": 0.25, "of": "c"},
        ]
    },
    "bandit": {"temperature": 0.1, "rate": 0.5},
    "pike": {"rate": 0.3},
}


def spec_of(sampling: str, **settings: Any) -> MixtureSpec:
    return MixtureSpec.model_validate({"sampling": sampling, **OPTIONS[sampling], **settings})


def letters(spec: MixtureSpec, sizes: Sequence[int], epoch: int = 0, seed: int = 13) -> str:
    """The draws of an epoch, A for the first data set."""
    names = NAMES[: len(sizes)]
    return "".join("ABC"[i] for i in mixture.order(spec, names, sizes, seed, epoch))


def shares_of(sampling: str, sizes: Sequence[int], epoch: int, rounds: int) -> list[float]:
    """What the page of mixtures says, written out again."""
    if sampling in ("proportional", "sequential"):
        return [float(n) for n in sizes]
    if sampling == "temperature":
        return [math.sqrt(n) for n in sizes]
    if sampling == "annealed":
        return [n ** (1 - 0.8 * min(1, epoch / 4)) for n in sizes]
    if sampling == "alternating":
        return [0.25, 0.25 + 0.125, 0.375]
    if sampling == "main":
        return [1.5 * sizes[0] / (sizes[0] + sizes[2]), 1.0, 1.5 * sizes[2] / (sizes[0] + sizes[2])]
    if sampling == "unimax":
        return water_filled([2.0 * n for n in sizes], 3.0 * rounds)
    if sampling == "phases":
        of_c = 0.25 * sizes[2] * 1.5  # draws of a quarter of a pass over c, which gets two of three
        return [math.ceil(sizes[0] / 2) + math.ceil(of_c) / 3, 5.0, 5.0 + math.ceil(of_c) * 2 / 3]
    return {"shares": [1.0, 2.0, 0.5], "round_robin": [1.0, 2.0, 1.0]}.get(sampling, [1.0, 1.0, 1.0])


def water_filled(caps: list[float], budget: float) -> list[float]:
    """The level that spends the budget under these caps, by bisection."""
    low, high = 0.0, max(caps)
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if sum(min(c, level) for c in caps) < budget else (low, level)
    return [min(c, high) for c in caps]


ALL = list(OPTIONS)
BY_SHARE = [name for name in ALL if name not in ("round_robin", "phases")]
SIZED = st.lists(st.integers(1, 400), min_size=3, max_size=3)


def test_every_sampling_is_tested_here() -> None:
    assert set(OPTIONS) == set(SAMPLINGS)


class TestEvery:
    @given(st.sampled_from(BY_SHARE), SIZED, st.integers(1, 300), st.integers(0, 6))
    def test_counts_are_the_shares_to_one_draw(self, sampling: str, sizes: list[int], rounds: int, epoch: int) -> None:
        order = mixture.order(spec_of(sampling, epoch=rounds), NAMES, sizes, 13, epoch)
        assert len(order) == rounds
        shares = np.array(shares_of(sampling, sizes, epoch, rounds))
        off = np.abs(np.bincount(order, minlength=3) - shares / shares.sum() * rounds)
        assert off.max() < (2.01 if sampling == "alternating" else 1 + 1e-6)  # a draw for each table

    @pytest.mark.parametrize("sampling", [*BY_SHARE, "round_robin"])
    def test_over_the_epochs_nothing_is_lost_to_rounding(self, sampling: str) -> None:
        spec, epochs = spec_of(sampling, epoch=5), range(4, 104)
        total = np.sum([np.bincount(mixture.order(spec, NAMES, SIZES, 13, e), minlength=3) for e in epochs], axis=0)
        shares = np.array(shares_of(sampling, SIZES, 4, 5))
        assert np.abs(total - shares / shares.sum() * 500).max() < 1.5

    @given(SIZED, st.integers(0, 3))
    def test_phases_give_what_their_parts_give(self, sizes: list[int], epoch: int) -> None:
        counts = np.bincount(mixture.order(spec_of("phases"), NAMES, sizes, 13, epoch), minlength=3)
        assert np.abs(counts - shares_of("phases", sizes, epoch, 0)).max() < 2.01

    @given(st.sampled_from(ALL), SIZED, st.integers(0, 5))
    def test_what_is_asked_sums_to_one(self, sampling: str, sizes: list[int], epoch: int) -> None:
        spec = spec_of(sampling)
        asked = mixture.course(spec, NAMES, sizes, 13, epoch).asked()
        shares = np.array(shares_of(sampling, sizes, epoch, sum(sizes)))
        assert list(asked.values()) == pytest.approx((shares / shares.sum()).tolist(), rel=1e-6)

    @given(st.sampled_from(ALL), SIZED, st.integers(0, 5), st.sampled_from([1, 2, 3]))
    def test_rounds_are_counted_without_drawing(self, sampling: str, sizes: list[int], epoch: int, width: int) -> None:
        spec = spec_of(sampling, tasks_per_step=1 if sampling == "pike" else width)
        order = mixture.order(spec, NAMES, sizes, 13, epoch)
        k = mixture.round_width(spec, NAMES, sizes)
        assert mixture.rounds_per_epoch(spec, NAMES, sizes, epoch) == -(-len(order) // k)
        assert {NAMES[i] for i in order} <= set(mixture.taking_part(spec, NAMES, sizes, epoch))

    @pytest.mark.parametrize("sampling", ALL)
    def test_the_same_again_and_only_the_same(self, sampling: str) -> None:
        draws = [letters(spec_of(sampling), SIZES, e, s) for e, s in [(0, 1), (1, 1), (0, 2)] * 2]
        assert draws[:3] == draws[3:]
        if sampling not in ("round_robin", "sequential"):
            assert len(set(draws)) == 3

    @pytest.mark.parametrize("sampling", [name for name in ALL if name not in ("main", "alternating")])
    def test_an_empty_data_set_takes_no_part(self, sampling: str) -> None:
        assert "B" not in letters(spec_of(sampling), [8, 0, 8])

    @pytest.mark.parametrize("sampling", [n for n in ALL if SAMPLINGS[n].whole])
    def test_a_whole_pass_takes_each_batch_once(self, sampling: str) -> None:
        for epoch in range(3):
            found = letters(spec_of(sampling), SIZES, epoch)
            assert [found.count(x) for x in "ABC"] == SIZES if sampling != "main" else found.count("B") == 32


class TestAnnealed:
    @pytest.mark.parametrize(
        ("done", "shares"), [(0, [0.571, 0.286, 0.143]), (2, [0.477, 0.315, 0.208]), (4, [0.380, 0.331, 0.288])]
    )
    def test_the_values_of_the_earlier_system(self, done: int, shares: list[float]) -> None:
        spec = spec_of("annealed", epoch=3000)
        assert list(mixture.course(spec, NAMES, SIZES, 13, done).asked().values()) == pytest.approx(shares, abs=1e-3)
        counts = np.bincount(mixture.order(spec, NAMES, SIZES, 13, done))
        assert counts / 3000 == pytest.approx(shares, abs=1e-3)

    def test_after_its_epochs_it_stays(self) -> None:
        spec = spec_of("annealed")
        four, nine = (mixture.course(spec, NAMES, SIZES, 13, e).asked() for e in (4, 9))
        assert four == nine

    def test_it_begins_as_proportional_and_ends_as_that_temperature(self) -> None:
        first, last = (mixture.course(spec_of("annealed"), NAMES, SIZES, 13, e).asked() for e in (0, 4))
        assert first == pytest.approx(mixture.course(spec_of("proportional"), NAMES, SIZES).asked())
        assert last == pytest.approx(mixture.course(spec_of("temperature", temperature=5.0), NAMES, SIZES).asked())


def test_the_square_root_is_temperature_2() -> None:
    asked = mixture.course(spec_of("temperature", temperature=2.0), NAMES, [100, 25, 4]).asked()
    assert asked == pytest.approx({"a": 10 / 17, "b": 5 / 17, "c": 2 / 17})


class TestAlternating:
    def test_odd_draws_are_of_the_first_table_and_even_ones_of_the_second(self) -> None:
        draws = "".join(letters(spec_of("alternating"), [5, 4, 4], epoch) for epoch in range(4))  # 13 draws an epoch
        assert set(draws[::2]) == {"A", "B"}
        assert set(draws[1::2]) == {"B", "C"}

    def test_each_table_is_exact(self) -> None:
        draws = letters(spec_of("alternating", epoch=80), SIZES)
        assert [draws[::2].count(x) for x in "ABC"] == [20, 20, 0]
        assert [draws[1::2].count(x) for x in "ABC"] == [0, 10, 30]

    def test_three_tables_go_round(self) -> None:
        spec = spec_of("alternating", tables=[{"a": 1}, {"b": 1}, {"c": 1}], epoch=4)
        assert [letters(spec, SIZES, e) for e in range(3)] == ["ABCA", "BCAB", "CABC"]


class TestRoundRobin:
    def test_the_data_set_that_sets_the_epoch_is_passed_once(self) -> None:
        """A a B b C a D b: batches A to D of the first, a and b of the second, which starts over."""
        assert letters(spec_of("round_robin", turns={}, epoch="a"), [4, 2]) == "ABABABAB"
        assert letters(spec_of("round_robin", turns={}, epoch="b"), [4, 2]) == "ABAB"

    def test_without_one_an_epoch_has_as_many_draws_as_there_are_batches(self) -> None:
        spec = spec_of("round_robin", turns={})
        assert [letters(spec, [3, 2], epoch) for epoch in range(3)] == ["ABABA", "BABAB", "ABABA"]

    def test_several_batches_a_turn(self) -> None:
        spec = spec_of("round_robin", turns={"a": 2})
        assert letters(spec, [4, 2, 2]) == "AABCAABC"
        assert letters(spec_of("round_robin", turns={"a": 2}, epoch="a"), [5, 9, 9]) == "AABCAABCAA"


class TestMain:
    @given(SIZED, st.floats(0.01, 5))
    def test_all_of_the_main_one_and_r_times_as_many_others(self, sizes: list[int], ratio: float) -> None:
        spec = spec_of("main", main="a", ratio=ratio)
        draws = [letters(spec, sizes, epoch) for epoch in range(6)]
        assert {found.count("A") for found in draws} == {sizes[0]}
        others = sum(len(found) - sizes[0] for found in draws)
        assert others == pytest.approx(6 * ratio * sizes[0], abs=1 + 1e-6)

    def test_the_others_by_their_sizes(self) -> None:
        found = letters(spec_of("main", main="a", ratio=1.5), SIZES)
        assert [found.count(x) for x in "ABC"] == [64, 64, 32]

    def test_the_main_one_last(self) -> None:
        found = letters(spec_of("main", main="b", ratio=2.0, main_last=True), [4, 3, 2])
        assert found[-3:] == "BBB"
        assert sorted(found[:-3]) == list("AAAACC")
        assert found[:-3] != "AAAACC"

    def test_alone_it_is_a_plain_pass(self) -> None:
        assert letters(spec_of("main", main="a"), [5]) == "AAAAA"


class TestUniMax:
    @given(st.lists(st.integers(1, 10**6), min_size=2, max_size=3), st.floats(0.2, 20), st.integers(1, 10))
    def test_nobody_is_repeated_more_often_while_there_is_enough(self, sizes: list[int], repeats: float, over: int) -> None:
        names, spec = NAMES[: len(sizes)], spec_of("unimax", repeats=repeats, over=over)
        asked = np.array(list(mixture.course(spec, names, sizes).asked().values()))
        passes = asked * sum(sizes) * over / sizes
        if over <= repeats:
            assert passes.max() <= repeats * (1 + 1e-9)
            largest = asked[passes < repeats * (1 - 1e-9)]
            assert largest == pytest.approx(largest.max(initial=0.0))  # who is not capped gets the same
        else:
            assert asked == pytest.approx(np.array(sizes) / sum(sizes))

    def test_the_algorithm_of_the_paper_by_hand(self) -> None:
        """Of 224 draws an equal part is 74.7, and c may have 40; of the 184 left it is 92, and b may have 80; a gets 104."""
        asked = mixture.course(spec_of("unimax", repeats=2.5, over=2), NAMES, SIZES).asked()
        assert asked == pytest.approx({"a": 104 / 224, "b": 80 / 224, "c": 40 / 224})


class TestPhases:
    HALVES = ({"datasets": ["a"], "passes": 0.5}, {"datasets": ["b"], "passes": 1.0}, {"datasets": ["a"], "passes": 0.5})

    @given(st.integers(1, 99), st.integers(1, 99))
    def test_half_of_one_all_of_the_other_the_rest(self, one: int, other: int) -> None:
        half = math.ceil(one / 2)
        assert letters(spec_of("phases", phases=list(self.HALVES)), [one, other]) == "A" * half + "B" * other + "A" * (
            one - half
        )

    def test_turns_go_on_from_phase_to_phase_and_from_epoch_to_epoch(self) -> None:
        turns = {"sampling": "round_robin", "datasets": ["a", "b"], "turns": {"a": 4}, "rounds": 3}
        spec = spec_of("phases", phases=[turns, {"datasets": ["c"], "rounds": 3}, turns])
        assert [letters(spec, SIZES, epoch) for epoch in (0, 1)] == ["AAACCCABA", "AAACCCBAA"]
        other = spec_of("phases", phases=[turns, {**turns, "turns": {"a": 3}, "rounds": 5}])
        assert [letters(other, SIZES, epoch) for epoch in (0, 1)] == ["AAA" + "AAABA", "ABA" + "AABAA"]

    @pytest.mark.parametrize(("sampling", "options"), [("round_robin", {}), ("alternating", {"tables": [{"a": 1}, {"b": 1}]})])
    def test_what_lasts_goes_on_from_an_opening_like_it(self, sampling: str, options: dict[str, Any]) -> None:
        phase = {"sampling": sampling, "datasets": ["a", "b"], **options}
        spec = spec_of("phases", phases=[{**phase, "rounds": 3}, phase], epoch=5)
        assert "".join(letters(spec, SIZES, epoch) for epoch in range(3)) == "ABABABABABABABABAB"

    def test_such_an_epoch_is_a_pass_over_each(self) -> None:
        assert mixture.by_passes(spec_of("phases", phases=list(self.HALVES)), ["a", "b"])
        assert not mixture.by_passes(spec_of("phases", phases=list(self.HALVES)), NAMES)
        assert not mixture.by_passes(spec_of("phases", phases=list(self.HALVES[:2])), ["a", "b"])
        assert not mixture.by_passes(spec_of("phases"), NAMES)

    def test_the_first_ones_for_n_rounds_and_then_all(self) -> None:
        spec = spec_of("phases", phases=[{"sampling": "round_robin", "datasets": ["c", "b"], "rounds": 6}, {}])
        first, second = (letters(spec, [4, 3, 2], epoch) for epoch in (0, 1))
        assert first[:6] == "BCBCBC"
        assert sorted(first[6:]) == sorted(second) == list("AAAABBBCC")
        assert first[6:] != second

    def test_what_lasts_has_the_epoch_of_the_mixture(self) -> None:
        phases = [{"datasets": ["a"], "rounds": 2}, {"sampling": "uniform"}]
        spec = spec_of("phases", phases=phases, epoch="b", tasks_per_step=2)
        assert [len(letters(spec, [4, 3, 2], epoch)) for epoch in range(3)] == [2 * 2 + 9, 9, 9]
        assert mixture.taking_part(spec_of("phases", phases=[{"rounds": 1}, {"datasets": ["b"]}]), NAMES, SIZES, 1) == ["b"]

    def test_a_length_in_passes_over_one_of_several(self) -> None:
        phase = {"sampling": "shares", "shares": {"a": 3, "b": 1}, "passes": 2.0, "of": "b"}
        found = letters(spec_of("phases", phases=[phase]), [4, 3, 2])
        assert (found.count("A"), found.count("B"), found.count("C")) == (18, 6, 0)

    def test_phases_do_not_draw_alike(self) -> None:
        spec = spec_of("phases", phases=[{"rounds": 40}, {"rounds": 40}])
        found = letters(spec, [30, 30])
        assert found[:40] != found[40:]
