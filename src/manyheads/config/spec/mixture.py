"""Which data set comes when. What each sampling computes and where it comes from: docs/mixture.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from manyheads.config.spec.base import Share, Strict

Static: TypeAlias = Literal[
    "proportional",
    "uniform",
    "temperature",
    "annealed",
    "shares",
    "alternating",
    "round_robin",
    "sequential",
    "main",
    "unimax",
]
"""Samplings whose draws follow from settings, sizes, seed and epoch alone."""


class SamplingSpec(Strict):
    """A sampling and its options; each option belongs to the samplings that its description names."""

    sampling: str = "proportional"
    """How data sets are drawn."""
    temperature: float = Field(default=1.0, gt=0)
    """1 is proportional, 2 the square root; the higher, the more uniform.

    `annealed`: the one at the end. `bandit`: that of its softmax, which is fit for gaps at about 0.1.
    """
    shares: dict[str, Share] = Field(default_factory=dict)
    """`shares`: data set to share; need not sum to 1. A data set that is not named gets 0."""
    tables: list[dict[str, Share]] = Field(default_factory=list)
    """`alternating`: tables of shares; the first draw is by the first one, the second by the next, and round again."""
    turns: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """`round_robin`: data set to the batches of its turn; 1 where it is not named."""
    main: str | None = None
    """`main`: the data set of which each batch comes once an epoch."""
    ratio: float | None = Field(default=None, gt=0)
    """`main`: batches of the others for each batch of the main one."""
    main_last: bool = False
    """`main`: the others come first, in one block."""
    repeats: float | None = Field(default=None, gt=0)
    """`unimax`: most passes over a data set in the whole run."""
    over: int | None = Field(default=None, ge=1)
    """`annealed`, `unimax`: epochs that they reckon with; default: those of `training`."""
    rate: float | None = Field(default=None, gt=0)
    """`bandit`: weight of the newest gap in the running mean, at most 1. `pike`: how far the weights move in an epoch."""


class PhaseSpec(SamplingSpec):
    """A part of the epoch with a sampling of its own.

    Only the last one may go without a length: it is then what lasts, and all before it come once, first.
    """

    sampling: Static = "proportional"
    """As for the mixture."""
    datasets: list[str] = Field(default_factory=list)
    """The data sets of this phase; default: all."""
    rounds: int | None = Field(default=None, ge=1)
    """Length in rounds."""
    passes: float | None = Field(default=None, gt=0)
    """Length in passes over the data sets of this phase, or over `of`; 0.5 is half a pass."""
    of: str | None = None
    """The data set whose passes are counted."""

    @property
    def lasts(self) -> bool:
        """It has no length."""
        return self.rounds is None and self.passes is None


class MixtureSpec(SamplingSpec):
    """Which data set comes when. A task with data of its own is its own data set, of the same name."""

    sampling: Literal[Static, "phases", "bandit", "pike"] = "proportional"
    """`proportional` to batches: every row once an epoch. `temperature`: to batches ** (1 / temperature).

    The others: docs/mixture.md.
    """
    phases: list[PhaseSpec] = Field(default_factory=list)
    """`phases`: one after the other."""
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


SAMPLING_KEYS: Mapping[str, tuple[str, ...]] = {
    "proportional": (),
    "uniform": (),
    "temperature": ("temperature",),
    "annealed": ("temperature", "over"),
    "shares": ("shares",),
    "alternating": ("tables",),
    "round_robin": ("turns",),
    "sequential": (),
    "main": ("main", "ratio", "main_last"),
    "unimax": ("repeats", "over"),
    "phases": ("phases",),
    "bandit": ("temperature", "rate"),
    "pike": ("rate",),
}
"""What each sampling takes."""

SAMPLING_NEEDS: Mapping[str, tuple[str, ...]] = {
    "annealed": ("temperature", "over"),
    "shares": ("shares",),
    "alternating": ("tables",),
    "main": ("main", "ratio"),
    "unimax": ("repeats", "over"),
    "phases": ("phases",),
    "bandit": ("temperature", "rate"),
    "pike": ("rate",),
}
"""What some of them cannot do without."""

TOGETHER = frozenset({"proportional", "uniform", "temperature", "shares", "round_robin"})
"""Samplings that may be joined with `tasks_per_step: all`: of them nothing is left then but who takes part."""

LEARNING = frozenset({"bandit", "pike"})
"""Samplings whose shares follow from what the run sees."""
