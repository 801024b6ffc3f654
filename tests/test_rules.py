"""Rules that every file keeps: no unsafe call, no giant, no room without a name, no trace of the machine it was written on.

Each rule is a function from text to what breaks it, and is shown to find what it is meant to find.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_cover  # files are read here, and nothing of the package runs

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "telnetlib"}
UNSAFE_CALLS = {
    "torch.load", "torch.hub.load", "eval", "exec", "__import__", "builtins.eval", "builtins.exec", "os.system", "os.popen",
    "yaml.load", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle", "shutil.unpack_archive", "tempfile.mktemp",
}  # fmt: skip
UNSAFE_METHODS = {"extractall", "load_state_dict_from_url", "read_pickle", "to_pickle"}
SAFE_VALUES = {"shell": False, "trust_remote_code": False, "weights_only": True, "allow_pickle": False}
NAMELESS = {"utils", "util", "common", "helpers", "helper", "misc"}
LAZY = {  # libraries that take a second to import, and the one place that needs each: most runs never get there
    "data/readers/hub.py": {"datasets"},
    "nn/elmo_files.py": {"h5py"},
    "nn/adapters.py": {"peft"},
    "text/tokenize.py": {"transformers"},
}
MACHINE = re.compile(
    r"(?<![\w.~])/(?:[w]ork|[f]arm|[r]oot|[o]pt|[h]ome/\w+|[t]mp/(?:dev|buildcheck))/"
    r"|[p]ythonhosted|[p]ypi\.org|[n]pmjs\.(?:org|com)|[d]eb\.debian|[d]ownload\.pytorch"
)
UNSAFE_PAGE = re.compile(r"\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\|\s*safe\b|autoescape\s*=\s*False")


@functools.cache
def parsed(text: str) -> ast.Module:
    """The tree of a file, parsed once for all rules."""
    return ast.parse(text)


# the rules --------------------------------------------------------------------------------------------------------------


def unsafe(text: str) -> Iterator[str]:
    """Calls and imports that run what a file holds, and asserts, which `python -O` drops."""
    tree = parsed(text)
    names = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f"{node.lineno}: import of {m}" for m in _imported(node) if m.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.Assert):
            yield f"{node.lineno}: assert"
        elif isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {what}" for what in _unsafe_call(node, names))


def _unsafe_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = _dotted(node.func, names)
    if called in UNSAFE_CALLS or called.split(".")[-1] in UNSAFE_METHODS:
        yield called
    for keyword in node.keywords:
        safe = SAFE_VALUES.get(keyword.arg or "")
        if safe is not None and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is safe):
            yield f"{keyword.arg}={ast.unparse(keyword.value)}"
        if keyword.arg == "typ" and ast.unparse(keyword.value) == "'unsafe'":
            yield "typ='unsafe'"


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Local name to the full name that it was imported as."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.ImportFrom):
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else "()"


def giants(text: str) -> Iterator[str]:
    """More than 400 lines in a file or 60 in a function."""
    lines = len(text.splitlines())
    if lines > 400:
        yield f"1: a file of {lines} lines"
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            long = (node.end_lineno or 0) - node.lineno + 1
            if long > 60:
                yield f"{node.lineno}: {node.name} has {long} lines"


def hidden_imports(text: str, allowed: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    """Imports inside a function, but for the libraries that are `allowed` there."""
    for function in ast.walk(parsed(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    inside = [m for m in _imported(node) if m.split(".")[0] not in allowed]
                    yield from (f"{node.lineno}: import of {m} inside a function" for m in inside)


def traces(text: str) -> Iterator[str]:
    """Paths of one machine and hosts of registries."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from (f"{number}: {found.group()}" for found in MACHINE.finditer(line))


def unsafe_page(text: str) -> Iterator[str]:
    """What puts text into a page as markup."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from (f"{number}: {found.group()}" for found in UNSAFE_PAGE.finditer(line))


# each rule finds what it is meant to find -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (unsafe, "import pickle"),
        (unsafe, "from pickle import loads"),
        (unsafe, "import joblib.numpy_pickle as j"),
        (unsafe, "def f():\n    import dill"),
        (unsafe, "import torch\ntorch.load(path)"),
        (unsafe, "import torch as t\nt.load(path, weights_only=True)"),
        (unsafe, "from torch import load as read\nread(path)"),
        (unsafe, "f(path, weights_only=False)"),
        (unsafe, "try:\n    safe(path)\nexcept ValueError:\n    f(path, weights_only=flag)"),
        (unsafe, "eval('1 + 1')"),
        (unsafe, "exec(text)"),
        (unsafe, "__import__(name)"),
        (unsafe, "import yaml\nyaml.load(text)"),
        (unsafe, "from yaml import unsafe_load\nunsafe_load(text)"),
        (unsafe, "YAML(typ='unsafe')"),
        (unsafe, "subprocess.run(line, shell=True)"),
        (unsafe, "import os\nos.system('ls')"),
        (unsafe, "AutoModel.from_pretrained(name, trust_remote_code=True)"),
        (unsafe, "AutoModel.from_pretrained(name, trust_remote_code=options.trust)"),
        (unsafe, "np.load(path, allow_pickle=True)"),
        (unsafe, "tarfile.open(path).extractall(folder)"),
        (unsafe, "assert rows, 'no rows'"),
        (giants, "x = 1\n" * 401),
        (giants, "def f():\n" + "    x = 1\n" * 60),
        (giants, "class A:\n    async def f(self):\n" + "        x = 1\n" * 60),
        (hidden_imports, "def f():\n    import torch"),
        (hidden_imports, "class A:\n    def f(self):\n        if x:\n            from a import b"),
        (traces, "see /" + "work/main"),
        (traces, "find-links = /" + "opt/wheels"),
        (traces, "/" + "home/ada/data.csv"),
        (traces, "https://" + "pypi" + ".org/simple"),
        (unsafe_page, "cell.innerHTML = text"),
        (unsafe_page, "{{ label | safe }}"),
        (unsafe_page, "Environment(autoescape=False)"),
    ],
)  # fmt: skip
def test_a_rule_finds_what_breaks_it(rule: Callable[[str], Iterator[str]], text: str) -> None:
    assert list(rule(text))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (unsafe, "import numpy as np\nnp.load(path, allow_pickle=False)\nmodel.eval()\njson.load(file)"),
        (unsafe, "AutoModel.from_pretrained(name, trust_remote_code=False)\nsubprocess.run([a, b], shell=False)"),
        (unsafe, "from safetensors.torch import load_file\nload_file(path)\nYAML(typ='safe').load(text)"),
        (giants, "x = 1\n" * 400),
        (giants, "def f():\n" + "    x = 1\n" * 59),
        (hidden_imports, "import a\nif TYPE_CHECKING:\n    import b\nfrom c import d"),
        (traces, "~/data, /" + "usr/bin/env, ../shared/data, folder/" + "work/x, --index-url $(TORCH_INDEX)"),
        (unsafe_page, "cell.textContent = text\n{{ label }}\nautoescape=True"),
    ],
)
def test_a_rule_lets_the_rest_pass(rule: Callable[[str], Iterator[str]], text: str) -> None:
    assert list(rule(text)) == []


def test_an_import_that_is_allowed_allows_no_other() -> None:
    text = "def f():\n    import datasets\n    from transformers import AutoModel"
    assert list(hidden_imports(text, {"datasets"})) == ["3: import of transformers inside a function"]


# and the files keep them ------------------------------------------------------------------------------------------------


def _tracked() -> list[Path]:
    """Files that git tracks, or would."""
    try:
        call = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(call, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _broken(rule: Callable[[str], Iterator[str]], files: list[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{found}" for path in files for found in rule(path.read_text(encoding="utf-8"))]


def test_there_are_files_to_check() -> None:
    assert ROOT / "src/manyheads/errors.py" in SOURCES
    assert Path(__file__).resolve() in TESTS
    assert ROOT / "pyproject.toml" in _tracked()


def test_nothing_runs_what_a_file_holds() -> None:
    assert _broken(unsafe, SOURCES) == []


def test_nothing_puts_text_into_a_page_as_markup() -> None:
    pages = [p for p in (ROOT / "src").rglob("*") if p.suffix in {".py", ".html", ".js", ".jinja", ".j2"}]
    assert _broken(unsafe_page, pages) == []


def test_no_file_and_no_function_is_a_giant() -> None:
    assert _broken(giants, SOURCES) == []


def test_every_module_has_a_name_of_its_own() -> None:
    names = {part for p in SOURCES for part in p.relative_to(ROOT / "src").with_suffix("").parts}
    assert names & NAMELESS == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT / "src/manyheads").as_posix())
def test_only_the_command_line_imports_inside_functions(path: Path) -> None:
    name = path.relative_to(ROOT / "src/manyheads").as_posix()
    if not name.startswith("cli"):
        assert list(hidden_imports(path.read_text(), LAZY.get(name, set()))) == []


def test_there_are_more_lines_of_tests_than_of_code() -> None:
    lines = {kind: sum(len(p.read_text().splitlines()) for p in files) for kind, files in (("src", SOURCES), ("tests", TESTS))}
    assert lines["tests"] > lines["src"]


def test_no_file_tells_of_the_machine_it_was_written_on() -> None:
    files = [p for p in _tracked() if p.suffix not in {".png", ".parquet", ".safetensors", ".gz"}]
    assert _broken(traces, files) == []
