"""Gradients to one: the settings of each method. What they mean and where they come from: docs/balance.md."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from manyheads.config.spec.base import Strict


class SumAggregation(Strict):
    """The gradients are added up, as one backward pass does."""

    type: Literal["sum"]


class Balanced(Strict):
    """What all other aggregations have."""

    level: Literal["rows", "trunk"] = "rows"
    """Where gradients are compared: `rows` keeps each task's whole gradient; `trunk` looks at the trunk's output alone."""


class MeanAggregation(Balanced):
    """The mean of the gradients."""

    type: Literal["mean"]


class UPGradAggregation(Balanced):
    """Each gradient is projected to where it conflicts with none, then the mean (Quinton and Rey 2024)."""

    type: Literal["upgrad"]


class DualProjAggregation(Balanced):
    """The mean is projected to where it conflicts with no gradient (Lopez-Paz and Ranzato 2017)."""

    type: Literal["dualproj"]


class MGDAAggregation(Balanced):
    """The shortest weighted mean of the gradients (Désidéri 2012)."""

    type: Literal["mgda"]


class PCGradAggregation(Balanced):
    """What conflicts with other gradients is taken out of each, one after the other (Yu and others 2020)."""

    type: Literal["pcgrad"]


class CAGradAggregation(Balanced):
    """Near the mean, the step that helps the worst-off task most (Liu and others 2021)."""

    type: Literal["cagrad"]
    c: float = Field(default=0.5, ge=0)
    """How near: the distance from the mean in lengths of the mean. 0 is the mean."""


class NashMTLAggregation(Balanced):
    """The step that tasks would agree on when they bargain (Navon and others 2022)."""

    type: Literal["nash_mtl"]
    max_norm: float | None = Field(default=1.0, gt=0)
    """Longest step; null: no limit."""
    update_every: int = Field(default=1, ge=1)
    """Find new weights every so many steps."""


class FairGradAggregation(Balanced):
    """The step that is alpha-fair to all tasks (Ban and Ji 2024)."""

    type: Literal["fairgrad"]
    alpha: float = Field(default=1.0, ge=0.1, le=10)
    """1: proportional fairness; 2: least total delay; more: closer to helping only the worst-off task."""


class IMTLGAggregation(Balanced):
    """The step that is equally long along each gradient (Liu and others 2021)."""

    type: Literal["imtl_g"]


class AlignedMTLAggregation(Balanced):
    """Gradients are made orthogonal and equally long before they are averaged (Senushkin and others 2023)."""

    type: Literal["aligned_mtl"]
    scale: Literal["min", "median", "rmse"] = "min"
    """The length that all principal components get: the least, the median, or the root of the mean square."""


class GradVacAggregation(Balanced):
    """Gradients are turned until they are as alike as they have been on average (Wang and others 2021)."""

    type: Literal["gradvac"]
    beta: float = Field(default=0.01, ge=0, le=1)
    """Share of a step's cosine in the running mean. 0 is `pcgrad`."""


class GradDropAggregation(Strict):
    """Each coordinate keeps the gradients of one sign, drawn by how pure the signs are (Chen and others 2020)."""

    type: Literal["graddrop"]
    level: Literal["rows"] = "rows"
    """It chooses coordinate by coordinate, and so needs each task's whole gradient."""
    leak: float = Field(default=0.0, ge=0, le=1)
    """Share of each gradient that passes in any case."""


class ConFIGAggregation(Balanced):
    """The direction that has the same angle to all gradients (Liu and others 2025)."""

    type: Literal["config"]


AggregationSpec: TypeAlias = Annotated[
    SumAggregation
    | MeanAggregation
    | UPGradAggregation
    | DualProjAggregation
    | MGDAAggregation
    | PCGradAggregation
    | CAGradAggregation
    | NashMTLAggregation
    | FairGradAggregation
    | IMTLGAggregation
    | AlignedMTLAggregation
    | GradVacAggregation
    | GradDropAggregation
    | ConFIGAggregation,
    Field(discriminator="type"),
]
