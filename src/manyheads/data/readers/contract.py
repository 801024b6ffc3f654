"""What a reader takes and gives. A plug-in adds a format by registering a function of this shape in `READERS`.

    @READERS.register("shouting")
    def read_shouting(source: Source, spec: DataSpec) -> Rows: ...

A reader raises DataError for a file that it cannot read, and gives a `BadRow` for a row that it cannot use; what becomes of
those is the recipe's choice (`bad_rows`). It never changes, drops, casts or merges text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from manyheads.config.spec.data import DataSpec
from manyheads.errors import Problem, RecipeError
from manyheads.registry import Registry
from manyheads.types import Place, Row


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of a recipe's `train`, `dev` or `test`: its name as written, and the folder it is relative to."""

    name: str
    base: Path

    @property
    def path(self) -> Path:
        return self.base / self.name


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that breaks `rule`; `sample` is its text as the file has it."""

    place: Place
    rule: str
    sample: str

    def problem(self) -> Problem:
        return Problem(self.rule, str(self.place), self.sample)


@dataclass(frozen=True, slots=True)
class FileFact:
    """What a run records of a file: its path as given, the sha256 and the size of what is on the disk."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Rows:
    """The good rows in file order, the bad ones, and the files that they came from."""

    rows: list[Row]
    bad: tuple[BadRow, ...]
    files: tuple[FileFact, ...]


Reader: TypeAlias = Callable[[Source, DataSpec], Rows]
READERS: Registry[Reader] = Registry("reader")


def repeated(names: Sequence[str]) -> list[str]:
    """The names that stand more than once, each once."""
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def refuse_columns(spec: DataSpec, kind: str) -> None:
    """RecipeError if the recipe names the columns of a format that names its own."""
    if spec.columns is not None:
        raise RecipeError(
            Problem(
                f"`columns` is for files without a header; {kind} names its own columns",
                place="columns",
                value=", ".join(spec.columns),
                remedy="remove `columns`",
            )
        )
