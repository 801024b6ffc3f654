"""Where a step runs: device, precision, processes. accelerate starts and joins the processes; this page is all that uses it.

Gradients are summed here and not by DistributedDataParallel: the sum is exact when ranks hold unequal numbers of rows, a
parameter that no rank used keeps the gradient None, and a rank without rows cannot hang the others.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn

from manyheads.config.spec.training import TrainingSpec
from manyheads.errors import Problem, RecipeError, ResourceError
from manyheads.folder import lock_on
from manyheads.seeds import key


class Engine:
    """Device, autocast, and what processes say to each other. With one process the exchanges cost nothing.

    rank, world    this process and their number; every rank draws the same rounds and takes every world-th row
    """

    def __init__(self, spec: TrainingSpec) -> None:
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        self._state = PartialState(cpu=spec.device == "cpu")
        self.device = self._state.device if spec.device in ("auto", "cpu") else _present(spec.device)
        self.rank: int = self._state.process_index
        self.world: int = self._state.num_processes
        self._bf16 = spec.precision == "bf16"

    @property
    def main(self) -> bool:
        """True in the process that writes."""
        return self.rank == 0

    def peak_memory(self) -> int:
        """Most bytes that were in use at a time: of the GPU by torch, without one of the machine by this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 inside, when the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else contextlib.nullcontext()

    def seed(self, seed: int, step: int) -> None:
        """Set torch's generators for the noise (dropout) of this step: a function of seed, step and rank, never a state."""
        number = key(seed, "noise", step, self.rank) & (2**63 - 1)
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
        elif self.device.type == "mps":
            torch.mps.manual_seed(number)

    def share(self, rows: Any) -> Any:
        """This rank's part of a batch's rows."""
        return rows if self.world == 1 else rows[self.rank :: self.world]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the gradients of all ranks; a parameter without a gradient on every rank keeps None."""
        if self.world == 1:
            return
        every = [p for p in parameters if p.requires_grad]
        used = torch.tensor([p.grad is not None for p in every], dtype=torch.uint8, device=self.device)
        with _together():
            dist.all_reduce(used, op=dist.ReduceOp.MAX)
        active = [p for p, flag in zip(every, used.tolist(), strict=True) if flag]
        if not active:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in active])
        with _together():
            dist.all_reduce(flat)
        for parameter, summed in zip(active, torch.split(flat, [p.numel() for p in active]), strict=True):
            parameter.grad = summed.view_as(parameter)

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over ranks."""
        if self.world > 1:
            with _together():
                dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """True on every rank when it is true on one: ranks must stop at the same step."""
        return flag if self.world == 1 else bool(self.sum(torch.tensor(int(flag), device=self.device)))

    def gather(self, items: list[Any]) -> list[Any]:
        """The items of all ranks, in rank order."""
        if self.world == 1:
            return items
        with _together():
            return list(gather_object(items))

    def agree(self, failed: ResourceError | None, place: Path) -> None:
        """Raise on every rank what has `failed` on the main one, where it wrote to `place`."""
        if self.any(failed is not None):
            raise failed or ResourceError(Problem("the main process could not write", str(place)))

    @contextlib.contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Inside, this is the only run that writes into `folder`, which is made. ResourceError where another one does.

        The main process holds the lock; a file system without locks has none.
        """
        lock, failed = None, None
        try:
            lock = _lock(folder) if self.main else None
        except ResourceError as error:
            failed = error
        try:
            self.agree(failed, folder)
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def wait(self) -> None:
        """Return when every rank is here."""
        with _together():
            self._state.wait_for_everyone()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """ResourceError when another process has left while this one waits for it."""
    try:
        yield
    except RuntimeError as error:
        rule = "another process of this run has ended; its own message says why"
        raise ResourceError(Problem(rule, value=str(error).partition("\n")[0])) from error


def _lock(folder: Path) -> int | None:
    """A descriptor that locks a folder until it is closed; None on a file system without locks."""
    remedy = "name another folder as `output`"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(Problem(f"cannot be made: {error.strerror}", str(folder), remedy=remedy)) from error
    try:
        return lock_on(folder.resolve())
    except BlockingIOError as error:
        rule = "another process trains into this folder"
        raise ResourceError(Problem(rule, str(folder), remedy=f"wait until it has ended, or {remedy}")) from error
    except OSError:
        return None


def _present(name: str) -> torch.device:
    """RecipeError for a device that this machine, or this build of torch, does not have."""
    there = torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()
    if not there:
        raise RecipeError(Problem("no such device is at hand", "training.device", name, remedy="`auto` takes what there is"))
    return torch.device(name)
