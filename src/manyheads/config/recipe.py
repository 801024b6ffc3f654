"""The schema of a recipe. The same objects, with the same names, are the YAML file, the JSON Schema and the Python API.

Every class refuses unknown keys. Descriptions are written for the recipe reference (`docs/recipe.md`), which is made
from them. Components of the user's own are named by `type` and configured under `options`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.base import Name, Strict
from manyheads.config.spec.data import DataSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.modules import ModuleSpec
from manyheads.config.spec.tasks import TaskSpec
from manyheads.config.spec.training import TrainingSpec


class Recipe(Strict):
    """A run: which modules there are, which tasks pass through them, how they are mixed and trained."""

    version: Literal[1] = 1
    """Version of this schema."""
    seed: int = Field(default=13, ge=0, lt=2**63)
    """Fixes every random choice of the run."""
    extends: str | None = None
    """One other recipe, relative to this file; this one's keys win."""
    output: str | None = None
    """Folder of the run, relative to the working folder, not to the recipe; default: runs/<name of the recipe file>."""
    modules: dict[Name, ModuleSpec] = Field(default_factory=dict)
    """The pool."""
    data: dict[Name, DataSpec] = Field(default_factory=dict)
    """Data sets that several tasks learn from."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Keys that every task shares; a task's own keys win, `use_defaults: false` opts out."""
    tasks: dict[Name, TaskSpec] = Field(min_length=1)
    """The tasks."""
    mixture: MixtureSpec = Field(default_factory=MixtureSpec)
    """Order of the batches."""
    balance: BalanceSpec = Field(default_factory=BalanceSpec)
    """How losses and gradients of several tasks become one update."""
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    """How long, in what batches and by which optimizer."""
