"""What all modules of the pool have."""

from __future__ import annotations

from pydantic import Field

from manyheads.config.spec.base import Strict


class LoadSpec(Strict):
    """Where the first weights of a module are."""

    from_: str = Field(alias="from")
    """Folder of an artefact, or a file that ends in .safetensors; relative to the recipe, as `output` is not."""
    module: str | None = None
    """Name that the module has there; default: the same."""


class ModuleBase(Strict):
    """What all modules have."""

    lr: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate; default: `training.optimizer.lr` for what is pretrained, else that of its task or `head_lr`."""
    freeze: bool = False
    """Leave the weights as they are: no gradient, no decay, no dropout."""
    unfreeze_at: int | None = Field(default=None, ge=1)
    """Frozen for so many optimizer steps, trained from then on."""
    freeze_at: int | None = Field(default=None, ge=1)
    """Frozen once so many optimizer steps are done."""
    load: str | LoadSpec | None = None
    """First weights: an artefact's folder, which has a module of this name, or a .safetensors file; relative to the recipe."""
