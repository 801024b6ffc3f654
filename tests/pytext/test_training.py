"""Trainers, optimizers, schedulers and what is global."""

from __future__ import annotations

from typing import Any

import pytest
from tests.pytext.conftest import Convert, document
from tests.pytext.test_convert import loads


def trained(convert_json: Convert, trainer: dict[str, Any], **further: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The section `training` and what is lost, by its key."""
    task = {**document(), "trainer": trainer}
    found = loads(convert_json({"task": {"DocumentClassificationTask": task}, **further}))
    return found.recipe["training"], {remark.path.rsplit(".", 1)[-1]: remark.why for remark in found.lost}


def test_the_trainer(convert_json: Convert) -> None:
    settings = {"epochs": 4, "early_stop_after": 2, "max_clip_norm": 5.0, "num_accumulated_batches": 3}
    settings["target_time_limit_seconds"] = 5400
    made, lost = trained(convert_json, {"TaskTrainer": settings}, use_cuda_if_available=False)
    assert lost == {}
    wanted = {"epochs": 4, "patience": 2, "clip": 5.0, "accumulate": 3, "device": "cpu", "minutes": 90.0}
    assert {key: made[key] for key in wanted} == wanted


def test_hogwild_is_told_to_be_absent(convert_json: Convert) -> None:
    made, lost = trained(convert_json, {"HogwildTrainer": {"real_trainer": {"epochs": 2}, "num_workers": 4}})
    assert made["epochs"] == 2
    assert set(lost) == {"HogwildTrainer", "num_workers"}
    assert set(lost.values()) == {"there is no Hogwild training; processes are started by `accelerate launch`"}


@pytest.mark.parametrize(
    ("optimizer", "wanted", "lost"),
    [
        ({"AdamW": {"lr": 0.01}}, {"name": "adamw", "lr": 0.01, "weight_decay": 0.01}, []),
        ({"SGD": {"momentum": 0.9}}, {"name": "sgd", "lr": 0.001, "weight_decay": 0.0, "momentum": 0.9}, []),
        ({"Adagrad": {}}, {"name": "adagrad", "lr": 0.01, "weight_decay": 1e-5}, []),
        ({"RAdam": {"eps": 1e-6}}, {"name": "radam", "lr": 0.001, "weight_decay": 1e-5, "eps": 1e-6}, []),
        ({"Lamb": {"lr": 0.1}}, {"name": "adamw", "lr": 0.1, "weight_decay": 0.0}, ["Lamb"]),
        ({"type": "adam", "lr": 0.5}, {"name": "adam", "lr": 0.5, "weight_decay": 1e-5}, []),
    ],
)
def test_optimizers(convert_json: Convert, optimizer: Any, wanted: Any, lost: list[str]) -> None:
    made, told = trained(convert_json, {"optimizer": optimizer})
    assert made["optimizer"] == wanted
    assert list(told) == lost


def test_an_average_of_the_weights(convert_json: Convert) -> None:
    swa = {"StochasticWeightAveraging": {"optimizer": {"SGD": {"lr": 0.2}}, "start": 3, "frequency": 7}}
    made, lost = trained(convert_json, {"optimizer": swa})
    assert made["optimizer"]["lr"] == 0.2
    assert made["average"] == {"type": "swa", "every": 7}
    assert set(lost) == {"start"}


@pytest.mark.parametrize(
    ("scheduler", "wanted", "lost"),
    [
        ({"StepLR": {"step_size": 2, "gamma": 0.5}}, {"name": "step", "warmup": 0, "every": 0.2, "gamma": 0.5}, []),
        ({"StepLR": {}}, {"name": "constant", "warmup": 0}, []),
        ({"ExponentialLR": {"gamma": 0.9}}, {"name": "step", "warmup": 0, "every": 0.1, "gamma": 0.9}, []),
        ({"CosineAnnealingLR": {"t_max": 50, "eta_min": 0.0001}}, {"name": "cosine", "warmup": 0, "floor": 0.1}, ["t_max"]),
        ({"WarmupScheduler": {"warmup_steps": 20}}, {"name": "constant", "warmup": 20}, []),
        ({"WarmupScheduler": {"inverse_sqrt_decay": True}}, {"name": "inverse_sqrt", "warmup": 10000}, []),
        (
            {"PolynomialDecayScheduler": {"warmup_steps": 5, "total_steps": 100, "end_learning_rate": 0.0}},
            {"name": "linear", "warmup": 5, "floor": 0.0},
            ["total_steps"],
        ),
        ({"LmFineTuning": {"ratio": 10}}, {"name": "linear", "warmup": 0.1, "floor": 0.1}, []),
        (
            {"SchedulerWithWarmup": {"warmup_scheduler": {"warmup_steps": 9}, "scheduler": {"ExponentialLR": {"gamma": 0.5}}}},
            {"name": "step", "warmup": 9, "every": 0.1, "gamma": 0.5},
            [],
        ),
    ],
)
def test_schedules(convert_json: Convert, scheduler: Any, wanted: Any, lost: list[str]) -> None:
    made, told = trained(convert_json, {"scheduler": scheduler})
    assert made["schedule"] == wanted
    assert list(told) == lost


def test_a_rate_that_waits_for_better_scores(convert_json: Convert) -> None:
    made, lost = trained(
        convert_json, {"scheduler": {"ReduceLROnPlateau": {"patience": 3, "factor": 0.2, "min_lr": 1e-5, "threshold": 0.1}}}
    )
    assert made["plateau"] == {"patience": 3, "factor": 0.2, "floor": 0.01}
    assert set(lost) == {"threshold"}


def test_a_rate_in_cycles(convert_json: Convert) -> None:
    made, lost = trained(convert_json, {"scheduler": {"CyclicLR": {"base_lr": 0.001, "max_lr": 0.004, "step_size_up": 50}}})
    assert made["optimizer"]["lr"] == 0.004
    assert made["schedule"] == {"name": "cyclic", "warmup": 0, "start": 0.25, "every": 100}
    assert lost == {}


def test_an_epoch_of_so_many_batches(convert_json: Convert) -> None:
    task = {**document(), "trainer": {"num_batches_per_epoch": 30}}
    assert convert_json({"task": {"DocumentClassificationTask": task}}).recipe["mixture"] == {"epoch": 30}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("use_fp16", True, "`training.precision: bf16`"),
        ("distributed_world_size", 2, "`accelerate launch"),
        ("gpu_streams_for_distributed_training", 1, "PyText's default"),
        ("load_snapshot_path", "old.pt", "`modules.<name>.load`"),
        ("save_snapshot_path", "/tmp/model.pt", "the folder `artefact`"),
        ("use_config_from_snapshot", True, "goes on by the same command"),
        ("auto_resume_from_snapshot", True, "goes on where it stopped"),
        ("modules_save_dir", "modules", "`modules.<name>.load`"),
        ("save_module_checkpoints", True, "`modules.<name>.load`"),
        ("save_all_checkpoints", True, "`training.checkpoint.keep`"),
        ("use_tensorboard", True, "records.jsonl and progress.jsonl"),
        ("use_deterministic_cudnn", True, "every run can be repeated"),
        ("report_eval_results", True, "at each evaluation"),
        ("report_test_results", True, "test rows are scored at the end"),
        ("use_cuda_for_testing", False, "`training.device`"),
        ("read_chunk_size", 1000, "files are read as they are"),
        ("include_dirs", ["mine"], "`--plugin FILE.py`"),
    ],
)
def test_what_is_global_has_an_equal_that_is_told(convert_json: Convert, key: str, value: Any, told: str) -> None:
    found = loads(convert_json({"task": {"DocumentClassificationTask": document()}, key: value}))
    [remark] = [*found.lost, *found.idle]
    assert (remark.path, told in remark.why) == (key, True), remark.why
    assert remark.why in found.text


def test_what_is_global_and_a_key_of_recipes(convert_json: Convert) -> None:
    settings = {"random_seed": 7, "use_cuda_if_available": False}
    found = loads(convert_json({"task": {"DocumentClassificationTask": document()}, **settings}))
    assert (found.recipe["seed"], found.recipe["training"]["device"]) == (7, "cpu")
    assert (found.lost, found.idle) == ((), ())
