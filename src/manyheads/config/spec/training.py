"""The loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from manyheads.config.spec.base import Strict


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

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """Rule of the update."""
    lr: float = Field(default=5e-5, gt=0, le=100)
    """Peak learning rate."""
    head_lr: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate of everything that is not pretrained; default: `lr`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False
    )
    """Adam's averages."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's epsilon."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of `sgd`."""


class ScheduleSpec(Strict):
    """The learning rate over the run, as a factor of the peak."""

    name: Literal["linear", "cosine", "constant", "inverse_sqrt"] = "linear"
    """Shape after the warm-up; `linear` and `cosine` end at `floor`."""
    warmup: float = Field(default=0.06, ge=0)
    """Below 1 a share of all steps, from 1 on a number of steps."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Least factor."""


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
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast of the forward pass; weights stay fp32."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Evaluate on dev rows every so many steps; default: at the end of each epoch."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better `select`."""
    select: str = "average"
    """What chooses the best checkpoint: `average` of all tasks' metrics, or a task's name."""
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """Checkpoints."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; recorded, since results are bit-equal only for the same number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live."""
