"""One small registry a kind of component: readers, modules, task types, metrics, optimizers.

A component of your own joins in one of two ways: a decorator in code that was imported before, a plug-in file among it, or an
entry point of the group `manyheads.<kind>` in an installed package. A recipe never names code to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from manyheads.errors import RecipeError, listed, nearest, shown

T = TypeVar("T")
C = TypeVar("C")


class Registry(Generic[T]):
    """Names to components of one kind.

    >>> shapes: Registry[type] = Registry("shape")
    >>> @shapes.register("circle")
    ... class Circle: ...
    >>> shapes["circle"] is Circle
    True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._known: dict[str, T] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Decorator that adds a component; a name that is taken raises RecipeError showing both."""

        def add(component: C) -> C:
            self._add(name, component)  # type: ignore[arg-type]  # C is T or a subtype; the registry's own annotation says
            return component

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._known:
            self._load_plugins()
        if name not in self._known:
            close = nearest(name, self._known)
            hint = f"; did you mean {shown(close)}?" if close else ""
            raise RecipeError(f"no {self.kind} is called {shown(name)} (there are: {listed(self)}){hint}")
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._known:
            self._load_plugins()
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def remove(self, name: str) -> None:
        """Forget a component."""
        del self._known[name]

    def _add(self, name: str, component: T) -> None:
        if name in self._known and self._known[name] is not component:
            one, two = home(self._known[name]), home(component)
            raise RecipeError(f"two components want to be the {self.kind} {shown(name)}: {one} and {two}")
        if name not in self._known:
            self._known[name] = component
            for record in _records:
                record.append((self, name))

    def _load_plugins(self) -> None:
        for point in entry_points(group=f"manyheads.{self.kind}"):
            if point.name not in self._known:
                self._add(point.name, point.load())


_records: list[list[tuple[Registry[Any], str]]] = []


@contextmanager
def recorded() -> Iterator[list[tuple[Registry[Any], str]]]:
    """A list that takes up what is registered in the block: the registry and the name."""
    record: list[tuple[Registry[Any], str]] = []
    _records.append(record)
    try:
        yield record
    finally:
        _records.remove(record)


def home(component: object) -> str:
    """Module and name of a component; a metric, which is an object, is where its function is."""
    made = getattr(component, "function", component)
    return f"{getattr(made, '__module__', '?')}.{getattr(made, '__qualname__', made)}"
