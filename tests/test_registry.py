from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from manyheads import registry
from manyheads.errors import RecipeError
from manyheads.registry import Registry


class Round: ...


class Angular: ...


@pytest.fixture
def shapes() -> Registry[type]:
    made: Registry[type] = Registry("shape")
    made.register("circle")(Round)
    made.register("box")(Angular)
    return made


def _plug_in(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, "manyheads.shape")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])


def test_a_name_gives_its_component(shapes: Registry[type]) -> None:
    assert shapes["circle"] is Round
    assert "circle" in shapes
    assert list(shapes) == ["box", "circle"]
    assert len(shapes) == 2


def test_the_decorator_returns_what_it_decorates(shapes: Registry[type]) -> None:
    @shapes.register("star")
    class Star: ...

    assert shapes["star"] is Star


def test_a_miss_names_kind_name_nearest_and_all(shapes: Registry[type]) -> None:
    with pytest.raises(RecipeError) as caught:
        shapes["cirlce"]
    for part in ("shape", "'cirlce'", "did you mean 'circle'?", "'box', 'circle'"):
        assert part in str(caught.value)
    assert "cirlce" not in shapes


def test_a_miss_without_a_near_name_suggests_none(shapes: Registry[type]) -> None:
    with pytest.raises(RecipeError) as caught:
        shapes["qqqq"]
    assert "did you mean" not in str(caught.value)


def test_a_clash_shows_both(shapes: Registry[type]) -> None:
    with pytest.raises(RecipeError) as caught:
        shapes.register("circle")(Angular)
    assert f"{__name__}.Round" in str(caught.value)
    assert f"{__name__}.Angular" in str(caught.value)
    assert shapes["circle"] is Round


def test_the_same_component_may_be_registered_again(shapes: Registry[type]) -> None:
    shapes.register("circle")(Round)
    assert len(shapes) == 2


def test_two_registries_share_nothing(shapes: Registry[type]) -> None:
    assert "circle" not in Registry("shape")


def test_an_entry_point_is_loaded_when_its_name_is_asked_for(monkeypatch: pytest.MonkeyPatch, shapes: Registry[type]) -> None:
    _plug_in(monkeypatch, "path", "pathlib:Path")
    assert len(shapes) == 2
    assert shapes["path"].__name__ == "Path"
    assert "path" in shapes


def test_an_entry_point_of_another_kind_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    _plug_in(monkeypatch, "path", "pathlib:Path")
    assert "path" not in Registry("colour")


def test_a_name_that_is_known_needs_no_plug_in(monkeypatch: pytest.MonkeyPatch, shapes: Registry[type]) -> None:
    _plug_in(monkeypatch, "circle", "no_such_package:Circle")
    assert shapes["circle"] is Round
    assert "star" not in shapes
