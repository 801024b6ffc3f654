"""UPGrad's weights from a Gramian: our exact solver against torchjd with quadprog.

    python -m pip install quadprog qpsolvers     # for this comparison alone
    python -m benchmarks.upgrad

Both run on one thread and take turns; a time is the median of its runs. Gradients are normal, of `width` parameters: many make
them nearly orthogonal, few make them depend on each other. torchjd adds 1e-4 of the trace to the diagonal, so that its weights
are near ours and not the same.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchjd.aggregation import UPGradWeighting

from manyheads.balance.aggregation.upgrad import UPGrad
from manyheads.balance.weighting import Moment

RUNS = 9
CASES = [(4, 1000), (16, 1000), (128, 160), (128, 1000), (128, 100_000)]  # tasks, parameters


def measure(solve: Callable[..., Tensor], *given: object) -> tuple[float, float]:
    """Seconds that passed and seconds of the CPU, which differ where others use it."""
    wall, cpu = time.perf_counter(), time.process_time()
    solve(*given)
    return time.perf_counter() - wall, time.process_time() - cpu


def gramian_of(tasks: int, width: int) -> Tensor:
    rows = torch.randn(tasks, width, generator=torch.Generator().manual_seed(tasks + width), dtype=torch.float64)
    return rows @ rows.T


def main() -> None:
    missing = [name for name in ("quadprog", "qpsolvers") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}\n    pip install quadprog qpsolvers")
    torch.set_num_threads(1)
    print("| tasks | parameters | ours, ms | CPU, ms | torchjd, ms | CPU, ms | ratio of CPU |\n|---|---|---|---|---|---|---|")
    for tasks, width in CASES:
        gramian, moment = gramian_of(tasks, width), Moment(0, 0, 0, tuple(map(str, range(tasks))))
        ours, theirs = UPGrad(), UPGradWeighting()
        times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for _ in range(RUNS):
            times[0].append(measure(ours.weights, gramian, moment))
            times[1].append(measure(theirs, gramian))
        (a, b), (c, d) = ([statistics.median(column) * 1e3 for column in zip(*t, strict=True)] for t in times)
        print(f"| {tasks} | {width:,} | {a:.1f} | {b:.1f} | {c:.1f} | {d:.1f} | {d / b:.0f} |")


if __name__ == "__main__":
    main()
