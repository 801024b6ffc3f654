"""Contenders take turns in one process, so that what else the machine does hits them alike; ratios are of neighbours."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping


def interleave(contenders: Mapping[str, Iterator[int]], turns: int, warmup: int = 2) -> dict[str, list[float]]:
    """Rows a second of each contender in each turn. An iterator does a block of work and yields its rows."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmup + turns):
        for name, work in contenders.items():
            began = time.perf_counter()
            rows = next(work)
            took = time.perf_counter() - began
            if turn >= warmup:
                speeds[name].append(rows / took)
    return speeds


def report(speeds: Mapping[str, list[float]], ours: str) -> str:
    """A Markdown table: median rows a second, and the median over turns of our speed divided by the peer's."""
    lines = ["| | rows/s (median) | manyheads / this (median of turns, min to max) |", "|---|---|---|"]
    for name, values in speeds.items():
        ratios = [a / b for a, b in zip(speeds[ours], values, strict=True)]
        spread = "" if name == ours else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {statistics.median(values):,.0f} | {spread} |")
    return "\n".join(lines)
