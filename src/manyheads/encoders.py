"""Where a pretrained encoder is: the folder behind a package's name, a path or a hub id."""

from __future__ import annotations

import os.path
from contextlib import suppress
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from manyheads.errors import Problem, ResourceError, nearest
from manyheads.packages import KNOWN, package_path

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json")
ENCODERS = tuple(name for name, package in KNOWN.items() if package.checked == "model.safetensors")
_WANTED = (*FILES, "merges.txt", "spiece.model", "sentencepiece.bpe.model", "*.safetensors", "*.safetensors.index.json")


def find_encoder(name: str, base: Path = Path(), revision: str | None = None) -> Path:
    """The folder with config.json and safetensors that `name` means.

    A known installed package (`minilm`), else a folder (as named or relative to `base`), else a hub id, of which only
    configuration, tokenizer and safetensors are fetched. Raises MissingExtraError for a package that is not installed,
    ResourceError when nothing is found.
    """
    if name in ENCODERS:
        return package_path(name)
    try:
        for folder in (base / name, Path(name)):
            if (folder / "config.json").is_file():
                return folder.resolve()
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        remedy = "name an installed package, a folder with config.json and model.safetensors, or a hub id that can be reached"
        raise ResourceError(
            Problem(
                f"no encoder is found: {_why(name, base, error)}", value=name, nearest=nearest(name, ENCODERS), remedy=remedy
            )
        ) from error


def _why(name: str, base: Path, error: Exception) -> str:
    """Of what can only be a folder, what is amiss there; of other names what the hub says."""
    places = (base / name, Path(name))
    with suppress(OSError, ValueError):  # a name that no file system takes
        if any(place.is_dir() for place in places):
            return "the folder has no config.json"
        if any(place.is_file() for place in places):
            return "a folder is wanted, and this is a file"
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            return "there is no such folder"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def meant(name: str, base: Path) -> str:
    """What to write for a file that `name` means from the working folder, where names start from `base`; empty for none."""
    if (base / name).exists() or not Path(name).exists():
        return ""
    return f"it is there relative to the working folder; from the recipe it is {Path(os.path.relpath(name, base)).as_posix()}"
