"""The loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from manyheads.config.spec.base import Strict
from manyheads.config.spec.selection import AnchorSpec, AverageSpec, PlateauSpec
from manyheads.config.spec.sharing import OrthogonalitySpec


class BatchSpec(Strict):
    """How rows become batches: grouped by length, then filled up to a number of rows or a budget of padded pieces."""

    rows: int | None = Field(default=None, ge=1)
    """Rows in a batch."""
    tokens: int | None = Field(default=None, ge=8)
    """Most padded pieces in a batch (rows × longest row). Default when `rows` is not given: 2048."""
    group_by_length: bool = True
    """Sort by length inside pools of 50 batches before cutting; False: batches of random rows."""


class OptimizerSpec(Strict):
    """The optimizer. Biases and norms get no weight decay."""

    name: Literal["adamw", "adam", "adamax", "radam", "nadam", "sgd", "rmsprop", "adagrad", "adadelta"] = "adamw"
    """Rule of the update, as torch has it."""
    lr: float = Field(default=5e-5, gt=0, le=100)
    """Peak learning rate."""
    head_lr: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate of everything that is not pretrained; default: `lr`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay: decoupled for `adamw`, a part of the gradient (L2) for all others."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False
    )
    """Averages of `adamw`, `adam`, `adamax`, `radam` and `nadam`."""
    eps: float | None = Field(default=None, gt=0)
    """Added to the root that the step is divided by; default: 1e-8, 1e-10 for `adagrad`, 1e-6 for `adadelta`."""
    amsgrad: bool = False
    """Divide by the greatest average so far, for `adamw` and `adam`."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of `sgd` and `rmsprop`."""
    nesterov: bool = False
    """Nesterov's momentum, for `sgd`."""
    alpha: float = Field(default=0.99, gt=0, lt=1)
    """Smoothing of the squares of `rmsprop`."""
    rho: float = Field(default=0.9, gt=0, lt=1)
    """Smoothing of the squares of `adadelta`."""


_ADAM = ("betas", "eps")
OPTIMIZER_KEYS: Mapping[str, tuple[str, ...]] = {
    "adamw": (*_ADAM, "amsgrad"),
    "adam": (*_ADAM, "amsgrad"),
    "adamax": _ADAM,
    "radam": _ADAM,
    "nadam": _ADAM,
    "sgd": ("momentum", "nesterov"),
    "rmsprop": ("momentum", "alpha", "eps"),
    "adagrad": ("eps",),
    "adadelta": ("rho", "eps"),
}
"""What each rule takes beside rates and weight decay."""


class ScheduleSpec(Strict):
    """The learning rate over the run, as a factor of the peak. All lengths are optimizer steps, or shares of the run."""

    name: Literal[
        "linear", "cosine", "constant", "inverse_sqrt", "exponential", "step", "multi_step", "one_cycle", "cyclic"
    ] = "linear"
    """Shape after the warm-up; `linear`, `cosine` and `one_cycle` end at `floor`."""
    warmup: float = Field(default=0.06, ge=0)
    """Below 1 a share of all steps, from 1 on a number of steps. `one_cycle`: the rise; `cyclic` has none."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Least factor."""
    gamma: float = Field(default=0.9, gt=0, le=1)
    """Factor of each drop of `step` and `multi_step`; of every `every` steps of `exponential`, smoothly."""
    every: float | None = Field(default=None, gt=0)
    """Steps between two drops of `step`, steps of one cycle of `cyclic`; below 1 a share. For `exponential` 1 unless said."""
    milestones: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    """Steps of the run at which `multi_step` drops; below 1 shares."""
    start: float = Field(default=0.04, gt=0, le=1)
    """Factor at the first step of `one_cycle`, and between two cycles of `cyclic`."""


SCHEDULE_KEYS: Mapping[str, tuple[str, ...]] = {
    "exponential": ("gamma", "every"),
    "step": ("gamma", "every"),
    "multi_step": ("gamma", "milestones"),
    "one_cycle": ("start",),
    "cyclic": ("start", "every"),
}
"""What some shapes take beside warm-up and floor."""


class CheckpointSpec(Strict):
    """When the state of a run is written, so that the same command continues it."""

    every_steps: int | None = Field(default=None, ge=1)
    """Every so many steps."""
    every_minutes: float | None = Field(default=5.0, gt=0)
    """Whenever this much time has passed since the last one."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest stay; the best of each task and of the whole always stay."""


class TrainingSpec(Strict):
    """The loop."""

    epochs: int = Field(default=3, ge=1)
    """Epochs, as `mixture.epoch` counts them."""
    steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps instead."""
    batch: BatchSpec = Field(default_factory=BatchSpec)
    """Batches."""
    accumulate: int = Field(default=1, ge=1)
    """Rounds in one optimizer step."""
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    """Optimizer."""
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    """Learning rate."""
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of the gradient; null: no clipping."""
    clip_value: float | None = Field(default=None, gt=0)
    """Greatest size of each element of the gradient, cut before the norm is; null: no cutting."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast of the forward pass; weights stay fp32."""
    evaluate_every: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Evaluate on dev rows every so many steps, below 1 every such share of an epoch; default: at the end of each epoch."""
    evaluate_first: bool = False
    """Evaluate before the first step too; a later step is the best only if it is better than that."""
    evaluate_train: int | None = Field(default=None, ge=1)
    """Evaluate on this many training rows of each data set as well, the same rows each time."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better `select`; with `stop: votes`, without a better metric of each task."""
    minutes: float | None = Field(default=None, gt=0)
    """Stop at the evaluation after which the next one would come later than this, counted from the begin of the training."""
    select: str | Annotated[list[str], Field(min_length=1)] = "average"
    """What chooses the best step: `average` of the tasks' metrics, `loss`, a task, `task/metric`, a list of these: its mean.

    Also the name of a selection, a function of all scores that a plug-in registered.
    """
    stop: Literal["selection", "votes"] = "selection"
    """Who spends `patience`: the selection, or every task for itself, the run ending when all have spent it."""
    plateau: PlateauSpec | None = None
    """Lower the rates when the selection stops getting better."""
    average: AverageSpec | None = None
    """Judge and save an average of the weights."""
    anchor: AnchorSpec | None = None
    """Hold what tasks share near where an earlier task left it."""
    orthogonality: OrthogonalitySpec | None = None
    """Keep subspaces of recurrent modules apart."""
    cross_table: bool = False
    """At the end, score each task's best weights on the test rows of every task (dev rows where there are none)."""
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """Checkpoints."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; recorded, since results are bit-equal only for the same number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live."""
