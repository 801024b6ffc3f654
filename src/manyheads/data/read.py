"""From the files of a recipe to rows: pick the reader, check the text, settle what becomes of bad rows, set rows aside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

from manyheads import seeds
from manyheads.config.spec.data import DataSpec
from manyheads.data.readers import (  # noqa: F401  # each registers its formats
    conll,
    conllu,
    delimited,
    folders,
    glue,
    hub,
    jsonl,
    offsets,
    parquet,
    slots,
    squad,
    superglue,
)
from manyheads.data.readers import lines as _lines  # noqa: F401
from manyheads.data.readers.contract import READERS, BadRow, FileFact, Rows, Source, repeated
from manyheads.data.readers.source import PACKED
from manyheads.errors import DataError, Problem, RecipeError, listed, nearest, shown
from manyheads.types import Row

__all__ = [
    "READERS",
    "BadRow",
    "FileFact",
    "Rows",
    "Split",
    "columns_of",
    "default_columns",
    "read_rows",
    "reread",
    "split_rows",
]

Split: TypeAlias = Literal["train", "dev", "test"]

_SHOWN = 20  # problems that one message repeats
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conllu",
    ".txt": "lines",
}
_WITHIN = {  # what files of a format that no name tells may be called
    "squad": ("json",),
    "superglue": ("jsonl",),
    "glue": ("tsv", "jsonl"),
    "offsets": ("tsv",),
    "conll": ("tsv",),
}
_HEADLESS = ("csv", "tsv", "conll", "offsets")  # formats whose columns a recipe may name
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the input and of tags that are meant where a recipe names none."""

    text: str | None = None
    pair: str | None = None
    words: str | None = None
    tags: str = "tags"


_COLUMNS = {
    "conll": Columns(words="words"),
    "conllu": Columns(words="form", tags="upos"),
    "slots": Columns(words="words"),
    "offsets": Columns(words="words"),
    "squad": Columns(text="question", pair="context"),
}


def read_rows(spec: DataSpec, split: Split, base: Path) -> Rows:
    """All rows of a split, file after file. File names are relative to `base`.

    DataError, with the problems of all files: a file that cannot be read or has no rows and, under `bad_rows: error`, every
    bad row. Otherwise bad rows are left out and given in `bad`.
    """
    problems: list[Problem] = []
    parts: list[Rows] = []
    for name in _named(spec, split):
        try:
            parts.append(_read(Source(name, base), spec))
        except DataError as error:
            problems.extend(error.problems)
    if spec.bad_rows == "error":
        problems.extend(row.problem() for part in parts for row in part.bad)
    if problems:
        more = [Problem(f"and {len(problems) - _SHOWN} more problems like these")] if len(problems) > _SHOWN else []
        raise DataError(*problems[:_SHOWN], *more)
    return Rows(
        list(chain.from_iterable(part.rows for part in parts)),
        tuple(chain.from_iterable(part.bad for part in parts)),
        tuple(chain.from_iterable(part.files for part in parts)),
    )


def default_columns(spec: DataSpec) -> Columns:
    """The default columns of the format, which `auto` tells by the first file; none for formats of any columns."""
    named = spec.train or spec.dev or spec.test or ""
    first = named if isinstance(named, str) else named[0]
    if spec.format == "glue":
        return Columns(text="text", pair="pair" if glue.is_paired(first, spec.config) else None)
    return _COLUMNS.get(_SUFFIXES.get(_suffix(first), "") if spec.format == "auto" else spec.format, Columns())


def reread(spec: DataSpec, file: str, format_: str | None = None) -> dict[str, object]:
    """The keys by which a further file is read beside those of `spec`, `format_` saying how.

    Without it the format of `spec` holds, unless the name plainly tells another one: ends like no file of `spec`, and neither
    in .txt nor in nothing known. RecipeError for a format that there is not.
    """
    if format_ is not None and format_ not in READERS:
        raise RecipeError(
            Problem(f"no file format is called this; there are {listed(READERS)}", file, format_, nearest(format_, READERS))
        )
    found = format_ or _beside(spec, file)
    return {"format": found, "columns": spec.columns if found in _HEADLESS else None}


def _beside(spec: DataSpec, file: str) -> str:
    named = [name for part in (spec.train, spec.dev, spec.test) for name in ([part] if isinstance(part, str) else part or ())]
    told, known = _SUFFIXES.get(_suffix(file)), _format(named[0]) if spec.format == "auto" else spec.format
    if known == "hub":
        return told or known
    if told is None or _suffix(file) in map(_suffix, named) or told in ("lines", *_WITHIN.get(known, ())):
        return known
    return told


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order in which they are first met; rows of JSON need not have the same."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def split_rows(rows: Sequence[Row], spec: DataSpec, seed: int) -> dict[Split, list[Row]]:
    """The training rows, and what `split` sets aside of them, each in file order; `limit` then bounds the training rows.

    A row's lot depends on the seed, its files' names and its number alone, so tasks that read the same files set the same
    rows aside. Shares are exact, rounded down. DataError if a share, or what is left to train on, is no row.
    """
    order = _order(rows, seed, "split")
    count = {
        name: int(Decimal(str(share)) * len(rows)) for name, share in spec.split.items()
    }  # 0.29 of 100 is 29; floats miss it
    dev, test = count.get("dev", 0), len(rows) - count.get("test", 0)
    taken: dict[Split, list[int]] = {"train": order[dev:test], "dev": order[:dev], "test": order[test:]}
    wanted: list[Split] = ["train", *(name for name in ("dev", "test") if name in spec.split)]
    for name in wanted:
        if not taken[name]:
            place = rows[0].place.path if rows else ""
            raise DataError(Problem(f"{len(rows)} rows are too few for `split`: none is left for {name}", place))
    if spec.limit is not None:
        left = set(taken["train"])
        taken["train"] = [i for i in _order(rows, seed, "limit") if i in left][: spec.limit]
    return {name: [rows[i] for i in sorted(taken[name])] for name in wanted}


def _order(rows: Sequence[Row], seed: int, purpose: str) -> list[int]:
    """The rows' numbers by lot. Rows that a file gains at its end change nothing in the order of the others.

    Of a file only its own name counts, so that a recipe that names it from another folder sets the same rows aside.
    """
    names = dict.fromkeys(PurePath(row.place.path).name for row in rows)
    lots = seeds.generator(seed, purpose, *names).random(len(rows))
    return [int(i) for i in lots.argsort(kind="stable")]


def _named(spec: DataSpec, split: Split) -> list[str]:
    """The names of a split's files, once the keys of `spec` agree with each other."""
    names = {"train": spec.train, "dev": spec.dev, "test": spec.test}[split]
    if not names:
        raise RecipeError(Problem("no file is named for this split", split))
    if spec.hub is not None and spec.format != "hub":
        raise RecipeError(Problem("`hub` needs `format: hub`", "format", spec.format))
    if spec.columns is not None and (not spec.columns or repeated(spec.columns)):
        raise RecipeError(Problem("`columns` names each column once", "columns", ", ".join(spec.columns)))
    for name in spec.split:
        if spec.dev if name == "dev" else spec.test:
            raise RecipeError(Problem(f"{name} has files of its own; it cannot be split off train as well", f"split.{name}"))
    return [names] if isinstance(names, str) else names


def _read(source: Source, spec: DataSpec) -> Rows:
    reader = READERS[_format(source.name) if spec.format == "auto" else spec.format]
    found = _checked(reader(source, spec))
    if not found.rows and not (found.bad and spec.bad_rows == "error"):
        raise DataError(Problem(f"no rows ({len(found.bad)} bad rows were left out)" if found.bad else "no rows", source.name))
    return found


def _format(name: str) -> str:
    suffix = _suffix(name)
    if suffix not in _SUFFIXES:
        rule = f"the format cannot be told from a name that does not end in {', '.join(_SUFFIXES)}"
        remedy = f"rename the file, or set `format` to one of {listed(READERS)}"
        raise RecipeError(Problem(rule, name, suffix, remedy=remedy))
    return _SUFFIXES[suffix]


def _suffix(name: str) -> str:
    """The ending of a name, in lower case, once a packed one is taken off."""
    path = PurePath(name)
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()


def _checked(found: Rows) -> Rows:
    """Rows whose text holds what no tokenizer, and no record of the run, could hold move to the bad ones."""
    if not (faulty := [row for row in found.rows if _NOT_TEXT.search(_text(row.values))]):
        return found
    bad = [*found.bad, *map(_no_text, faulty)]
    gone = {id(row) for row in faulty}
    rows = [row for row in found.rows if id(row) not in gone]
    return replace(found, rows=rows, bad=tuple(sorted(bad, key=lambda row: (row.place.path, row.place.line))))


def _no_text(row: Row) -> BadRow:
    name, value = next(pair for pair in row.values.items() if _NOT_TEXT.search(_text(dict([pair]))))
    return BadRow(row.place, f"column {shown(name)} holds NUL or half of a surrogate pair", str(value))


def _text(value: object) -> str:
    """All text in a value, run together."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "".join(map(_text, value))
    if isinstance(value, Mapping):
        return "".join(chain(value, map(_text, value.values())))
    return ""
