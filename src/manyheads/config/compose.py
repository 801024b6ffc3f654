"""YAML 1.2 to a tree of values that know their line and column.

ruamel.yaml gives the parse events; values are built here, so that nothing but text, numbers, true, false, null, lists and
mappings can come out, and so that a hostile text is refused while it is read, not after it has been expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from manyheads.config.node import MAX_DEPTH, MAX_NODES, Node, mapping, sequence
from manyheads.errors import Problem, RecipeError

MAX_ALIASES = 100

_Start: TypeAlias = ScalarEvent | SequenceStartEvent | MappingStartEvent
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def compose(text: str, name: str, *, located: bool = True, repeated: list[Problem] | None = None) -> Node:
    """The tree of one YAML document; `name` is the place of every value when `located` is False.

    Raises RecipeError for all that is not plain YAML within the limits. A key that is given twice is no error where
    `repeated` is a list, which takes it up: the tree has its first value, and the rest can be checked all the same.
    """
    composer = _Composer(name, located)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            composer.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RecipeError(_syntax(error, composer.place(mark), text, mark)) from None
    except ReaderError as error:
        before = text[: error.position]
        place = f"{name}:{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}" if located else name
        raise RecipeError(Problem("a control character cannot stand in YAML", place, text[error.position])) from None
    except ValueError:  # ruamel hands an escape beyond Unicode to chr()
        raise RecipeError(Problem("an escape names no Unicode character", composer.last)) from None
    if composer.problems or (composer.repeated and repeated is None):
        raise RecipeError(*composer.problems, *composer.repeated)
    if repeated is not None:
        repeated += composer.repeated
    return composer.root or Node(None, f"{name}:1:1" if located else name)


def _syntax(error: MarkedYAMLError, place: str, text: str, mark: Any) -> Problem:
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else None
    if "\\t" in (error.problem or ""):
        return Problem("a tab cannot indent or separate in YAML", place, line, remedy="use spaces")
    remedy = "comments begin with #" if "//" in text.replace("://", "") else ""
    context = f" {error.context} from line {error.context_mark.line + 1}" if error.context_mark else ""
    return Problem(f"not valid YAML: {error.problem}{context}", place, line, remedy=remedy)


@dataclass
class _Open:
    """A list or mapping whose end has not come; a mapping holds key, value, key, value."""

    start: _Start
    nodes: list[Node] = field(default_factory=list)


@dataclass
class _Composer:
    """Builds the tree event by event, without recursion, counting as it goes."""

    name: str
    located: bool
    root: Node | None = None
    last: str = ""
    problems: list[Problem] = field(default_factory=list)
    repeated: list[Problem] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node | None] = field(default_factory=dict)
    _nodes: int = 0
    _aliases: int = 0

    def place(self, mark: Any) -> str:
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if self.located and mark else self.name

    def take(self, event: Event) -> None:
        self.last = self.place(event.start_mark)
        if isinstance(event, DocumentStartEvent):
            self._document(event)
        elif isinstance(event, AliasEvent):
            self._add(self._alias(str(event.anchor)))
        elif isinstance(event, ScalarEvent):
            self._check(event)
            self._close(event, Node(self._scalar(event), self.last, raw=event.value))
        elif isinstance(event, SequenceStartEvent | MappingStartEvent):
            self._check(event)
            self._open.append(_Open(event))
            if len(self._open) >= MAX_DEPTH:
                raise RecipeError(Problem(f"nested deeper than {MAX_DEPTH} levels", self.last))
        elif isinstance(event, SequenceEndEvent):
            done = self._open.pop()
            self._close(done.start, sequence(done.nodes, self.place(done.start.start_mark)))
        elif isinstance(event, MappingEndEvent):
            done = self._open.pop()
            self._close(done.start, mapping(dict(self._pairs(done.nodes)), self.place(done.start.start_mark)))

    def _document(self, event: DocumentStartEvent) -> None:
        if self.root is not None:
            raise RecipeError(Problem("a recipe is one document", self.last, "---", remedy="remove what follows it"))
        if event.version not in (None, (1, 2)):
            raise RecipeError(
                Problem("a recipe is YAML 1.2", self.last, "%YAML " + ".".join(str(n) for n in event.version or ()))
            )

    def _check(self, event: _Start) -> None:
        """Refuse tags, and note an anchor before its node is whole, so that a node cannot contain itself."""
        if event.tag is not None:
            remedy = "remove the tag; text that looks like a number is put in quotes"
            self.problems.append(Problem("tags cannot stand in a recipe", self.last, str(event.tag), remedy=remedy))
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _close(self, start: _Start, node: Node) -> None:
        if start.anchor is not None:
            self._anchors[start.anchor] = node
        self._add(node)

    def _alias(self, anchor: str) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise RecipeError(Problem(f"a recipe may hold at most {MAX_ALIASES} aliases", self.last, f"*{anchor}"))
        node = self._anchors.get(anchor)
        if node is None:
            rule = "the alias stands inside its own anchor" if anchor in self._anchors else "the alias has no anchor before it"
            raise RecipeError(Problem(rule, self.last, f"*{anchor}"))
        if len(self._open) + node.height > MAX_DEPTH:
            raise RecipeError(Problem(f"nested deeper than {MAX_DEPTH} levels", self.last, f"*{anchor}"))
        self._nodes += node.size - 1
        return node

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RecipeError(Problem(f"a recipe may hold at most {MAX_NODES} values, aliases expanded", self.last))
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self.root = node

    def _pairs(self, nodes: list[Node]) -> Iterator[tuple[str, Node]]:
        """Keys are text as written, so that the label 0 or no needs no quotes; a key given twice is a problem."""
        first: dict[str, str] = {}
        for key, value in zip(nodes[::2], nodes[1::2], strict=True):
            if isinstance(key.value, dict | list):
                self.problems.append(Problem("a key must be plain text", key.place))
            elif key.raw == "<<":
                remedy = "YAML 1.2 has no merge keys; use `defaults` or `extends`"
                self.problems.append(Problem("a merge key cannot stand in a recipe", key.place, "<<", remedy=remedy))
            elif key.raw in first:
                self.repeated.append(Problem(f"the key is given twice, first at {first[key.raw]}", key.place, key.raw))
            else:
                first[key.raw] = key.place
                yield _text(key.raw, key.place), replace(value, key=key.place)

    def _scalar(self, event: ScalarEvent) -> str | int | float | bool | None:
        """The value by YAML 1.2's core schema; numbers must be finite and fit into 64 bits."""
        text: str = event.value
        if event.style or event.tag is not None:
            return _text(text, self.last)
        if text in _WORDS:
            return _WORDS[text]
        number = int(text, 0 if text[1:2] in ("o", "x") else 10) if _INT.fullmatch(text) and len(text) < 30 else None
        if number is not None and abs(number) < 2**63:
            return number
        if number is not None or _INT.fullmatch(text):
            self.problems.append(Problem("a whole number must fit into 64 bits", self.last, text))
            return 0
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and abs(float(text)) == float("inf")):
            self.problems.append(Problem("a number must be finite", self.last, text))
            return 0.0
        return float(text) if _FLOAT.fullmatch(text) else _text(text, self.last)


def _text(text: str, place: str) -> str:
    """`text` with JSON's surrogate pairs joined; half a pair is refused."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise RecipeError(Problem("half a surrogate pair is no character", place, ascii(text))) from None
