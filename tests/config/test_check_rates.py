"""Optimizer, schedule, rates and freezing: what is refused, and what is only told, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from manyheads.config.load import Loaded, recipe_from
from manyheads.errors import RecipeError


def loaded(training: dict[str, Any] | None = None, **changes: dict[str, Any]) -> Loaded:
    """A recipe of two tasks over one encoder; `changes` are keys of `encoder`, `top`, `shared` (data) and `size` (a task)."""
    encoder = {"type": "pretrained", "name": "minilm", "max_length": 64, **changes.get("encoder", {})}
    top = {"type": "feedforward", "width": 8, **changes.get("top", {})}
    mood = {"type": "classification", "path": ["encoder", "top"], "data": {"from": "shared"}}
    size = {"type": "regression", "path": ["encoder"], "data": {"train": "size.csv", **changes.get("own", {})}}
    return recipe_from(
        {
            "modules": {"encoder": encoder, "top": top},
            "data": {"shared": {"train": "shared.csv", **changes.get("shared", {})}},
            "tasks": {"mood": mood, "size": {**size, **changes.get("size", {})}},
            "training": training or {},
        }
    )


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        # freezing
        ({"encoder": {"freeze": True, "unfreeze_at": 5}}, "modules.encoder.unfreeze_at", "`freeze` is for the whole run"),
        ({"top": {"freeze": True, "freeze_at": 5}}, "modules.top.freeze_at", "and `freeze_at` for a part of it"),
        (
            {"top": {"unfreeze_at": 5, "freeze_at": 3}},
            "modules.top.freeze_at",
            "must come after `unfreeze_at`, which is 5; no step would train the module; found '3'",
        ),
        ({"top": {"unfreeze_at": 5, "freeze_at": 5}}, "modules.top.freeze_at", "must come after"),
        ({"top": {"unfreeze_at": 0}}, "modules.top.unfreeze_at", "must be at least 1"),
        ({"top": {"unfreze_at": 3}}, "modules.top.unfreze_at", "did you mean 'unfreeze_at'?"),
        # rates
        ({"encoder": {"lr": 0}}, "modules.encoder.lr", "must be greater than 0"),
        ({"encoder": {"layer_decay": 1.5}}, "modules.encoder.layer_decay", "must be at most 1"),
        (
            {"top": {"layer_decay": 0.9}},
            "modules.top.layer_decay",
            "'layer_decay' belongs to modules.top.layer_decay (type pretr",
        ),
        ({"size": {"lr": -1}}, "tasks.size.lr", "must be greater than 0"),
        # weights
        ({"top": {"load": {"from": "a", "modul": "x"}}}, "modules.top.load.modul", "did you mean 'module'?"),
        ({"top": {"load": {}}}, "modules.top.load", "needs the key 'from'"),
        ({"top": {"load": 3}}, "modules.top.load", "must be text or a mapping"),
        # optimizer
        ({"training": {"optimizer": {"name": "nadm"}}}, "training.optimizer.name", "found 'nadm'; did you mean 'nadam'?"),
        ({"training": {"optimizer": {"amsgard": True}}}, "training.optimizer.amsgard", "did you mean 'amsgrad'?"),
        (
            {"training": {"optimizer": {"name": "sgd", "nesterov": True}}},
            "training.optimizer.nesterov",
            "`nesterov` needs a `momentum` above 0",
        ),
        ({"training": {"optimizer": {"rho": 1}}}, "training.optimizer.rho", "must be less than 1"),
        # schedule
        ({"training": {"schedule": {"name": "stp"}}}, "training.schedule.name", "did you mean 'step'?"),
        ({"training": {"schedule": {"name": "step"}}}, "training.schedule.name", "`name: step` needs the key 'every'"),
        ({"training": {"schedule": {"name": "cyclic"}}}, "training.schedule.name", "needs the key 'every'"),
        ({"training": {"schedule": {"name": "multi_step"}}}, "training.schedule.name", "needs the key 'milestones'"),
        (
            {"training": {"schedule": {"name": "multi_step", "milestones": [3, 0]}}},
            "training.schedule.milestones.1",
            "must be greater than 0",
        ),
        (
            {"training": {"schedule": {"name": "multi_step", "milestones": [0]}}},
            "training.schedule.milestones.0",
            "must be greater than 0",
        ),
        # batches and lengths
        ({"shared": {"batch": {"rows": 0}}}, "data.shared.batch.rows", "must be at least 1"),
        (
            {"shared": {"max_length": 65}},
            "data.shared.max_length",
            "above that of the encoder 'encoder', which is 64; found '65'\n    raise `max_length` of the encoder as well",
        ),
        ({"own": {"max_length": 128}}, "tasks.size.data.max_length", "which is 64; found '128'"),
        ({"own": {"max_length": 2}}, "tasks.size.data.max_length", "must be at least 8"),
    ],
)
def test_a_broken_rule_is_told_at_its_place(changes: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(**changes)
    [problem] = caught.value.problems
    assert problem.place == place
    assert message in str(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": {"unfreeze_at": 5, "freeze_at": 6}},
        {"encoder": {"lr": 1e-5, "layer_decay": 0.9}, "top": {"lr": 1}, "size": {"lr": 0.1}},
        {"top": {"load": "a/artefact"}, "encoder": {"load": {"from": "a/artefact", "module": "other"}}},
        {"shared": {"max_length": 64, "batch": {"rows": 4}}, "own": {"batch": {"tokens": 256, "group_by_length": False}}},
        {"training": {"optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True}}},
        {"training": {"optimizer": {"name": "adadelta", "rho": 0.8, "eps": 1e-7}}},
        {"training": {"schedule": {"name": "exponential", "gamma": 0.99}}},
        {"training": {"schedule": {"name": "multi_step", "milestones": [0.5, 0.75]}}},
        {"training": {"schedule": {"name": "one_cycle", "warmup": 0.3, "start": 0.1}}},
    ],
)
def test_what_is_fine_is_neither_refused_nor_warned_about(changes: dict[str, Any]) -> None:
    assert loaded(**changes).warnings == ()


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"training": {"optimizer": {"momentum": 0.9}}},
            "training.optimizer.momentum: `momentum` has no effect with `name: adamw`",
        ),
        ({"training": {"optimizer": {"name": "sgd", "betas": [0.9, 0.98]}}}, "training.optimizer.betas: `betas` has no effect"),
        ({"training": {"schedule": {"gamma": 0.5}}}, "training.schedule.gamma: `gamma` has no effect with `name: linear`"),
        (
            {"training": {"schedule": {"name": "step", "every": 5, "start": 0.5}}},
            "training.schedule.start: `start` has no effect",
        ),
        ({"top": {"freeze": True, "lr": 0.1}}, "modules.top.lr: the module is frozen, so its rate has no effect"),
    ],
)
def test_what_has_no_effect_is_a_warning(changes: dict[str, Any], warning: str) -> None:
    [told] = loaded(**changes).warnings
    assert told.startswith(warning)


def test_a_resolved_recipe_with_every_default_warns_of_nothing() -> None:
    first = loaded({"optimizer": {"name": "sgd"}, "schedule": {"name": "constant"}})
    again = {k: v for k, v in first.recipe.model_dump(mode="json", by_alias=True).items() if k not in ("extends", "defaults")}
    for name in ("mood", "size"):
        given = {"from", "label", "missing"} if name == "mood" else set(again["tasks"][name]["data"]) - {"from"}
        again["tasks"][name]["data"] = {k: v for k, v in again["tasks"][name]["data"].items() if k in given}
    assert recipe_from(again).warnings == ()
