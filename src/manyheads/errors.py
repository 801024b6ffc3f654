"""Every error that manyheads raises on purpose, and the exit code each one ends the command line with.

    ManyheadsError            1   a bug of ours, or no better class
    ├── RecipeError           2   usage, recipe or Python arguments
    │   └── WiringError       2   a path that cannot be wired
    ├── DataError             3   a file, a row, a label
    ├── MissingExtraError     4   an optional package is not installed
    ├── ArtefactError         5   a saved folder fails its check
    ├── NumericsError         6   a loss or a gradient that is not finite
    ├── ResourceError         7   no memory, no disk, no permission to write
    └── Interrupted          75   stopped by a signal, after saving

An error carries one or more `Problem`s, so that a recipe with five mistakes is reported once, whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_TOLD = 25  # problems that a message lists; `problems` holds them all
_SHOWN = 120  # characters of an offending value that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the order in which a reader needs it: where, which rule, what was there, what to do.

    `place` is `file:line:column`, `file:line` or a dotted key; empty when there is none. `value` is the text that was
    found, shortened and with control characters shown as escapes. `nearest` is the closest known name.
    """

    rule: str
    place: str = ""
    value: str | None = None
    nearest: str | None = None
    remedy: str = ""

    def __str__(self) -> str:
        parts = [f"{self.place}: " if self.place else "", self.rule]
        if self.value is not None:
            parts.append(f"; found {shown(self.value)}")
        if self.nearest is not None:
            parts.append(f"; did you mean {shown(self.nearest)}?")
        if self.remedy:
            parts.append(f"\n    {self.remedy}")
        return "".join(parts)


class ManyheadsError(Exception):
    """Base of the tree; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(p if isinstance(p, Problem) else Problem(p) for p in problems)
        told = [str(p) for p in self.problems[:_TOLD]]
        more = len(self.problems) - len(told)
        super().__init__("\n".join([*told, f"and {more} more problems"] if more else told))


class RecipeError(ManyheadsError):
    """The recipe, the command line or the Python arguments cannot be used."""

    exit_code = 2


class WiringError(RecipeError):
    """A task's path names something that is not there, or joins kinds that do not fit."""


class DataError(ManyheadsError):
    """A data file, a row or a label breaks a rule."""

    exit_code = 3


class MissingExtraError(ManyheadsError):
    """An optional package is missing; the message holds the pip line that brings it."""

    exit_code = 4


class ArtefactError(ManyheadsError):
    """A checkpoint or artefact is incomplete, changed, or of an unknown format."""

    exit_code = 5


class NumericsError(ManyheadsError):
    """A loss or gradient is not finite; nothing of the broken step was saved."""

    exit_code = 6


class ResourceError(ManyheadsError):
    """Memory, disk or a permission is missing; what was saved before is intact."""

    exit_code = 7


class Interrupted(ManyheadsError):
    """A signal ended the run after its state was saved; the same command continues it."""

    exit_code = 75


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when nothing is close."""
    names = list(known)
    folded = {n.casefold(): n for n in reversed(names)}
    if name.casefold() in folded:
        return folded[name.casefold()]
    # of two letters one may be wrong: half of the name, where longer names need more in common
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6 if len(name) > 2 else 0.5)
    return found[0] if found else None


def shown(value: str) -> str:
    """`value` quoted for a message: one line, no control characters, at most 120 characters of it."""
    cut = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + "'"


def listed(names: Iterable[str]) -> str:
    """`names` as a message shows them: quoted, in order, or the word 'none'."""
    return ", ".join(shown(n) for n in names) or "none"
