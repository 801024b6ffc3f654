"""Reading a recipe file, with limits, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manyheads.config.compose import compose
from manyheads.config.node import Node
from manyheads.errors import Problem, RecipeError

MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A recipe file: its name as the user gave it, its text, the tree, and keys of it that are given twice."""

    name: str
    text: str
    root: Node
    repeated: tuple[Problem, ...] = ()


def read_source(path: str | Path) -> Source:
    """Read a recipe file; a key that is given twice has its first value in the tree.

    Raises RecipeError with file, line and column for all that is not plain YAML 1.2 in UTF-8 within the limits.
    """
    name, text = str(path), _read_text(Path(path))
    repeated: list[Problem] = []
    root = compose(text, name, repeated=repeated)
    if not isinstance(root.value, dict):
        raise RecipeError(Problem("a recipe must be a mapping of keys to values", f"{name}:1:1", root.raw or None))
    return Source(name, text, root, tuple(repeated))


def _read_text(path: Path) -> str:
    if not path.exists():
        raise RecipeError(Problem("there is no such file", str(path)))
    if not path.is_file():
        raise RecipeError(Problem("a recipe must be a regular file", str(path)))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(Problem(f"the file cannot be read: {error.strerror}", str(path))) from error
    if len(content) > MAX_BYTES:
        raise RecipeError(Problem(f"a recipe may hold at most {MAX_BYTES} bytes", str(path)))
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        bad = f"byte {content[error.start]:#04x}"
        raise RecipeError(Problem("the file is not UTF-8", f"{path}:{line}:{column}", bad, remedy="save it as UTF-8")) from None
