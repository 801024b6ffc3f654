"""How manyheads is locked, built and shipped."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

import manyheads
from manyheads.packages import KNOWN

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
DEV = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["optional-dependencies"]["dev"])}
HASHED = ["build", "lock", "quickstart"]


def _entries(text: str) -> list[str]:
    """Logical lines of a requirement file, without comments."""
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line and not line.startswith("#")]


def _pins(name: str) -> dict[str, Version]:
    entries = _entries((ROOT / f"requirements/{name}.txt").read_text())
    found = [re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", e) for e in entries]
    return {canonicalize_name(m[1]): Version(m[2]) for m in found if m}


def _loose(text: str) -> list[str]:
    """Entries that are not `name==version [; marker] --hash=sha256:…`."""
    pinned = re.compile(r"[a-z0-9._-]+==[0-9][^ ;*]*( ; [^#]+?)? *(--hash=sha256:[0-9a-f]{64} *)+")
    return [entry for entry in _entries(text) if not pinned.fullmatch(entry)]


@pytest.mark.parametrize("name", HASHED)
def test_every_locked_package_has_one_version_and_its_hashes(name: str) -> None:
    assert _loose((ROOT / f"requirements/{name}.txt").read_text()) == []
    assert len(_pins(name)) == len(_entries((ROOT / f"requirements/{name}.txt").read_text())) > 0


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0",
        "numpy>=2.0 --hash=sha256:" + "0" * 64,
        "numpy==2.* --hash=sha256:" + "0" * 64,
        "numpy==2.0 --hash=md5:" + "0" * 32,
        "--extra-index-url somewhere",
        "-e .",
        "numpy @ file:numpy.whl",
    ],
)
def test_a_loose_line_is_seen(line: str) -> None:
    good = "scipy==1.0 ; python_version < '4' \\\n    --hash=sha256:" + "1" * 64
    assert _loose(f"# comment\n{good}\n{line}\n") == [line]


def test_torch_is_pinned_alone() -> None:
    assert _entries((ROOT / "requirements/torch.txt").read_text()) == ["torch==2.13.0"]
    assert "torch" not in _pins("lock")
    assert not [name for name in _pins("lock") if name.startswith(("nvidia", "cuda")) or name == "triton"]


def test_the_lock_holds_what_is_asked_for() -> None:
    pins = _pins("lock") | _pins("torch")
    for name, requirement in (CORE | DEV).items():
        assert pins[name] in requirement.specifier, f"{requirement} is locked at {pins[name]}: make lock"


def test_the_lock_holds_what_torch_needs() -> None:
    needs = [Requirement(r) for r in metadata.requires("torch") or []]
    plain = [r for r in needs if not r.marker and not r.name.startswith(("nvidia", "cuda", "triton"))]
    assert len(plain) >= 7
    for requirement in plain:
        assert _pins("lock")[canonicalize_name(requirement.name)] in requirement.specifier


def test_what_builds_and_what_is_locked_agree() -> None:
    lock, build = _pins("lock"), _pins("build")
    assert {name: lock[name] for name in build.keys() & lock.keys()} == {
        name: build[name] for name in build.keys() & lock.keys()
    }
    assert "setuptools" in build


def test_every_direct_dependency_has_a_floor_and_no_ceiling() -> None:
    for requirement in (CORE | DEV).values():
        assert [s.operator for s in requirement.specifier] == [">="], requirement


def test_known_bad_versions_are_out_of_reach() -> None:
    assert not CORE["transformers"].specifier.contains("5.2.9"), "CVE-2026-4372, CVE-2026-5241"
    for file in HASHED:
        assert "lightning" not in _pins(file), "2.6.2 and 2.6.3 were compromised"


def test_the_core_is_small() -> None:
    ours = _closure("manyheads") | {"manyheads"}
    theirs = _closure("transformers") | _closure("datasets") | _closure("accelerate") | _closure("torch")
    added = ours - theirs - {"manyheads", "transformers", "datasets", "accelerate", "torch"}
    assert {"ruamel-yaml", "seqeval"} <= added
    assert len(added) <= 15, sorted(added)


def _closure(root: str) -> set[str]:
    """Everything that `root` needs, and what that needs, without extras."""
    seen: set[str] = set()
    todo = [root]
    while todo:
        name = todo.pop()
        requires = PROJECT["dependencies"] if name == "manyheads" else metadata.requires(name) or []
        for requirement in map(Requirement, requires):
            key = canonicalize_name(requirement.name)
            if key not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                seen.add(key)
                todo.append(key)
    return seen


def test_the_pinned_packages_of_weights_are_those_that_are_known() -> None:
    known = {canonicalize_name(k.distribution): Version(k.version) for k in KNOWN.values()}
    assert _pins("quickstart") == known
    lines = _entries((ROOT / "requirements/quickstart.in").read_text())
    assert sorted(lines) == sorted(f"{k.distribution}=={k.version}" for k in KNOWN.values())


def test_one_version_everywhere() -> None:
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert PROJECT["version"] == manyheads.__version__ == citation["version"]
    assert f"## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_python_that_runs_is_one_that_is_promised() -> None:
    assert Version("{}.{}.{}".format(*sys.version_info[:3])) in SpecifierSet(PROJECT["requires-python"])


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert all(f"   {n}. " in text for n in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text


def test_ci_is_make_test() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().splitlines()[-1] == "exec make test"
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "-s", "-C", str(ROOT), "help"], capture_output=True, check=True, text=True).stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE) == phony[1].split()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two wheels of the same tree, built one after the other."""
    return [_wheel(tmp_path_factory.mktemp("wheel")) for _ in range(2)]


def _wheel(folder: Path) -> Path:
    """A wheel of a copy of the tree, built with the setuptools that is installed."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    (tree / "tests").mkdir()
    (tree / "tests/test_x.py").write_text("")
    (tree / ".env").write_text("TOKEN=secret")
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    env = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, env=env, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheels: list[Path]) -> None:
    path = wheels[0]
    assert path.name == f"manyheads-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        points = wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    files = (p.relative_to(ROOT / "src") for p in (ROOT / "src/manyheads").rglob("*") if p.is_file())
    expected = {p.as_posix() for p in files if not any(part.startswith((".", "__pycache__")) for part in p.parts)}
    assert {n for n in names if ".dist-info/" not in n} == expected
    assert "manyheads/py.typed" in expected
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "manyheads = manyheads.cli:main" in points


def test_a_wheel_is_the_same_bytes_every_time(wheels: list[Path]) -> None:
    first, second = (wheel.read_bytes() for wheel in wheels)
    assert first == second
