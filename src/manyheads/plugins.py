"""Files of a user's own code that register components: `--plugin FILE.py` of the command line, `load_plugin` in Python.

A plug-in is imported once in a process, before the recipe that names its components is read. A recipe itself never names
code to import.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from manyheads.errors import Problem, RecipeError, nearest
from manyheads.registry import home, recorded


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in file that was loaded: its path as given, the sha256 of its bytes, and the names it registered by kind."""

    path: Path
    sha256: str
    provides: Mapping[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """What a run and an artefact remember of it."""
        return {"sha256": self.sha256, "provides": {kind: list(names) for kind, names in self.provides.items()}}


_loaded: dict[Path, Plugin] = {}


def load_plugin(path: str | Path) -> Plugin:
    """Import a file, so that what its decorators register is known. A file that is loaded already is not run again.

    Raises RecipeError, with the line of the plug-in, for a file that is absent, fails, registers a name that exists, has the
    name of another plug-in, or has changed since it was loaded. Nothing that such a file registered stays.
    """
    path = Path(path)
    code = _read(path)
    digest, place = hashlib.sha256(code).hexdigest(), path.resolve()
    known = _loaded.get(place)
    if known is not None and known.sha256 == digest:
        return known
    if known is not None:
        remedy = "begin a new Python process, in which it is loaded afresh"
        raise RecipeError(Problem("the plug-in has changed since it was loaded", str(path), remedy=remedy))
    other = next((p for p in _loaded.values() if p.path.name == path.name), None)
    if other is not None:
        remedy = "rename one of them: a run remembers its plug-ins by their names"
        raise RecipeError(Problem(f"a plug-in of this name is loaded already, from {other.path}", str(path), remedy=remedy))
    found = Plugin(path, digest, _imported(path, code))
    _loaded[place] = found
    return found


def loaded() -> tuple[Plugin, ...]:
    """The plug-ins of this process, in the order of their loading."""
    return tuple(_loaded.values())


def remembered() -> dict[str, dict[str, Any]]:
    """File name to sha256 and components, of all plug-ins of this process, as plain values."""
    return {plugin.path.name: plugin.to_json() for plugin in loaded()}


def options() -> list[str]:
    """The words of a command line that load the plug-ins of this process."""
    return [word for plugin in loaded() for word in ("--plugin", str(plugin.path))]


def wanted(names: Iterable[str]) -> str:
    """The remedy where plug-ins are needed, by their file names."""
    return f"give {shlex.join(w for name in names for w in ('--plugin', name))}, or in Python manyheads.load_plugin(path)"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        close = nearest(path.name, beside) if isinstance(error, FileNotFoundError) else None
        rule = f"the plug-in cannot be read: {error.strerror or error}"
        raise RecipeError(Problem(rule, str(path), nearest=close)) from error


def _imported(path: Path, code: bytes) -> dict[str, tuple[str, ...]]:
    """Run the file as a module of its own name; what it registered, by kind."""
    module = _module(path)
    with recorded() as added:
        try:
            _Loader(path, code).exec_module(module)
        except (Exception, SystemExit) as error:
            sys.modules.pop(module.__name__, None)
            for registry, name in added:
                if home(registry[name]).startswith(f"{module.__name__}."):
                    registry.remove(name)
            raise RecipeError(*_failures(error, path)) from error
    provides: dict[str, tuple[str, ...]] = {}
    for registry, name in added:
        if not home(registry[name]).startswith("manyheads."):  # ours are imported on the way, or given a further name
            provides[registry.kind] = (*provides.get(registry.kind, ()), name)
    return provides


def _module(path: Path) -> ModuleType:
    """An empty module that pickle and dataclasses can find under its name."""
    name = f"manyheads_plugin_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    return module


class _Loader(SourceLoader):
    """Runs the bytes that were read, and nothing that a cache beside the file may hold."""

    def __init__(self, path: Path, code: bytes) -> None:
        self._path, self._code = path, code

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        return self._code


def _failures(error: BaseException, path: Path) -> list[Problem]:
    """Why the file failed, at the line of it that did."""
    place = f"{path}:{_line(error, path)}" if _line(error, path) else str(path)
    if isinstance(error, RecipeError):
        return [Problem(p.rule, place, p.value, p.nearest, p.remedy) for p in error.problems]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return [Problem(f"the plug-in is not valid Python: {error.msg}", place, (error.text or "").strip() or None)]
    line = next((f.line for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None)
    return [Problem(f"the plug-in cannot be imported: {type(error).__name__}: {error}", place, line or None)]


def _line(error: BaseException, path: Path) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    return next((f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None)
