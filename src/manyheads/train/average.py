"""An average of the weights over the steps, which is judged and saved in place of the last ones.

ema  w̄ ← d·w̄ + (1 − d)·w after every step (Polyak and Juditsky, 1992, with forgetting)
swa  the plain mean of the weights at every n-th step of the last part of the run (Izmailov et al., UAI 2018)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from manyheads.config.spec.selection import AverageSpec


class Average:
    """The average of a model's floating point state, of parameters of those that have a gradient when it is made.

    It begins with the first step that counts; before that there is none.
    """

    def __init__(self, spec: AverageSpec, model: nn.Module, steps: int) -> None:
        self.spec, self.model = spec, model
        self.first = 1 if spec.type == "ema" else int(spec.start * steps) + 1
        self.mean: dict[str, Tensor] = {}
        self.count = 0
        self.still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    @torch.no_grad()
    def take(self, step: int) -> None:
        """The weights after `step` (from 1) count, if that step is one that does."""
        if step < self.first or (step - self.first) % self.spec.every:
            return
        self.count += 1
        for name, tensor in self._state():
            if name not in self.mean:
                self.mean[name] = tensor.detach().clone()
            else:
                share = 1 - self.spec.decay if self.spec.type == "ema" else 1 / self.count
                self.mean[name].lerp_(tensor.detach(), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the average in place of its weights; the same weights to the bit afterwards."""
        kept = {name: tensor.detach().clone() for name, tensor in self._state()} if self.mean else {}
        self._put(self.mean)
        try:
            yield
        finally:
            self._put(kept)

    def settle(self) -> None:
        """Put the average in place of the weights for good."""
        self._put(self.mean)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep beside `count`."""
        return dict(self.mean)

    def restore(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Continue from what a checkpoint kept."""
        like = dict(self._state())
        self.mean = {name: tensor.to(like[name].device).clone() for name, tensor in tensors.items()}
        self.count = count

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._state():
            if name in tensors:
                tensor.copy_(tensors[name])

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers of floating point, a shared one once."""
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if tensor.is_floating_point() and name not in self.still:
                yield name, tensor
