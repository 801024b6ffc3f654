"""Noise on the vectors of pieces: small, and turned to where it changes an answer most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn


def embeds(module: nn.Module) -> nn.Module | None:
    """The part of a module that gives vectors of pieces, words or letters: its attribute `embeds`, if it has one."""
    found = getattr(module, "embeds", None)
    return found if isinstance(found, nn.Module) else None


class Noise:
    """Adds normal noise of this standard deviation to what the `embeds` of the modules give, while it is entered.

    It is drawn in the first pass, call by call, and added again in every later one, which must make the same calls. What it is
    added to is in single precision at least from there on.
    """

    def __init__(self, modules: Iterable[nn.Module], size: float) -> None:
        self._parts = {id(part): part for part in map(embeds, modules) if part is not None}.values()
        self._size = size
        self._added: list[Tensor] = []
        self._calls = 0
        self._leaves: list[Tensor] | None = None  # what was added in a pass whose gradient is wanted

    def __enter__(self) -> Self:
        self._hooks = [part.register_forward_hook(self._add) for part in self._parts]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def climb(self, apart: Callable[[], Tensor], step: float) -> None:
        """Make a pass, `apart`, and move the noise up the gradient of what it gives, a scalar.

        The noise of a sequence, or of a word where words are spelled, moves by `step` where its gradient is greatest, elsewhere
        in proportion (Jiang et al., "SMART", ACL 2020, with the greatest element as the norm, and without its ball around the
        row: `step` is the bound). What has no gradient stays.
        """
        leaves: list[Tensor] = []
        self._leaves = leaves
        value = apart()
        self._leaves, self._calls = None, 0
        if not value.requires_grad or not leaves:
            return
        found: Sequence[Tensor | None] = torch.autograd.grad(value, leaves, allow_unused=True)
        self._added = [n if g is None else n + step * _direction(g) for n, g in zip(self._added, found, strict=True)]

    def _add(self, part: nn.Module, inputs: Any, vectors: Tensor) -> Tensor:
        if self._calls == len(self._added):
            wide = torch.promote_types(vectors.dtype, torch.float32)
            self._added.append(torch.randn_like(vectors, dtype=wide) * self._size)
        noise = self._added[self._calls]
        self._calls += 1
        if self._leaves is not None:
            noise = noise.detach().requires_grad_()
            self._leaves.append(noise)
        return vectors + noise


def _direction(gradient: Tensor) -> Tensor:
    """The gradient with 1 as the greatest element of each sequence; zeros where it is zero, or no number."""
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    size = gradient.abs().amax(dim=tuple(range(1, gradient.dim())), keepdim=True)
    return gradient / size.clamp(min=torch.finfo(gradient.dtype).tiny)
