"""Which data set comes when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from manyheads.config.spec.base import Share, Strict


class MixtureSpec(Strict):
    """Which data set comes when. A task with data of its own is its own data set, of the same name."""

    sampling: Literal["proportional", "uniform", "temperature", "shares", "round_robin", "sequential"] = "proportional"
    """`proportional` to batches: every row once an epoch. `temperature`: to batches ** (1 / temperature)."""
    temperature: float = Field(default=1.0, gt=0)
    """1 is proportional; the higher, the more uniform."""
    shares: dict[str, Share] = Field(default_factory=dict)
    """Data set to share, for `shares`; need not sum to 1. A data set that is not named gets 0."""
    tasks_per_step: int | Literal["all"] = 1
    """Batches in a round: 1 alternates; `all` takes one batch of every data set a step."""
    epoch: int | str = "pass"
    """Length of an epoch: `pass` (as many batches as all data sets hold), a data set's name, or a number of rounds.

    A data set's name means one pass over it.
    """

    @field_validator("tasks_per_step")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or 'all'")
        return value
