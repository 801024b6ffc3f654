"""The keys of `training.select`: what they mean, and what is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from manyheads.config.criterion import Criterion, criteria
from manyheads.config.load import Loaded, recipe_from
from manyheads.errors import RecipeError


def loaded(select: Any) -> Loaded:
    """A recipe of two tasks on one data set, and a third with its own."""
    shared = {"from": "reviews"}
    tasks = {
        "mood": {"type": "classification", "path": ["encoder"], "data": {**shared, "label": "mood"}},
        "stars": {"type": "regression", "path": ["encoder"], "data": {**shared, "label": "stars"}},
        "names": {"type": "tagging", "path": ["encoder"], "data": {"train": "names.conll"}},
    }
    data = {"reviews": {"train": "reviews.csv"}}
    modules = {"encoder": {"type": "pretrained", "name": "minilm"}}
    return recipe_from({"modules": modules, "data": data, "tasks": tasks, "training": {"select": select}})


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("average", Criterion("average")),
        ("loss", Criterion("loss", metric="loss")),
        ("loss:max", Criterion("loss:max", metric="loss", direction="max")),
        ("mood", Criterion("mood", "mood")),
        ("mood:min", Criterion("mood:min", "mood", direction="min")),
        ("mood/f1", Criterion("mood/f1", "mood", metric="f1")),
        ("mood/own/part", Criterion("mood/own/part", "mood", metric="own/part")),
        ("mood/reviews/dev/f1:max", Criterion("mood/reviews/dev/f1:max", "mood", "reviews", "dev", "f1", "max")),
        ("mood/reviews/dev/own/part", Criterion("mood/reviews/dev/own/part", "mood", "reviews", metric="own/part")),
    ],
)
def test_the_parts_of_a_key(key: str, wanted: Criterion) -> None:
    assert criteria(key) == [(("training", "select"), wanted)]
    assert criteria(["average", key])[1] == (("training", "select", 1), wanted)
    assert loaded(key).recipe.training.select == key


@pytest.mark.parametrize(
    ("select", "place", "message"),
    [
        ("moood", "training.select", "begins with a task's name; there are 'average', 'loss', "),
        ("moood/f1", "training.select", "found 'moood'; did you mean 'mood'?"),
        (["mood", "nams/span_f1"], "training.select.1", "found 'nams'; did you mean 'names'?"),
        ("mood/review/dev/f1", "training.select", "has no such data set; there are 'reviews'; found 'review'; did you mean"),
        ("names/reviews/dev/span_f1", "training.select", "there are 'names'; found 'reviews'"),
        ("mood/reviews/test/f1", "training.select", "chosen on rows that are not trained on; there are 'dev'; found 'test'"),
        (
            "mood/f1:mix",
            "training.select",
            "after `:` stands what is better; there are 'min', 'max'; found 'mix'; did you mean",
        ),
        ("mood/f1:", "training.select", "found ''"),
        ("average:max", "training.select", "the average has its direction"),
        ("mood/", "training.select", "a part of the key is empty; found 'mood/'"),
        ("", "training.select", "a part of the key is empty"),
        ([], "training.select", "of length at least 1"),
        (3, "training.select", "must be text or a list"),
    ],
)
def test_a_mistake_is_told_at_its_place(select: Any, place: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(select)
    [problem] = caught.value.problems
    assert problem.place == place
    assert message in str(problem)


def test_all_mistakes_of_a_list_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(["moood", "mood/f1:up", "stars"])
    assert [p.place for p in caught.value.problems] == ["training.select.0", "training.select.1"]
