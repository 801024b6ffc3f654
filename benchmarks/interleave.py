"""Contenders take turns, each in a process of its own, so that what else the machine does hits them alike."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

Make = Callable[[], Iterator[int]]  # makes the work: an iterator that does a block of it and yields its rows


@dataclass(slots=True)
class Times:
    """Rows and seconds of each turn of one contender."""

    rows: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Rows a second over all turns."""
        return sum(self.rows) / sum(self.seconds)

    @property
    def speeds(self) -> list[float]:
        """Rows a second, turn by turn."""
        return [rows / seconds for rows, seconds in zip(self.rows, self.seconds, strict=True)]


def interleave(contenders: Mapping[str, Make], turns: int, warmup: int = 2) -> dict[str, Times]:
    """What each contender did in each turn; one runs at a time. The makers must be importable functions."""
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    for name, make in contenders.items():
        lines[name], end = context.Pipe()
        context.Process(target=_serve, args=(make, end), daemon=True).start()
        lines[name].recv()  # it is ready
    times = {name: Times() for name in contenders}
    for turn in range(warmup + turns):
        for name, line in lines.items():
            line.send(True)
            rows, seconds = line.recv()
            if turn >= warmup:
                times[name].rows.append(rows)
                times[name].seconds.append(seconds)
    for line in lines.values():
        line.send(False)
    return times


def _serve(make: Make, line: Connection) -> None:
    work = make()
    line.send(True)
    while line.recv():
        began = time.perf_counter()
        rows = next(work)
        line.send((rows, time.perf_counter() - began))


def report(times: Mapping[str, Times], ours: str, unit: str = "rows") -> str:
    """A Markdown table: rows a second over all turns, and our speed divided by the peer's, over all turns and turn by turn."""
    lines = [f"| | {unit}/s | {ours} / this | median of turns (min to max) |", "|---|---|---|---|"]
    for name, found in times.items():
        ratios = [a / b for a, b in zip(times[ours].speeds, found.speeds, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        told = "| | " if name == ours else f"| {times[ours].speed / found.speed:.2f} | {spread} "
        lines.append(f"| {name} | {found.speed:,.0f} {told}|")
    return "\n".join(lines)
