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


AggregationSpec: TypeAlias = Annotated[SumAggregation | MeanAggregation, Field(discriminator="type")]
