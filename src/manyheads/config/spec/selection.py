"""What is done about weights and scores on the way: lower rates on a plateau, averages, anchors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manyheads.config.spec.base import Strict


class PlateauSpec(Strict):
    """Lower all learning rates when the selection stops getting better, beside the schedule."""

    patience: int = Field(default=2, ge=1)
    """Evaluations without a better selection before a drop."""
    factor: float = Field(default=0.5, gt=0, lt=1)
    """What the rates are multiplied by."""
    floor: float = Field(default=1e-3, ge=0, lt=1)
    """Least share of the peak rates; there the drops end."""
    reload: bool = False
    """Go back to the best weights, and the optimizer's moments of then, before a drop."""


class AverageSpec(Strict):
    """An average of the weights over the steps; it is what is scored on dev and test rows, and what the artefact holds."""

    type: Literal["ema", "swa"]
    """`ema`: a running mean that forgets; `swa`: the plain mean over the last part of the run."""
    decay: float = Field(default=0.999, gt=0, lt=1)
    """`ema`: share of the mean that stays at each step."""
    start: float = Field(default=0.75, ge=0, lt=1)
    """`swa`: share of the run's steps after which the mean begins."""
    every: int = Field(default=1, ge=1)
    """Steps between two that count."""


class AnchorSpec(Strict):
    """Hold shared parameters near where they stood when another data set's pass ended; for sequential mixtures and phases."""

    type: Literal["successive", "ewc"]
    """`successive`: every parameter alike; `ewc`: each by how much the passes before it depended on it."""
    strength: float = Field(gt=0)
    """Coefficient of the squared distance, or of half the squared distance weighted by the Fisher information."""
