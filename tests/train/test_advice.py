"""What is said before a run begins; `check` and `train` say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from manyheads.api import load_recipe
from manyheads.assemble import assemble
from manyheads.errors import RecipeError
from manyheads.train.advice import advise

ANCHOR = "training.anchor={type: ewc, strength: 1}"


def advice(recipe: Path, *overrides: str) -> tuple[str, ...]:
    loaded = load_recipe(recipe, overrides)
    assembly = assemble(loaded)
    return advise(loaded.recipe, assembly, assembly.stream())


def without_dev(recipe: Path, task: str) -> None:
    lines = recipe.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith(f"  {task}:"))
    split = next(i for i in range(place, len(lines)) if "split: {dev: 0.2, test: 0.2}" in lines[i])
    lines[split] = lines[split].replace("split: {dev: 0.2, test: 0.2}", "split: {test: 0.2}")
    recipe.write_text("".join(lines))


def test_nothing_to_say(recipe: Path) -> None:
    assert advice(recipe) == ()


def test_rows_that_are_cut_or_left_out(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("train: mood.csv", "bad_rows: skip, train: mood.csv"))
    with (recipe.parent / "mood.csv").open("a") as file:
        file.write("one,two,three\n")
    (recipe.parent / "pairs.jsonl").write_text(json.dumps({"one": "a cat " * 9, "two": "a dog", "score": 1}) + "\n")
    recipe.write_text(recipe.read_text().replace("label: score, split: {dev: 0.2, test: 0.2}", "label: score"))
    bad, cut, _ = advice(recipe, "modules.encoder.max_length=12")
    assert bad == "mood: bad rows are left out (1)"
    assert cut == "likeness: 1 training rows (100%) are longer than the limit and are cut"


@pytest.mark.parametrize("steps", [1, 2])
def test_a_data_set_that_no_step_trains(recipe: Path, steps: int) -> None:
    found = advice(recipe, "mixture.sampling=round_robin", f"training.steps={steps}")
    assert [text.partition(":")[0] for text in found] == ["likeness", "names"][steps - 1 :]
    assert all("no step trains it" in text for text in found)


def test_a_task_without_dev_rows_has_no_say(recipe: Path) -> None:
    without_dev(recipe, "names")
    assert advice(recipe) == ("names: no labelled dev rows, so it has no say in which step is the best",)


def test_dev_rows_without_labels_are_none(recipe: Path) -> None:
    rows = [f"the film at rome,{'' if i < 40 else 'up'}" for i in range(60)]
    (recipe.parent / "dev.csv").write_text("text,label\n" + "\n".join(row for row in rows if row.endswith(",")) + "\n")
    without_dev(recipe, "mood")
    recipe.write_text(recipe.read_text().replace("train: mood.csv", "train: mood.csv, missing: [''], dev: dev.csv"))
    assert advice(recipe) == ("mood: no labelled dev rows, so it has no say in which step is the best",)


@pytest.mark.parametrize("column", ["label", "lable"])
def test_test_rows_without_labels_are_told_with_their_column(recipe: Path, column: str) -> None:
    (recipe.parent / "test.csv").write_text(f"text,{column}\nthe film at rome,\n")
    cut = recipe.read_text().replace("mood.csv, split: {dev: 0.2, test: 0.2}", "mood.csv, split: {dev: 0.2}, test: test.csv")
    recipe.write_text(cut.replace("train: mood.csv", "missing: [''], train: mood.csv"))
    assert advice(recipe) == ("mood: no test row has a label in column 'label', so none is scored",)


def test_no_dev_rows_at_all(recipe: Path) -> None:
    for task in ("mood", "likeness", "names"):
        without_dev(recipe, task)
    assert advice(recipe) == ("no task has labelled dev rows: nothing chooses the best step, and the last one is kept",)


def test_the_selecting_task_must_have_dev_rows(recipe: Path) -> None:
    without_dev(recipe, "names")
    assert len(advice(recipe, "training.select=mood")) == 1
    with pytest.raises(RecipeError) as caught:
        advice(recipe, "training.select=names")
    assert caught.value.problems[0].place == "override 'training.select=names'"


@pytest.mark.parametrize(
    ("select", "where", "told"),
    [
        (
            "mood/acuracy",
            "override 'training.select=mood/acuracy'",
            "there are 'accuracy', 'loss'; found 'acuracy'; did you mean",
        ),
        ("mood/mcc", "override 'training.select=mood/mcc'", "name it under `tasks.mood.metrics` too"),
        ("[names, likeness/likeness/dev/mae]", "override", "there are 'spearman', 'mse', 'loss'; found 'mae'"),
    ],
)
def test_a_score_that_the_task_does_not_report(recipe: Path, select: str, where: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        advice(recipe, f"training.select={select}")
    [problem] = caught.value.problems
    assert problem.place.startswith(where)
    assert told in str(problem)


def test_a_score_that_the_task_reports(recipe: Path) -> None:
    assert advice(recipe, "training.select=[mood/accuracy, likeness/mse:max, names/names/dev/loss]") == ()
    without_dev(recipe, "names")
    with pytest.raises(RecipeError, match="has no labelled dev rows"):
        advice(recipe, "training.select=[mood, names/loss]")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "modules.encoder.unfreeze_at=6",
            "modules.encoder.unfreeze_at: no step trains it; it is frozen for 6 steps, and",
        ),
        (
            "modules.encoder.freeze_at=7",
            "modules.encoder.freeze_at: it is never frozen; it trains for 7 steps, and",
        ),
        (
            "training.schedule={name: multi_step, milestones: [0.5, 3, 9]}",
            "training.schedule.milestones: the rate is to drop at step 9, and the run ends after 6 steps",
        ),
    ],
)
def test_steps_that_the_run_does_not_reach(recipe: Path, override: str, told: str) -> None:
    [text] = advice(recipe, "training.steps=6", override)
    assert text.startswith(told)


def test_steps_that_the_run_reaches(recipe: Path) -> None:
    assert advice(recipe, "training.steps=6", "modules.encoder.unfreeze_at=2", "modules.encoder.freeze_at=5") == ()


@pytest.mark.parametrize(
    ("mixture", "told"),
    [
        ("{}", ["mixture"]),
        ("{sampling: uniform, tasks_per_step: all}", ["mixture"]),
        ("{sampling: sequential}", []),
        ("{sampling: phases, phases: [{datasets: [mood], rounds: 3}, {sampling: sequential}]}", []),
        (
            "{sampling: phases, phases: [{rounds: 3}, {datasets: [mood], rounds: 2}, {}]}",
            ["mixture.phases.0", "mixture.phases.2"],
        ),
    ],
)
def test_an_anchor_holds_only_where_data_sets_come_one_after_the_other(recipe: Path, mixture: str, told: list[str]) -> None:
    found = advice(recipe, ANCHOR, f"mixture={mixture}")
    assert [re.match(r"training\.anchor: it has hardly any effect in `(.*)`, since", text)[1] for text in found] == told


UPGRAD, COSINES = "balance.aggregation.type=upgrad", "balance.cosines_every=2"


def test_tasks_that_never_meet_in_a_step(recipe: Path) -> None:
    assert advice(recipe, UPGRAD, COSINES) == (
        "balance.aggregation: no step has two tasks with labels, so `upgrad` never acts; set mixture.tasks_per_step",
        "balance.cosines_every: no step that it looks at has two tasks with labels, so no cosine is recorded; "
        "set mixture.tasks_per_step",
    )


@pytest.mark.parametrize("settings", [["mixture.tasks_per_step=all"], ["mixture.tasks_per_step=2"], ["training.accumulate=4"]])
def test_tasks_that_meet_in_a_step(recipe: Path, settings: list[str]) -> None:
    assert advice(recipe, UPGRAD, COSINES, *settings) == ()


def test_a_step_of_one_data_set_drawn_twice_and_tasks_of_weight_0_are_no_meeting(recipe: Path) -> None:
    draws = ["mixture={sampling: sequential, tasks_per_step: 2}", "training.steps=1"]
    assert [text.partition(":")[0] for text in advice(recipe, UPGRAD, *draws)][-1] == "balance.aggregation"
    alone = advice(recipe, COSINES, "mixture.tasks_per_step=all", "tasks.mood.weight=0", "tasks.names.weight=0")
    assert [text.partition(":")[0] for text in alone] == ["balance.cosines_every"]


def test_dwa_in_a_run_of_two_epochs(recipe: Path) -> None:
    [text] = advice(recipe, "balance.weighting.type=dwa")
    assert text.startswith("balance.weighting: `dwa` does nothing before the third epoch, and no step begins there")
    assert advice(recipe, "balance.weighting.type=dwa", "training.epochs=3") == ()
    assert advice(recipe, "balance.weighting.type=dwa", "mixture.epoch=2", "training.steps=5") == ()
    assert (
        len(advice(recipe, "balance.weighting.type=dwa", "mixture.epoch=2", "training.steps=4", "mixture.sampling=uniform")) > 0
    )


def test_an_anchor_of_one_data_set(recipe: Path) -> None:
    recipe.write_text(re.sub(r"  likeness:.*?\n(?=training)", "", recipe.read_text(), flags=re.DOTALL))
    assert advice(recipe, ANCHOR) == ("training.anchor: it has no effect, since one data set has none before it",)


def test_labels_that_are_most_likely_one(recipe: Path) -> None:
    rows = "".join(f"the film,{label}\n" for label in ("x", "y", "X", "x ", "z") for _ in range(6))
    (recipe.parent / "mood.csv").write_text("text,label\n" + rows)
    [text] = advice(recipe)
    assert text.startswith("mood: the labels 'X', 'x', 'x ' differ only in case, space or Unicode form")


def test_very_many_such_labels_are_counted(recipe: Path) -> None:
    rows = "".join(f"the film,{label}{number}\n" for number in range(9) for label in "xX" for _ in range(9))
    (recipe.parent / "mood.csv").write_text("text,label\n" + rows)
    found = [text for text in advice(recipe) if text.startswith("mood: ")]
    assert len(found) == 6
    assert found[-1] == "mood: and 4 more such groups of labels"


def test_a_warm_up_that_outlasts_the_run_and_a_selection_without_rows(recipe: Path) -> None:
    without_dev(recipe, "names")
    settings = ["training.schedule.warmup=1e9", "training.select=names"]
    with pytest.raises(RecipeError) as caught:
        advice(recipe, *settings)
    assert [(p.place, p.value) for p in caught.value.problems] == [
        ("override 'training.select=names'", "names"),
        ("override 'training.schedule.warmup=1e9'", "1e+09"),
    ]


def test_patience_of_one_task_of_a_shared_data_set(recipe: Path) -> None:
    text = recipe.read_text().replace(
        "tasks:\n", "data:\n  films: {train: mood.csv, split: {dev: 0.2, test: 0.2}}\ntasks:\n", 1
    )
    text = text.replace("data: {train: mood.csv, split: {dev: 0.2, test: 0.2}}", "data: {from: films}")
    recipe.write_text(text.replace("  mood:", "  again: {type: classification, path: [encoder], data: {from: films}}\n  mood:"))
    often = "training.evaluate_every=1"
    assert advice(recipe, often, "tasks.mood.patience=1") == (
        "tasks.mood.patience: it has no effect, since the data set 'films' stays for 'again', without patience",
    )
    assert advice(recipe, often, "tasks.mood.patience=1", "tasks.again.patience=1") == ()
    assert advice(recipe, often, "tasks.mood.patience=1", "training.stop=votes", "training.patience=1") == ()


def test_a_patience_that_nothing_can_spend(recipe: Path) -> None:
    without_dev(recipe, "names")
    assert advice(recipe, "training.epochs=5", "tasks.names.patience=1", "tasks.mood.patience=1")[1:] == (
        "tasks.names.patience: it has no effect, since the task has no labelled dev rows",
    )
    for task in ("mood", "likeness"):
        without_dev(recipe, task)
    assert [text.partition(":")[0] for text in advice(recipe, "tasks.mood.patience=1", "training.patience=2")] == [
        "no task has labelled dev rows",
        "tasks.mood.patience",
        "training.patience",
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["training.evaluate_every=99", "training.patience=1"], {"training.patience": (1, 1)}),
        (["training.evaluate_every=2", "training.patience=2", "tasks.mood.patience=1"], {"training.patience": (2, 3)}),
        (["training.evaluate_every=2", "training.plateau.patience=9"], {"training.plateau.patience": (9, 3)}),
        (["training.evaluate_every=2", "tasks.mood.patience=3"], {"tasks.mood.patience": (3, 3)}),
        (["training.evaluate_every=2", "training.patience=2", "training.evaluate_first=true"], {}),
        (["training.evaluate_every=2", "training.patience=1", "training.plateau.patience=1"], {}),
    ],
)
def test_a_patience_that_outlasts_the_evaluations(recipe: Path, settings: list[str], told: dict[str, tuple[int, int]]) -> None:
    waits = "it has no effect, for it waits for {} evaluations after the first, and the run has {}, the last at its end"
    expected = tuple(f"{key}: {waits.format(*numbers)}" for key, numbers in told.items())
    assert advice(recipe, "training.steps=6", *settings) == expected


def test_a_cross_table_lacks_tasks_without_dev_rows(recipe: Path) -> None:
    assert advice(recipe, "training.cross_table=true") == ()
    without_dev(recipe, "names")
    assert advice(recipe, "training.cross_table=true")[1:] == (
        "training.cross_table: it has no scores with the best weights of 'names', for want of labelled dev rows",
    )
    for task in ("mood", "likeness"):
        without_dev(recipe, task)
    assert advice(recipe, "training.cross_table=true")[1:] == (
        "training.cross_table: it has no effect, since no task has labelled dev rows",
    )


def test_a_bandit_learns_from_dev_rows(recipe: Path) -> None:
    bandit = ("mixture.sampling=bandit", "mixture.temperature=0.1", "mixture.rate=0.5")
    assert advice(recipe, *bandit) == ()
    without_dev(recipe, "names")
    assert [text for text in advice(recipe, *bandit) if "bandit" in text] == [
        "names: no labelled dev rows, so `bandit` never sees it fall back and gives it a low share"
    ]
    for task in ("mood", "likeness"):
        without_dev(recipe, task)
    with pytest.raises(RecipeError, match=r"mixture\.sampling.*no data set has labelled ones"):
        advice(recipe, *bandit)


def test_numbers_above_what_there_is(recipe: Path) -> None:
    """The encoder has 64 positions; of two labels two are all."""
    (recipe.parent / "mood.csv").write_text((recipe.parent / "mood.csv").read_text().replace("good,up", "good,up|fine"))
    several = ["tasks.mood.type=multilabel", "modules.encoder.max_length=64"]
    assert advice(recipe, *several, "tasks.mood.top=2") == ()
    assert advice(recipe, *several[:1], "modules.encoder.max_length=65", "tasks.mood.top=3") == (
        "modules.encoder.max_length: the encoder has 64 positions, and reads no more pieces than that",
        "tasks.mood.top: there are 3 labels, so 3 of them are all, for every row",
    )
