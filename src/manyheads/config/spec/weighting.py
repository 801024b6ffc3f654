"""Losses to weights: the settings of each method. What they mean and where they come from: docs/balance.md."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from manyheads.config.spec.base import Strict


class StaticWeighting(Strict):
    """Each task counts by its own `weight`."""

    type: Literal["static"]


class UncertaintyWeighting(Strict):
    """Each task learns how noisy its labels are (Kendall et al., 2018)."""

    type: Literal["uncertainty"]
    lr: float = Field(default=0.01, ge=0, le=1)
    """How far the log of a weight moves in a step of its task; 0: never."""


class DwaWeighting(Strict):
    """A task whose loss falls slowly from epoch to epoch counts more (Liu et al., 2019)."""

    type: Literal["dwa"]
    temperature: float = Field(default=2.0, ge=0.01)
    """The higher, the more alike the weights."""


class RlwWeighting(Strict):
    """Weights drawn anew at each step (Lin et al., 2022)."""

    type: Literal["rlw"]
    distribution: Literal["normal", "uniform", "dirichlet"] = "normal"
    """What they are drawn from; `normal` and `uniform` pass through a softmax."""


class GradNormWeighting(Strict):
    """Gradients of one length, longer for tasks that learn slowly (Chen et al., 2018)."""

    type: Literal["gradnorm"]
    alpha: float = Field(default=1.5, ge=0, le=10)
    """How strongly slow tasks are helped; 0: gradients of one length."""
    lr: float = Field(default=0.025, ge=0, le=1)
    """How far a weight moves in a step of its task; 0: never."""


class FamoWeighting(Strict):
    """The logs of all losses fall at one pace (Liu et al., 2023)."""

    type: Literal["famo"]
    lr: float = Field(default=0.025, ge=0, le=1)
    """How far a task's logit moves in a step of it."""
    decay: float = Field(default=1e-3, ge=0, le=1)
    """Pull of the logits towards 0."""


class ImtlLWeighting(Strict):
    """Every loss is scaled to about 1 by a learned factor (Liu et al., 2021)."""

    type: Literal["imtl_l"]
    lr: float = Field(default=0.01, ge=0, le=1)
    """How far the log of a weight moves in a step of its task; 0: never."""


class GeometricWeighting(Strict):
    """The geometric mean of the losses (Chennupati et al., 2019): their scales do not matter."""

    type: Literal["geometric"]


class StchWeighting(Strict):
    """A smooth maximum of the losses (Lin et al., 2024): the greatest counts most."""

    type: Literal["stch"]
    mu: float = Field(default=1.0, ge=1e-3)
    """In units of the loss: the lower, the closer to the greatest loss alone."""


class DbMtlWeighting(Strict):
    """Losses are trained by their logs (Lin et al., 2023)."""

    type: Literal["db_mtl"]


WeightingSpec: TypeAlias = Annotated[
    StaticWeighting
    | UncertaintyWeighting
    | DwaWeighting
    | RlwWeighting
    | GradNormWeighting
    | FamoWeighting
    | ImtlLWeighting
    | GeometricWeighting
    | StchWeighting
    | DbMtlWeighting,
    Field(discriminator="type"),
]
