"""Losses to weights: the settings of each method. What they mean and where they come from: docs/balance.md."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from manyheads.config.spec.base import Strict


class StaticWeighting(Strict):
    """Each task counts by its own `weight`."""

    type: Literal["static"]


WeightingSpec: TypeAlias = Annotated[StaticWeighting, Field(discriminator="type")]
