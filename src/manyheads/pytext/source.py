"""Files, columns and batches of a task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from manyheads.pytext.section import Section

_SPLITS = {"train": "train_filename", "dev": "eval_filename", "test": "test_filename"}
_OLD = {"train": "train_path", "dev": "eval_path", "test": "test_path"}
_NO_FILE = "every data source has files of the kinds in docs/formats.md"


@dataclass(frozen=True, slots=True)
class Files:
    """Where files lie: those of a configuration are named from the folder in which PyText was started."""

    start: PurePath
    base: PurePath

    def name(self, file: str) -> str:
        """The file as a recipe in `base` names it."""
        if PurePath(file).is_absolute() or self.start == self.base:
            return file
        return PurePath(os.path.relpath(self.start / file, self.base)).as_posix()


@dataclass
class Data:
    """The data of a task as a recipe has them, and the rows of a batch."""

    settings: dict[str, Any]
    rows: int = 16
    columns: Mapping[str, str] = field(default_factory=dict)  # the name that tensorizers know, the name in the file
    grouped: bool = True

    def column(self, name: str) -> str:
        """The name that the files give to what a tensorizer calls so."""
        return self.columns.get(name, name)


def read_data(data: Section, files: Files) -> Data:
    """The data of the form since version 6: `data.source` and `data.batcher`."""
    kind, source = data.variant("source", "TSVDataSource")
    if kind == "SquadDataSource":
        found = _squad(source, files)
    elif kind == "CoNLLUPOSDataSource":
        found = Data({"format": "conllu", **_files(source, files, _SPLITS)})
        source.give_up("columns of CoNLL-U are known", "field_names")
        if source.has("language"):
            source.give_up("the files are read as they are", "language")
    elif kind in ("TSVDataSource", "MultilingualTSVDataSource"):
        found = _table(source, files)
    else:
        source.give_up(f"{kind}: {_NO_FILE}")
        found = Data({"train": "train.tsv", "format": "tsv"})
        data.problem(
            "no reader for this data source", "source", kind, ("TSVDataSource", "SquadDataSource", "CoNLLUPOSDataSource")
        )
    batcher_kind, batcher = data.variant("batcher", "PoolingBatcher")
    found.rows = batcher.whole("train_batch_size", 16)
    found.grouped = batcher_kind != "Batcher"
    if batcher_kind not in ("Batcher", "PoolingBatcher"):
        batcher.give_up(f"{batcher_kind}: batches keep their size")
    return found


def old_data(handler: Section, files: Files, columns: list[str], rows: int = 128) -> Data:
    """The data of the form before version 16: a `data_handler`. `columns` are those of its class."""
    kind, inner = handler.named("DataHandler")
    settings: dict[str, Any] = {"format": "tsv"}
    for split, key in _OLD.items():
        if name := inner.text(key, f"{'eval' if split == 'dev' else split}.tsv"):
            settings[split] = files.name(name)
    settings["columns"] = inner.list_of("columns_to_read", str, columns) or columns
    mapping = inner.section("column_mapping")
    names = {mapping.text(key): key for key in mapping.keys}
    found = Data(settings, inner.whole("train_batch_size", rows), names)
    found.grouped = inner.flag("sort_within_batch", True)
    if kind == "BPTTLanguageModelDataHandler":
        settings["stream"] = {"rows": found.rows, "words": inner.whole("bptt_len", 35)}
    return found


def _table(source: Section, files: Files) -> Data:
    settings: dict[str, Any] = {"format": "tsv", **_files(source, files, _SPLITS)}
    delimiter = source.text("delimiter", "\t")
    quoted = source.flag("quoted", False)
    if delimiter == "," or (delimiter == "\t" and quoted):
        settings["format"] = "csv" if delimiter == "," else "tsv"
        if quoted != (delimiter == ","):
            source.give_up(
                "quotes mean something in csv, and nothing in tsv", "quoted" if source.has("quoted") else "delimiter"
            )
    elif delimiter != "\t":
        source.give_up("columns are parted by tabs or commas", "delimiter")
    if names := source.list_of("field_names", str, []):
        settings["columns"] = names
    if source.has("drop_incomplete_rows") and source.flag("drop_incomplete_rows", False):
        settings["bad_rows"] = "skip"
    mapping = source.section("column_mapping")
    return Data(settings, columns={mapping.text(key): key for key in mapping.keys})


def _squad(source: Section, files: Files) -> Data:
    settings: dict[str, Any] = {"format": "squad"}
    for split, key in _SPLITS.items():
        default = "train-v2.0.json" if split == "train" else "dev-v2.0.json"
        name = source.text(key, default)
        if name:
            settings[split] = files.name(name)
    source.flag("ignore_impossible", True)
    for key in ("max_character_length", "min_overlap"):
        if source.has(key):
            source.give_up("long texts are read through windows: `stride`", key)
    return Data(settings)


def _files(source: Section, files: Files, keys: Mapping[str, str]) -> dict[str, str]:
    found = {split: files.name(name) for split, key in keys.items() if (name := source.text(key))}
    if "train" not in found:
        source.problem("a task needs training rows", remedy="write `train_filename` into the data source")
    return found


def with_slots(labels: Section, data: Data, old: bool) -> None:
    """Rows with slots by offsets, `0:4:label,…`, which the format `offsets` makes words and tags of.

    It knows the columns `text` and `slots`; in files without a header they are called so here.
    """
    text = data.column(labels.text("text_column", "text"))
    given = data.column("word_label" if old else labels.text("slot_column", "slots"))
    data.settings["format"] = "offsets"
    names = data.settings.get("columns")
    if names is not None:
        data.settings["columns"] = [{text: "text", given: "slots"}.get(name, name) for name in names]
    elif (text, given) != ("text", "slots"):
        labels.problem("the header of the files is to have the columns `text` and `slots`", value=f"{text}, {given}")
