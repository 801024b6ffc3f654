"""Writing a crafted file and reading it through the package's face."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import Rows, read_rows

ReadFile: TypeAlias = Callable[..., Rows]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> ReadFile:
    """`read(name, data, **spec)`: the rows of a file of that name which holds `data` (text is written as utf-8)."""
    base = tmp_path_factory.mktemp("files")

    def written(name: str, data: str | bytes, **spec: object) -> Rows:
        (base / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return read_rows(DataSpec.model_validate({"train": name, **spec}), "train", base)

    return written


@pytest.fixture(scope="session")
def public_data(pytestconfig: pytest.Config) -> Path:
    """The folder of public data sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MANYHEADS_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public data sets are not at {folder}; MANYHEADS_DATA can name their folder")
    return folder
