"""Settings that cannot be meant are refused with their place, what was found and what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from manyheads.config.check_mixture import check_learning, check_mixture, settled
from manyheads.config.load import Loaded, recipe_from
from manyheads.config.node import refuse
from manyheads.config.spec.mixture import LEARNING, SAMPLING_KEYS, SAMPLING_NEEDS, TOGETHER, MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import RecipeError

Load = Callable[..., Loaded]
Refused = Callable[..., str]

NAMES = ["sentiment", "news", "tags"]
LAST: dict[str, Any] = {"datasets": ["news"]}


def problems(**settings: Any) -> list[str]:
    """What is wrong, a line each."""
    found = check_mixture(MixtureSpec.model_validate(settings), NAMES)
    return [str(finding.problem()).partition("\n")[0] for finding in found]


def recipe(**settings: Any) -> str:
    """A recipe of these data sets, a key of its mixture on each line."""
    tasks = [f"  {name}: {{type: regression, path: [encoder], data: {{train: {name}.csv}}}}" for name in NAMES]
    keys = [f"  {key}: {json.dumps(value)}" for key, value in settings.items()]
    head = ["modules: {encoder: {type: pretrained, name: minilm}}", "training: {steps: 9}"]
    return "\n".join([*head, "tasks:", *tasks, "mixture:", *keys]) + "\n"


WRONG: list[tuple[dict[str, Any], str]] = [
    # names
    (
        {"sampling": "alternating", "tables": [{"news": 1}, {"newz": 1, "tags": 1}]},
        "mixture.tables.1.newz: no data set has this name; there are 'sentiment', 'news', 'tags'; "
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
    (
        {"sampling": "annealed", "over": 3},
        "mixture.sampling: `sampling: annealed` needs the key 'temperature'; found 'annealed'",
    ),
    ({"sampling": "annealed", "temperature": 5}, "mixture.sampling: `sampling: annealed` needs the key 'over'"),
    ({"sampling": "annealed", "temperature": 0.5, "over": 3}, "mixture.temperature: an end below 1 .* found '0.5'"),
    ({"sampling": "unimax", "over": 3}, "`sampling: unimax` needs the key 'repeats'"),
    ({"sampling": "alternating"}, "`sampling: alternating` needs the key 'tables'"),
    ({"sampling": "alternating", "tables": [{"news": 1}]}, "mixture.tables: one table does not alternate"),
    ({"sampling": "alternating", "tables": [{"news": 1}, {"tags": 0}]}, "mixture.tables.1: all shares are 0"),
    ({"sampling": "main", "ratio": 2}, "`sampling: main` needs the key 'main'"),
    ({"sampling": "main", "main": "news"}, "`sampling: main` needs the key 'ratio'"),
    ({"sampling": "phases"}, "`sampling: phases` needs the key 'phases'"),
    ({"sampling": "bandit", "temperature": 0.1}, "`sampling: bandit` needs the key 'rate'"),
    ({"sampling": "bandit", "rate": 0.5}, "`sampling: bandit` needs the key 'temperature'"),
    (
        {"sampling": "bandit", "temperature": 0.1, "rate": 1.5},
        "mixture.rate: the weight in a running mean is at most 1; found '1.5'",
    ),
    ({"over": 3}, "mixture.over: `over` has no effect with `sampling: proportional`; found '3'"),
    ({"turns": {"news": 2}}, "mixture.turns: `turns` has no effect with `sampling: proportional`"),
    ({"main_last": True}, "mixture.main_last: `main_last` has no effect"),
    ({"phases": [LAST]}, "mixture.phases: `phases` has no effect"),
    # shares
    ({"sampling": "shares"}, "mixture.sampling: `sampling: shares` needs the key 'shares'"),
    ({"sampling": "shares", "shares": {"news": 0}}, "mixture.shares: all shares are 0"),
    ({"sampling": "shares", "shares": {"newz": 1}}, "mixture.shares.newz: no data set has this name"),
    # phases
    (
        {"sampling": "phases", "phases": [{"sampling": "annealed", "temperature": 0.5, "over": 3}]},
        "mixture.phases.0.temperature: an end below 1",
    ),
    ({"sampling": "phases", "phases": [{}, {"rounds": 3}]}, "mixture.phases.0: the phase has no length"),
    (
        {"sampling": "phases", "phases": [{"rounds": 3, "passes": 0.5}]},
        "mixture.phases.0.passes: `rounds` and `passes` exclude each other; found '0.5'",
    ),
    ({"sampling": "phases", "phases": [{"of": "news", "rounds": 3}]}, "mixture.phases.0.of: `of` has no effect without"),
    ({"sampling": "phases", "phases": [{"rounds": 3, "ratio": 2}]}, "mixture.phases.0.ratio: `ratio` has no effect with"),
    (
        {"sampling": "phases", "phases": [{"sampling": "main", "main": "tags", "ratio": 1, "rounds": 2, **LAST}]},
        "mixture.phases.0.main: the main data set is not one of the phase's; found 'tags'",
    ),
    ({"sampling": "phases", "phases": [{"rounds": 3}], "epoch": 9}, "mixture.epoch: `epoch` has no effect where every phase"),
    (
        {"sampling": "phases", "phases": [{"sampling": "annealed", "temperature": 5, "over": 3, "rounds": 2}, LAST]},
        "mixture.phases.0.sampling: an opening phase comes once, so nothing anneals in it; found 'annealed'",
    ),
    (
        {"sampling": "phases", "phases": [{"datasets": ["news", "tags", "news"]}]},
        "mixture.phases.0.datasets.2: the data set is named twice; found 'news'",
    ),
    (
        {"sampling": "phases", "phases": [{"sampling": "shares", "shares": {"news": 1, "tags": 1}, **LAST}]},
        "mixture.phases.0.shares.tags: the data set is not one of the phase's; found 'tags'",
    ),
    (
        {
            "sampling": "phases",
            "phases": [{"sampling": "alternating", "tables": [{"news": 1}, {"news": 1, "tags": 1}], **LAST}],
        },
        "mixture.phases.0.tables.1.tags: the data set is not one of the phase's; found 'tags'",
    ),
    (
        {"sampling": "phases", "phases": [{"sampling": "round_robin", "turns": {"tags": 2}, **LAST}]},
        "mixture.phases.0.turns.tags: the data set is not one of the phase's; found 'tags'",
    ),
    (
        {"sampling": "phases", "phases": [{"passes": 1, "of": "tags", **LAST}]},
        "mixture.phases.0.of: the data set whose passes are counted is not one of the phase's; found 'tags'",
    ),
    # epochs and rounds
    ({"epoch": 0}, "mixture.epoch: an epoch has at least one round; found '0'"),
    ({"epoch": "new"}, "mixture.epoch: .* there are 'pass', 'sentiment', 'news', 'tags'; .* did you mean 'news'"),
    ({"tasks_per_step": 4}, r"mixture.tasks_per_step: .* there are data sets \(3\); found '4'"),
    ({"sampling": "sequential", "tasks_per_step": "all"}, "mixture.sampling: .* exclude each other"),
    ({"sampling": "pike", "rate": 0.5, "tasks_per_step": "all"}, "mixture.tasks_per_step: `pike` learns .* found 'all'"),
    # what rounds of all data sets make void
    (
        {"sampling": "temperature", "temperature": 2, "tasks_per_step": "all"},
        "mixture.temperature: `temperature` has no effect with `tasks_per_step: all`; found '2'",
    ),
    (
        {"sampling": "round_robin", "turns": {"news": 2}, "tasks_per_step": "all"},
        "mixture.turns: `turns` has no effect with `tasks_per_step: all`",
    ),
    (
        {"sampling": "shares", "shares": {"news": 2, "tags": 1, "sentiment": 0}, "tasks_per_step": "all"},
        "mixture.shares: shares have no effect with `tasks_per_step: all`",
    ),
    # what excludes each other
    ({"sampling": "alternating", "tables": [{"news": 1}, {"tags": 1}], "tasks_per_step": "all"}, "exclude each other"),
    ({"sampling": "unimax", "repeats": 2, "over": 1, "epoch": "news"}, "mixture.epoch: .*the share waits for the length"),
    (
        {"sampling": "bandit", "temperature": 0.1, "rate": 0.5, "epoch": "news"},
        "mixture.epoch: .*the share waits for the length",
    ),
    ({"sampling": "pike", "rate": 0.5, "tasks_per_step": 2}, "mixture.tasks_per_step: `pike` learns .* found '2'"),
    (
        {"sampling": "phases", "phases": [{"sampling": "unimax", "repeats": 2, "over": 1, "passes": 1, "of": "news"}]},
        "mixture.phases.0.of: .*the share waits",
    ),
]


@pytest.mark.parametrize(("settings", "told"), WRONG)
def test_one_thing_wrong_is_one_problem(settings: dict[str, Any], told: str) -> None:
    [found] = problems(**settings)
    assert found == told or re.search(told, found)


@pytest.mark.parametrize(("settings", "told"), WRONG)
def test_it_is_told_where_it_stands_in_the_file(refused: Refused, settings: dict[str, Any], told: str) -> None:
    [found] = problems(**settings)
    key = re.match(r"mixture\.(\w+)", found)
    text = recipe(**settings)
    place, rule = re.fullmatch(r"recipe\.yaml:(\d+):\d+: (.*)", refused(text).partition("\n")[0]).groups()
    assert text.splitlines()[int(place) - 1].startswith(f"  {key[1]}: ")
    assert rule == found.partition(": ")[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": "annealed", "temperature": 5.0, "over": 3, "epoch": "news", "tasks_per_step": 2},
        {"sampling": "phases", "phases": [{"rounds": 3}, LAST], "epoch": "news"},
        {"sampling": "phases", "phases": [{"sampling": "main", "main": "news", "ratio": 1, "rounds": 2, **LAST}]},
        {"sampling": "main", "main": "news", "ratio": 1, "epoch": 9},
        {"sampling": "bandit", "temperature": 0.1, "rate": 1.0, "tasks_per_step": 3},
        {"sampling": "round_robin", "turns": {"news": 2}, "epoch": "news"},
        {"sampling": "phases", "phases": [{"rounds": 2}, {"sampling": "annealed", "temperature": 5.0, "over": 3}]},
        {"sampling": "shares", "shares": {"news": 2, "tags": 2, "sentiment": 0}, "tasks_per_step": "all"},
        {"sampling": "temperature", "tasks_per_step": "all"},
    ],
)
def test_what_is_fine_is_not_refused(settings: dict[str, Any]) -> None:
    assert problems(**settings) == []


def test_everything_at_once(refused: Refused) -> None:
    settings = {
        "sampling": "phases",
        "rate": 1,
        "phases": [{"datasets": ["y"]}, {"sampling": "annealed", "rounds": 2}],
        "epoch": "x",
        "tasks_per_step": 4,
    }
    assert [text.partition(": ")[0] for text in problems(**settings)] == [
        "mixture.rate",
        "mixture.phases.0.datasets.0",
        "mixture.phases.0",
        "mixture.phases.1.sampling",
        "mixture.phases.1.sampling",
        "mixture.epoch",
        "mixture.tasks_per_step",
    ]
    told = refused("sead: 1\n" + recipe(**settings))
    assert len(re.findall(r"^recipe\.yaml:\d+:\d+: ", told, re.MULTILINE)) == 8


def test_a_phase_is_found_by_line_and_column(refused: Refused) -> None:
    phases = "  phases:\n    - {rounds: 3}\n    - {sampling: uniform,\n       datasets: [news, tag]}\n"
    text = recipe(sampling="phases") + phases
    line = text.count("\n")
    assert refused(text).startswith(f"recipe.yaml:{line}:25: no data set has this name; ")


def test_data_sets_are_known_by_the_names_that_were_meant(refused: Refused) -> None:
    text = "data: {both: {train: both.csv}}\n" + recipe(sampling="shares", shares={"news": 1, "both": 1})
    meant = "tasks:\n  one: {type: regression, path: [encoder], data: {from: boht}}\n"
    assert refused(text.replace("tasks:\n", meant)).count("recipe.yaml:") == 1


def test_settings_without_a_recipe_are_told_by_their_keys() -> None:
    with pytest.raises(RecipeError) as caught:
        refuse(check_mixture(MixtureSpec(sampling="shares", shares={"newz": 1.0}, over=3), NAMES))
    assert [(p.place, p.value, p.nearest) for p in caught.value.problems] == [
        ("mixture.shares.newz", "newz", "news"),
        ("mixture.over", "3", None),
    ]
    refuse(check_mixture(MixtureSpec(), NAMES))


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": "shares", "shares": {"news": "x"}},
        {"sampling": "phases", "phases": [3]},
        {"sampling": "phases", "phases": [3, {"rounds": 1, "datasets": ["x"]}]},
        {"sampling": "phases", "phases": [{"rounds": "x"}, {"sampling": "uniform"}]},
        {"sampling": "phases", "phases": [{"sampling": "shares", "shares": {"news": -1}}]},
        {"sampling": "main", "main": 3, "ratio": 1},
        {"sampling": "anealed", "temperature": 5},
    ],
    ids=str,
)
def test_a_value_that_is_wrong_is_no_value_that_is_missing(refused: Refused, settings: dict[str, Any]) -> None:
    assert refused(recipe(**settings)).count("recipe.yaml:") == 1


@pytest.mark.parametrize("spec", [{"sampling": "annealed", "temperature": 5.0}, {"sampling": "unimax", "repeats": 2.0}])
def test_epochs_that_a_sampling_reckons_with_are_those_of_the_training(load: Load, spec: dict[str, Any]) -> None:
    inner = settled(MixtureSpec(sampling="phases", phases=[{"rounds": 2}, spec]), TrainingSpec(epochs=4)).phases
    assert [phase.over for phase in inner] == [None, 4]
    assert settled(MixtureSpec(**spec), TrainingSpec(epochs=4)).over == 4
    assert settled(MixtureSpec(**spec, over=9), TrainingSpec(epochs=4)).over == 9
    assert settled(MixtureSpec(**spec), TrainingSpec(steps=4)).over is None
    load(recipe(**spec), "training.steps=null")


@pytest.mark.parametrize("training", [{"epochs": 4}, {"steps": 9}])
def test_an_opening_phase_has_one_epoch(training: dict[str, int]) -> None:
    spec = {"sampling": "unimax", "repeats": 2.0, "rounds": 3}
    opening = settled(MixtureSpec(sampling="phases", phases=[spec, {"rounds": 2}, LAST]), TrainingSpec(**training))
    assert opening.phases[0].over == 1
    again = settled(MixtureSpec(sampling="phases", phases=[spec, {"rounds": 2}]), TrainingSpec(**training))
    assert again.phases[0].over == training.get("epochs")


@pytest.mark.parametrize(("training", "wrong"), [({"epochs": 1}, True), ({"epochs": 2}, False), ({"steps": 9}, False)])
def test_nothing_anneals_in_phases_that_come_once(training: dict[str, int], wrong: bool) -> None:
    mixture = MixtureSpec(sampling="phases", phases=[{"sampling": "annealed", "temperature": 5, "over": 3, "rounds": 3}])
    found = [finding.problem() for finding in check_learning(mixture, TrainingSpec(**training))]
    assert [problem.place for problem in found] == ["mixture.phases.0.sampling"] * wrong


def test_gradients_of_accumulated_steps_teach_nothing(refused: Refused) -> None:
    told = refused(recipe(sampling="pike", rate=0.5), "training.accumulate=2")
    assert told.startswith("override 'training.accumulate=2': `sampling: pike` learns from the gradients of steps")
    assert not list(check_learning(MixtureSpec(sampling="pike", rate=0.5), TrainingSpec()))


def test_the_tables_name_what_there_is() -> None:
    assert set(SAMPLING_NEEDS) <= set(SAMPLING_KEYS) >= TOGETHER | LEARNING
    assert {key for keys in SAMPLING_KEYS.values() for key in keys} <= set(MixtureSpec.model_fields)
    assert all(set(keys) <= set(SAMPLING_KEYS[name]) for name, keys in SAMPLING_NEEDS.items())


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("sampling", "anealed", "found 'anealed'; did you mean 'annealed'"),
        ("temperature", 0, "must be greater than 0; found '0'"),
        ("over", 0, "must be at least 1; found '0'"),
        ("ratio", -1, "must be greater than 0; found '-1'"),
        ("turns", {"a": 0}, "must be at least 1; found '0'"),
        ("tables", [{"a": -1}, {"a": 1}], "must be at least 0; found '-1'"),
        ("phases", [{"sampling": "bandit"}], "found 'bandit'"),
        ("phases", [{"length": 3}], "has no key of this name; found 'length'"),
    ],
)
def test_what_no_mixture_can_be_is_found_in_the_recipe(key: str, value: object, told: str) -> None:
    mixture = {"tables": {"sampling": "alternating"}, "phases": {"sampling": "phases"}}.get(key, {}) | {key: value}
    with pytest.raises(RecipeError) as caught:
        recipe_from({"tasks": {"a": {"type": "regression", "data": {"train": "a.csv"}}}, "mixture": mixture})
    [found] = caught.value.problems
    assert found.place.startswith(f"mixture.{key}")
    assert told in str(found)
