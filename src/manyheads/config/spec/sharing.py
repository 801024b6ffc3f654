"""Modules that learn how much columns of layers share, and the penalty that keeps their subspaces apart."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from manyheads.config.spec.base import Name, Strict
from manyheads.config.spec.module import ModuleBase

Start: TypeAlias = Annotated[float, Field(ge=0, le=1)] | Literal["balanced"]


class CrossStitchModule(ModuleBase):
    """States, or vectors, of several columns of layers, each mixed with the others. The step names an input for each column.

    Gives as many results; later steps read them by the names of the columns, as `stitch.pos`.
    """

    type: Literal["cross_stitch"]
    columns: list[Name] = Field(min_length=2)
    """Names of the results, in the order of the step's `inputs`."""
    subspaces: int = Field(default=1, ge=1, le=1024)
    """Parts that each state is cut into, which are mixed one by one; they must divide the width of the states."""
    own: Start | None = None
    """First weight of a subspace for itself, the others sharing the rest of 1; default: 0.9, of several subspaces 0.95.

    `balanced`: all alike.
    """


class LayerStitchModule(ModuleBase):
    """States, or vectors, of several layers of a column, mixed with learned weights. The step names its `inputs`."""

    type: Literal["layer_stitch"]
    top: Start = 0.9
    """First weight of the last input, the others sharing the rest of 1; `balanced`: all alike."""


class OrthogonalitySpec(Strict):
    """A penalty that keeps subspaces of recurrent modules apart: the squares of the products of their matrices' rows."""

    modules: list[str] = Field(min_length=1)
    """Names of recurrent modules; of several layers the last one counts."""
    strength: float = Field(gt=0)
    """Coefficient of the penalty, which is added to the loss of each step in which the modules learn."""
    subspaces: int = Field(default=2, ge=2, le=1024)
    """Parts of the states, as in `cross_stitch`."""
    matrices: list[Literal["input", "state"]] = Field(default=["input"], min_length=1)
    """Which maps to the gates: `input`, from what the module reads; `state`, from its own last state."""
