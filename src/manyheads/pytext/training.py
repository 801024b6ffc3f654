"""Trainer, optimizer, scheduler and samplers: the sections `training` and `mixture`."""

from __future__ import annotations

from typing import Any

from manyheads.pytext.section import Section

_RATES = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 1e-3, "Adagrad": 1e-2, "RAdam": 1e-3, "NAG": 1e-3}
_DECAYS = {"Adam": 1e-5, "AdamW": 1e-2, "SGD": 0.0, "Adagrad": 1e-5, "RAdam": 1e-5, "NAG": 0.0}
_NAMES = {"Adam": "adam", "AdamW": "adamw", "SGD": "sgd", "Adagrad": "adagrad", "RAdam": "radam", "NAG": "sgd"}
_OLD_TYPES = {"adam": "Adam", "sgd": "SGD", "nag": "NAG"}
_OLD_SCHEDULES = {
    "step_lr": "StepLR",
    "lm_fine_tuning": "LmFineTuning",
    "reduce_lr_on_plateau": "ReduceLROnPlateau",
    "cosine_annealing_lr": "CosineAnnealingLR",
    "exponential_lr": "ExponentialLR",
    "none": "",
}
_WHOLE_RUN = "the rate falls over the whole run"
_SHORTEST = "`mixture.epoch` is the batches of all data sets; PyText's epoch ends with the shortest: name that data set there"


def trainer_of(task: Section) -> Section:
    """The section that trains: that of the task, or the real one inside Hogwild's or an ensemble's."""
    kind, inner = task.variant("trainer", "TaskTrainer")
    if kind == "HogwildTrainer":
        inner.remark("", kind, "there is no Hogwild training; processes are started by `accelerate launch`")
    return inner.section("real_trainer") if inner.has("real_trainer") else inner


def training(root: Section, task: Section) -> dict[str, Any]:
    """The section `training`, but for batches and the selection."""
    trainer = trainer_of(task)
    epochs = trainer.whole("epochs", 10)
    found: dict[str, Any] = {"epochs": epochs}
    if (rounds := trainer.whole("num_accumulated_batches", 1)) != 1:
        found["accumulate"] = rounds
    found["optimizer"] = _optimizer(trainer if trainer.has("optimizer") else task, found)
    schedule(trainer if trainer.has("scheduler") else task, found, epochs)
    found["clip"] = trainer.number("max_clip_norm", 0.0) or None
    if patience := trainer.whole("early_stop_after", 0):
        found["patience"] = patience
    if seconds := trainer.number("target_time_limit_seconds", 0.0):
        found["minutes"] = round(seconds / 60, 4)
    if not root.flag("use_cuda_if_available", True):
        found["device"] = "cpu"
    return found


def seed(root: Section, task: Section) -> int:
    """The seed; before version 1 it was the trainer's."""
    return root.whole("random_seed", trainer_of(task).whole("random_seed", 0))


def _optimizer(holder: Section, found: dict[str, Any]) -> dict[str, Any]:
    kind, inner = holder.variant("optimizer", "Adam")
    if kind == "StochasticWeightAveraging":
        found["average"] = {"type": "swa", "every": inner.whole("frequency", 5)}
        for key in ("start", "swa_learning_rate"):
            if inner.has(key):
                inner.give_up("the mean begins after a share of the run, `training.average.start`, at the run's own rates", key)
        kind, inner = inner.variant("optimizer", "SGD")
    if inner.has("type"):
        kind = _OLD_TYPES.get(inner.text("type"), inner.text("type"))
    if kind not in _NAMES:
        inner.remark("", kind, f"there is no {kind}; adamw takes its place")
    made: dict[str, Any] = {"name": _NAMES.get(kind, "adamw"), "lr": inner.number("lr", _RATES.get(kind, 1e-3))}
    made["weight_decay"] = inner.number("weight_decay", _DECAYS.get(kind, 0.0))
    if kind in ("SGD", "NAG") and (momentum := inner.number("momentum", 0.0)):
        made["momentum"] = momentum
    if kind == "NAG":
        made["nesterov"] = True
    if kind in ("Adam", "AdamW", "RAdam") and inner.has("eps"):
        made["eps"] = inner.number("eps", 1e-8)
    return made


def schedule(holder: Section, found: dict[str, Any], epochs: int) -> None:
    """The section `schedule`, or `plateau`; PyText's default is a constant rate without warm-up."""
    made: dict[str, Any] = {"name": "constant", "warmup": 0}
    if holder.has("scheduler"):
        kind, inner = holder.variant("scheduler", "")
        if not kind and inner.has("type"):
            kind = _OLD_SCHEDULES.get(inner.text("type"), inner.text("type"))
        if kind == "SchedulerWithWarmup":
            warm = inner.section("warmup_scheduler").named("WarmupScheduler")[1]
            made["warmup"] = warm.whole("warmup_steps", 10_000)
            kind, inner = inner.variant("scheduler", "ExponentialLR")
        _one(kind, inner, made, found, epochs)
    else:
        holder.section("scheduler")
    found["schedule"] = made


def _one(kind: str, inner: Section, made: dict[str, Any], found: dict[str, Any], epochs: int) -> None:
    rate = found["optimizer"]["lr"]
    if kind in ("StepLR", "ExponentialLR"):
        every = inner.whole("step_size", 30) if kind == "StepLR" else 1
        gamma = inner.number("gamma", 0.1)
        made |= {"name": "step", "every": round(every / epochs, 6), "gamma": gamma} if every < epochs else {}
    elif kind == "CosineAnnealingLR":
        made |= {"name": "cosine", "floor": _share(inner.number("eta_min", 0.0), rate)}
        inner.give_up(_WHOLE_RUN, "t_max")
    elif kind == "WarmupScheduler":
        made["warmup"] = inner.whole("warmup_steps", 10_000)
        if inner.flag("inverse_sqrt_decay", False):
            made["name"] = "inverse_sqrt"
    elif kind == "PolynomialDecayScheduler":
        made |= {
            "name": "linear",
            "warmup": inner.whole("warmup_steps", 0),
            "floor": _share(inner.number("end_learning_rate", 0.0), rate),
        }
        inner.give_up(_WHOLE_RUN, "total_steps")
        if inner.number("power", 1.0) != 1:
            inner.give_up("the rate falls in a straight line", "power")
    elif kind == "ReduceLROnPlateau":
        _plateau(inner, found, rate)
    elif kind == "CyclicLR":
        base, most = inner.number("base_lr", 0.001), inner.number("max_lr", 0.002)
        found["optimizer"]["lr"] = most
        made |= {"name": "cyclic", "start": _share(base, most), "every": 2 * inner.whole("step_size_up", 2000)}
    elif kind == "LmFineTuning":
        made |= {"name": "linear", "warmup": inner.number("cut_frac", 0.1), "floor": round(1 / inner.whole("ratio", 32), 6)}
    elif kind:
        inner.remark("", kind, "there is no such schedule; the rate is constant")
        inner.give_up("there is no such schedule; the rate is constant")


def _plateau(inner: Section, found: dict[str, Any], rate: float) -> None:
    patience = inner.whole("patience", 5)
    found["plateau"] = {
        "patience": max(1, patience),
        "factor": inner.number("factor", 0.1),
        "floor": _share(inner.number("min_lr", 0.0), rate),
    }
    inner.no_need("`training.select` knows which way is better", "lower_is_better")
    for key in ("threshold", "threshold_is_absolute"):
        if inner.has(key):
            inner.give_up("any better value counts", key)


def _share(value: float, whole: float) -> float:
    return round(min(1.0, value / whole), 8) if whole > 0 else 0.0


def mixture(task: Section, names: dict[str, str], sizes: int) -> dict[str, Any]:
    """The section `mixture`. `names` are the data sets of the configuration's tasks."""
    made: dict[str, Any] = {}
    length = trainer_of(task).whole("num_batches_per_epoch", 0)
    if sizes > 1:
        made = _old_sampler(task, names) if task.has("data_handler") else _sampler(task, names)
    if length:
        made["epoch"] = length
    elif made.get("sampling") == "round_robin" and "epoch" not in made:
        task.section("data").remark("sampler", "RoundRobinBatchSampler", _SHORTEST)
    return made


def _sampler(task: Section, names: dict[str, str]) -> dict[str, Any]:
    kind, inner = task.section("data").variant("sampler", "RoundRobinBatchSampler")
    known = [*names]
    if kind == "RoundRobinBatchSampler":
        made: dict[str, Any] = {"sampling": "round_robin"}
        if (epoch := inner.text("iter_to_set_epoch")) in names:
            made["epoch"] = names[epoch]
        elif epoch:
            inner.problem("no task is called this", "iter_to_set_epoch", epoch, tuple(known))
        return made
    if kind == "RandomizedBatchSampler":
        return {"sampling": "shares", "shares": _named(inner.table("unnormalized_iterator_probs", known), names)}
    if kind == "AlternatingRandomizedBatchSampler":
        tables = (inner.table(key, known) for key in ("unnormalized_iterator_probs", "second_unnormalized_iterator_probs"))
        return {"sampling": "alternating", "tables": [_named(table, names) for table in tables]}
    if kind == "NaturalBatchSampler":
        counts = inner.table("dataset_counts", known)
        return (
            {"sampling": "shares", "shares": _named(counts, names)}
            if len(counts) == len(names)
            else {"sampling": "proportional"}
        )
    inner.give_up(f"{kind}: data sets come by their sizes")
    return {"sampling": "proportional"}


def _old_sampler(task: Section, names: dict[str, str]) -> dict[str, Any]:
    handler = task.section("data_handler")
    made: dict[str, Any] = {"sampling": "round_robin" if handler.flag("upsample", True) else "proportional"}
    if length := handler.whole("epoch_size", 0):
        made["epoch"] = length
    elif made["sampling"] == "round_robin" and (target := task.text("target_task_name")) in names:
        made["epoch"] = names[target]
    return made


def _named(table: dict[str, float], names: dict[str, str]) -> dict[str, float]:
    return {names[name]: share for name, share in table.items()}
