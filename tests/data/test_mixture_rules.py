"""Settings that cannot be meant are refused with their place, what was found and what would be right."""

from __future__ import annotations

import re
from typing import Any

import pytest

from manyheads.api import recipe_from
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.data import mixture
from manyheads.errors import RecipeError

NAMES = ["sentiment", "news", "tags"]
LAST: dict[str, Any] = {"datasets": ["news"]}


def problems(**settings: Any) -> list[str]:
    """What is wrong, a line each."""
    try:
        mixture.check(MixtureSpec.model_validate(settings), NAMES)
    except RecipeError as error:
        return [str(p).partition("\n")[0] for p in error.problems]
    return []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        # names
        (
            {"sampling": "alternating", "tables": [{"news": 1}, {"newz": 1, "tags": 1}]},
            "mixture.tables.1.newz: no data set has this name (there are: 'sentiment', 'news', 'tags'); "
            "found 'newz'; did you mean 'news'?",
        ),
        ({"sampling": "round_robin", "turns": {"tagz": 2}}, "mixture.turns.tagz: .*did you mean 'tags'"),
        ({"sampling": "main", "main": "sentimnet", "ratio": 1}, "mixture.main: .*did you mean 'sentiment'"),
        ({"sampling": "phases", "phases": [{"datasets": ["new"]}]}, "mixture.phases.0.datasets.0: .*did you mean 'news'"),
        ({"sampling": "phases", "phases": [{"passes": 1, "of": "tag"}]}, "mixture.phases.0.of: .*did you mean 'tags'"),
        (
            {"sampling": "phases", "phases": [{"rounds": 1, "sampling": "shares", "shares": {"x": 1, "news": 1}}]},
            "mixture.phases.0.shares.x: no data set",
        ),
        # options
        ({"sampling": "annealed", "over": 3}, "mixture.sampling: `annealed` needs `temperature`; found 'annealed'"),
        ({"sampling": "annealed", "temperature": 5}, "mixture.sampling: `annealed` needs `over`"),
        ({"sampling": "annealed", "temperature": 0.5, "over": 3}, "mixture.temperature: an end below 1 .* found '0.5'"),
        ({"sampling": "unimax", "over": 3}, "`unimax` needs `repeats`"),
        ({"sampling": "alternating"}, "`alternating` needs `tables`"),
        ({"sampling": "alternating", "tables": [{"news": 1}]}, "mixture.tables: one table does not alternate"),
        ({"sampling": "alternating", "tables": [{"news": 1}, {"tags": 0}]}, "mixture.tables.1: all shares are 0"),
        ({"sampling": "main", "ratio": 2}, "`main` needs `main`"),
        ({"sampling": "main", "main": "news"}, "`main` needs `ratio`"),
        ({"sampling": "phases"}, "`phases` needs `phases`"),
        ({"sampling": "bandit"}, "`bandit` needs `rate`"),
        ({"sampling": "bandit", "rate": 1.5}, "mixture.rate: the weight in a running mean is at most 1; found '1.5'"),
        ({"over": 3}, "mixture.over: has no effect with `sampling: proportional`; found '3'"),
        ({"turns": {"news": 2}}, "mixture.turns: has no effect with `sampling: proportional`"),
        ({"main_last": True}, "mixture.main_last: has no effect"),
        ({"phases": [LAST]}, "mixture.phases: has no effect"),
        # phases
        ({"sampling": "phases", "phases": [{}, {"rounds": 3}]}, "mixture.phases.0: the phase has no length"),
        (
            {"sampling": "phases", "phases": [{"rounds": 3, "passes": 0.5}]},
            "mixture.phases.0.passes: `rounds` and `passes` exclude each other; found '0.5'",
        ),
        ({"sampling": "phases", "phases": [{"of": "news", "rounds": 3}]}, "mixture.phases.0.of: has no effect without"),
        ({"sampling": "phases", "phases": [{"rounds": 3, "ratio": 2}]}, "mixture.phases.0.ratio: has no effect with"),
        (
            {"sampling": "phases", "phases": [{"sampling": "main", "main": "tags", "ratio": 1, "rounds": 2, **LAST}]},
            "mixture.phases.0.main: the main data set is not one of the phase's; found 'tags'",
        ),
        ({"sampling": "phases", "phases": [{"rounds": 3}], "epoch": 9}, "mixture.epoch: has no effect where every phase"),
        # what excludes each other
        ({"sampling": "alternating", "tables": [{"news": 1}, {"tags": 1}], "tasks_per_step": "all"}, "exclude each other"),
        ({"sampling": "unimax", "repeats": 2, "over": 1, "epoch": "news"}, "mixture.epoch: .*the share waits for the length"),
        ({"sampling": "bandit", "rate": 0.5, "epoch": "news"}, "mixture.epoch: .*the share waits for the length"),
        ({"sampling": "pike", "rate": 0.5, "tasks_per_step": 2}, "mixture.tasks_per_step: `pike` learns .* found '2'"),
        (
            {"sampling": "phases", "phases": [{"sampling": "unimax", "repeats": 2, "over": 1, "passes": 1, "of": "news"}]},
            "mixture.phases.0.of: .*the share waits",
        ),
    ],
)  # fmt: skip
def test_one_thing_wrong_is_one_problem(settings: dict[str, Any], told: str) -> None:
    [found] = problems(**settings)
    assert found == told or re.search(told, found)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": "annealed", "temperature": 5.0, "over": 3, "epoch": "news", "tasks_per_step": 2},
        {"sampling": "phases", "phases": [{"rounds": 3}, LAST], "epoch": "news"},
        {"sampling": "phases", "phases": [{"sampling": "main", "main": "news", "ratio": 1, "rounds": 2, **LAST}]},
        {"sampling": "main", "main": "news", "ratio": 1, "epoch": 9},
        {"sampling": "bandit", "rate": 1.0, "tasks_per_step": 3},
        {"sampling": "round_robin", "turns": {"news": 2}, "epoch": "news"},
    ],
)
def test_what_is_fine_is_not_refused(settings: dict[str, Any]) -> None:
    assert problems(**settings) == []


def test_everything_at_once() -> None:
    found = problems(sampling="phases", rate=1, epoch="x", phases=[{"datasets": ["y"]}, {"sampling": "annealed", "rounds": 2}])
    assert [text.partition(": ")[0] for text in found] == [
        "mixture.epoch",
        "mixture.rate",
        "mixture.phases.0.datasets.0",
        "mixture.phases.0",
        "mixture.phases.1.sampling",
        "mixture.phases.1.sampling",
        "mixture.epoch",
    ]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("sampling", "anealed", "found 'anealed'; did you mean 'annealed'"),
        ("temperature", 0, "must be greater than 0; found '0'"),
        ("over", 0, "must be at least 1; found '0'"),
        ("ratio", -1, "must be greater than 0; found '-1'"),
        ("turns", {"a": 0}, "must be at least 1; found '0'"),
        ("tables", [{"a": -1}], "must be at least 0; found '-1'"),
        ("phases", [{"sampling": "bandit"}], "found 'bandit'"),
        ("phases", [{"length": 3}], "has no key of this name; found 'length'"),
    ],
)
def test_what_no_mixture_can_be_is_found_in_the_recipe(key: str, value: object, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({"tasks": {"a": {"type": "regression", "data": {"train": "a.csv"}}}, "mixture": {key: value}})
    [found] = caught.value.problems
    assert found.place.startswith(f"mixture.{key}")
    assert told in str(found)


class TestOnlyTheDataTell:
    def order(self, sizes: list[int], **settings: Any) -> None:
        mixture.order(MixtureSpec.model_validate(settings), NAMES, sizes, 13, 0)

    def test_a_table_of_empty_data_sets(self) -> None:
        with pytest.raises(RecipeError, match=r"mixture.tables.1: no data set that this table draws has rows"):
            self.order([3, 3, 0], sampling="alternating", tables=[{"news": 1}, {"tags": 1}])

    def test_a_phase_of_empty_data_sets(self) -> None:
        with pytest.raises(RecipeError, match=r"mixture.phases.1: no data set that takes part in this phase has rows"):
            self.order([3, 3, 0], sampling="phases", phases=[{"rounds": 2}, {"datasets": ["tags"], "passes": 1}])

    def test_a_pass_over_who_is_not_in_the_phase(self) -> None:
        with pytest.raises(RecipeError, match=r"mixture.phases.0.of: an epoch cannot be a pass over a data set without"):
            self.order([3, 3, 3], sampling="phases", phases=[{"datasets": ["tags"], "passes": 1, "of": "news"}])

    def test_an_epoch_by_who_does_not_last(self) -> None:
        with pytest.raises(RecipeError, match=r"mixture.epoch: an epoch cannot be a pass over a data set without a share"):
            self.order([3, 3, 3], sampling="phases", phases=[{"rounds": 2}, {"datasets": ["tags"]}], epoch="news")

    def test_too_low_a_temperature_at_the_end(self) -> None:
        with pytest.raises(RecipeError, match=r"mixture.phases.0.temperature: so low a temperature leaves nothing"):
            self.order([9, 3, 3], sampling="phases", phases=[{"sampling": "temperature", "temperature": 1e-5, "rounds": 2}])
