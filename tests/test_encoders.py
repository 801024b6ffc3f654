"""Where an encoder is: an installed package, a folder, the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyheads import encoders
from manyheads.encoders import ENCODERS, find_encoder
from manyheads.errors import ResourceError


def test_an_installed_package(bert_tiny: Path) -> None:
    assert find_encoder("bert-tiny") == bert_tiny
    assert set(ENCODERS) == {"minilm", "bert-tiny"}  # data sets are no encoders


def test_a_folder_beside_the_recipe_or_where_the_command_runs(place: Path, tiny: Path) -> None:
    (place / "inner").mkdir()
    (place / "inner" / "enc").symlink_to(tiny)
    assert find_encoder("enc", place / "inner") == tiny
    assert find_encoder("inner/enc") == tiny
    assert find_encoder(str(tiny), place) == tiny


@pytest.mark.parametrize("name", ["minlm", "no/such-model", "a folder", "../x", "x" * 300, "a/b/c", ""])
def test_what_is_nowhere(place: Path, name: str) -> None:
    with pytest.raises(ResourceError, match="no encoder is found") as caught:
        find_encoder(name, place)
    assert "name an installed package" in str(caught.value)
    assert (caught.value.problems[0].nearest == "minilm") == (name == "minlm")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("./nope", "there is no such folder"),
        ("../nope", "there is no such folder"),
        ("/nope/at/all", "there is no such folder"),
        ("~/nope", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        ("bare", "the folder has no config.json"),
        ("./bare", "the folder has no config.json"),
        ("./notes.txt", "a folder is wanted, and this is a file"),
    ],
)
def test_of_a_folder_it_is_told_what_is_amiss(place: Path, name: str, why: str) -> None:
    (place / "bare").mkdir()
    (place / "notes.txt").write_text("")
    with pytest.raises(ResourceError) as caught:
        find_encoder(name, place)
    [problem] = caught.value.problems
    assert (problem.rule, problem.value) == (f"no encoder is found: {why}", name)


def test_only_configuration_tokenizer_and_safetensors_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def fetch(name: str, **options: object) -> str:
        asked.update(name=name, **options)
        return str(tmp_path)

    monkeypatch.setattr(encoders, "snapshot_download", fetch)
    assert find_encoder("some/model", revision="abc") == tmp_path
    assert (asked["name"], asked["revision"]) == ("some/model", "abc")
    patterns = asked["allow_patterns"]
    assert isinstance(patterns, list)
    assert "*.safetensors" in patterns
    assert not any(p.endswith((".bin", ".pt", ".py")) for p in patterns)
