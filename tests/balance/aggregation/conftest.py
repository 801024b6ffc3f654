"""Every aggregation as a recipe makes it, and gradients to give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from manyheads.balance.aggregation import AGGREGATIONS, RowsAggregation, weigh
from manyheads.balance.weighting import Moment
from manyheads.config.spec.balance import BalanceSpec

NAMES = tuple("abcdefghijklmnop")


@pytest.fixture(scope="session")
def make() -> Callable[..., Any]:
    """make("cagrad", c=0.3): the method with these options, checked and completed by its section of a recipe."""

    def made(kind: str, **options: Any) -> Any:
        spec = BalanceSpec.model_validate({"aggregation": {"type": kind, **options}}).aggregation
        return AGGREGATIONS[kind](**spec.model_dump(exclude={"type", "level"}))

    return made


@pytest.fixture(scope="session")
def step() -> Callable[..., Tensor]:
    """step(method, rows): the (P,) update of one step; `number` and `tasks` are the step's."""

    def taken(method: Any, rows: Tensor, number: int = 0, tasks: Sequence[str] = NAMES) -> Tensor:
        moment = Moment(5, number, 0, tuple(tasks[: len(rows)]))
        if isinstance(method, RowsAggregation):
            return method.combine(rows, moment)
        wide = rows.double()
        return weigh(method, wide @ wide.T, moment) @ wide

    return taken


@pytest.fixture(scope="session")
def draw() -> Callable[..., Tensor]:
    """draw(seed, rows, width): gradients in double precision."""

    def drawn(seed: int, rows: int, width: int) -> Tensor:
        return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return drawn
