"""A data set of the hub, or a folder that `datasets` saved. Its scripts are never run.

`train`, `dev` and `test` name splits. Class numbers become the names that the data set gives them, and -1, which there means
"no label", becomes None. A place counts rows from 1.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from manyheads.config.spec.data import DataSpec
from manyheads.data.readers.contract import READERS, FileFact, Rows, Source, refuse_columns
from manyheads.errors import DataError, Problem, RecipeError, listed, nearest
from manyheads.types import Place, Row, Value


@READERS.register("hub")
def read_hub(source: Source, spec: DataSpec) -> Rows:
    """Rows of the split that the source names, with a fact for each Arrow file behind it."""
    from datasets.exceptions import DatasetsError  # here, for it takes a second to import and most runs read local files

    refuse_columns(spec, "a data set of the hub")
    if spec.hub is None:
        raise RecipeError(Problem("`format: hub` needs the name of a data set or a saved folder", "hub"))
    place = f"{spec.hub}/{source.name}"
    try:
        split = _load(source, spec.hub, spec.config)
        table = split.with_format("arrow")[:]
        rows = [
            Row({name: _named(value, split.features[name]) for name, value in values.items()}, Place(place, number))
            for number, values in enumerate(table.to_pylist(), 1)
        ]
        files = tuple(_fact(Path(file["filename"]), place) for file in split.cache_files)
    except (DatasetsError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(_unread(error, spec.hub)) from error
    return Rows(rows, (), files)


def _load(source: Source, hub: str, config: str | None) -> Any:
    """A `datasets.Dataset`."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    folder = source.base / hub
    if not folder.exists():
        if Path(hub).exists():  # load_dataset would take it before it asks the hub
            raise DataError(Problem("this is a path of the working folder; paths are relative to the recipe", hub))
        if hub.startswith((".", "/")) or hub.count("/") > 1:  # load_dataset would look through all folders around it
            raise DataError(Problem("there is no such folder", hub, remedy=f"looked for {folder}"))
        return load_dataset(hub, config, split=source.name)
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        rule = "this folder was not saved by `datasets`, and scripts of a data set are never run"
        raise DataError(Problem(rule, hub, remedy="for data files in it, name the files under `train` and set their `format`"))
    saved = load_from_disk(str(folder))
    if not isinstance(saved, DatasetDict):
        return saved
    if source.name not in saved:
        rule = f"the data set has the splits {listed(saved)}"
        raise DataError(Problem(rule, hub, value=source.name, nearest=nearest(source.name, saved)))
    return saved[source.name]


def _named(value: Any, feature: Any) -> Value:
    """`value` with the names of its classes in place of their numbers, in lists and mappings too."""
    from datasets import ClassLabel, LargeList, List

    if value is None:
        return None
    if isinstance(feature, ClassLabel):
        return None if value == -1 else str(feature.int2str(value))
    if isinstance(feature, List | LargeList):
        return [_named(item, feature.feature) for item in value]
    if isinstance(feature, dict):
        return {name: _named(item, feature[name]) for name, item in value.items()}
    return value  # type: ignore[no-any-return]  # what Arrow gives for a plain value


def _fact(path: Path, place: str) -> FileFact:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileFact(f"{place}/{path.name}", digest.hexdigest(), file.tell())


def _unread(error: Exception, hub: str) -> Problem:
    reason = str(error).partition("\n")[0]
    if "scripts are no longer supported" in reason:
        return Problem("this data set needs a script of its own, and such scripts are never run", hub)
    if isinstance(error, ConnectionError):
        remedy = "load it once where there is a network, or save it with `datasets` and give the folder"
        return Problem("this data set is not in the local cache, and the hub cannot be reached", hub, remedy=remedy)
    return Problem(f"this data set cannot be read: {reason}", hub)
