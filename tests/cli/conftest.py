"""What the tests of commands share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manyheads.cli.app import run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `manyheads` with these arguments: exit code, standard output, standard error."""
    monkeypatch.setenv("MANYHEADS_DEBUG", "0")  # put back at the end, since --debug sets it

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """Every file below a folder, with the hash of its bytes and its time."""

    def look(folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted(folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found[path.relative_to(folder).as_posix()] = f"{hashlib.sha256(content).hexdigest()} {os.stat(path).st_mtime_ns}"
        return found

    return look
