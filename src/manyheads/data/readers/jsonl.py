"""jsonl (one object a line) and json (a list of objects), both strict; values keep the types that JSON gives them.

Strict: NaN and Infinity, numbers too large for a float, and keys that stand twice are refused. Rows need not have equal keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, BadRow, Rows, Source, refuse_columns
from manyheads.data.readers.decode import line_at, line_ends, lines, read_text
from manyheads.errors import DataError, Problem, shown
from manyheads.types import Place, Row

_SPACE = re.compile(r"[ \t\r\n]*")
_KINDS = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number", type(None): "null"}


@READERS.register("jsonl")
def read_jsonl(source: Source, spec: DataSpec) -> Rows:
    """A row a line; blank lines are skipped, a line that is not one object is a bad row."""
    refuse_columns(spec, "JSON")
    text, fact = read_text(source, spec.encoding)
    parser = StrictParser()
    rows: list[Row] = []
    bad: list[BadRow] = []
    for number, line in enumerate(lines(text), 1):
        start = past_space(line, 0)
        if start == len(line):
            continue
        place = Place(source.name, number)
        try:
            value, end = parser.value(line, start)
            rest = past_space(line, end)
            rule = parser.fault(value) if rest == len(line) else f"one object a line; more follows in column {rest + 1}"
        except ValueError as error:
            value, rule = {}, broken_rule(error)
        if rule:
            bad.append(BadRow(place, rule, line))
        else:
            rows.append(Row(value, place))
    return Rows(rows, tuple(bad), (fact,))


@READERS.register("json")
def read_json(source: Source, spec: DataSpec) -> Rows:
    """A row an object of the list, placed at the line on which it begins. Broken JSON is a DataError: the rest is lost."""
    refuse_columns(spec, "JSON")
    text, fact = read_text(source, spec.encoding)
    parser = StrictParser()
    rows: list[Row] = []
    bad: list[BadRow] = []
    line, counted = 1, 0
    for value, start, end in _elements(text, parser, source.name):
        line, counted = line + line_ends(text, counted, start), start
        place = Place(source.name, line)
        if rule := parser.fault(value):
            bad.append(BadRow(place, rule, text[start:end]))
        else:
            rows.append(Row(value, place))
    return Rows(rows, tuple(bad), (fact,))


class StrictParser:
    """Python's decoder, made to see NaN, 1e999 and double keys. It keeps such faults, so that parsing can go on behind them."""

    def __init__(self) -> None:
        self.faults: list[str] = []  # of the value read last
        self._decoder = json.JSONDecoder(object_pairs_hook=self._pairs, parse_constant=self._constant, parse_float=self._number)

    def value(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at `start`, and the offset behind it; ValueError if it is broken."""
        self.faults.clear()
        try:
            return self._decoder.raw_decode(text, start)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

    def fault(self, value: object) -> str:
        """What is wrong with the value read last; empty when it is a sound object."""
        if not isinstance(value, dict):
            return f"a row is an object, this is {_KINDS[type(value)]}"
        return self.faults[0] if self.faults else ""

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            self.faults.append(f"the key {shown(next(n for n in names if names.count(n) > 1))} stands twice")
        return values

    def _constant(self, name: str) -> None:
        self.faults.append(f"{name} is not JSON")

    def _number(self, digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            self.faults.append(f"the number {digits} is too large")
        return number


def _elements(text: str, parser: StrictParser, name: str) -> Iterator[tuple[Any, int, int]]:
    """Each element of the file's one list, with the offsets of its first character and behind its last."""
    start = past_space(text, 0)
    if start == len(text):
        return
    if text[start] != "[":
        place, remedy = f"{name}:{line_at(text, start)}", "for one object a line set `format: jsonl`"
        raise DataError(Problem("a .json file holds one list of objects", place, text[start:], remedy=remedy))
    end = past_space(text, start + 1)
    empty = text.startswith("]", end)
    while not empty:
        try:
            value, stop = parser.value(text, end)
        except ValueError as error:
            at = getattr(error, "pos", end)
            raise DataError(Problem(broken_rule(error), f"{name}:{line_at(text, at)}", text[end : end + 200])) from error
        yield value, end, stop
        end = past_space(text, stop)
        if not text.startswith(",", end):
            break
        end = past_space(text, end + 1)
    if not text.startswith("]", end):
        rule = "a comma between two objects, or the list's closing bracket, is expected here"
        raise DataError(Problem(rule, f"{name}:{line_at(text, end)}", text[end : end + 200]))
    rest = past_space(text, end + 1)
    if rest < len(text):
        raise DataError(Problem("nothing may follow the list", f"{name}:{line_at(text, rest)}", text[rest : rest + 200]))


def past_space(text: str, start: int) -> int:
    """The offset of the first character at or behind `start` that is no space."""
    found = _SPACE.match(text, start)
    return found.end() if found else start


def broken_rule(error: ValueError) -> str:
    """What a decoder's error says, as the rule of a problem."""
    if isinstance(error, json.JSONDecodeError):
        return f"this is not JSON: {error.msg} in column {error.colno}"
    return f"this is not JSON that can be read: {error}"
