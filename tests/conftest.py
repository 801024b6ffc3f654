"""What every test shares: no hub, one thread, and the real weights and data where they are installed."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import settings

from manyheads.errors import MissingExtraError
from manyheads.packages import package_path

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)  # sums in one order, and workers that do not fight for cores
settings.register_profile("tests", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for `shared_data` is marked `data`."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data sets: MANYHEADS_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("MANYHEADS_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets: no folder {folder}; MANYHEADS_DATA names another place")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2: 6 layers, 384 wide."""
    return _installed("minilm")


@pytest.fixture(scope="session")
def bert_tiny() -> Path:
    """Folder of BERT-tiny: 2 layers, 128 wide."""
    return _installed("bert-tiny")


def _installed(name: str) -> Path:
    try:
        return package_path(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
