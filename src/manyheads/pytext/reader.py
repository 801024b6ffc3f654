"""A task of a configuration while it is read, and what it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from manyheads.pytext import layers, losses
from manyheads.pytext.layers import Path
from manyheads.pytext.pool import Pool
from manyheads.pytext.section import Section
from manyheads.pytext.source import Data, old_data, read_data


@dataclass
class Outcome:
    """What a task becomes: tasks by name, a data set that they share, the batches of its data."""

    tasks: dict[str, dict[str, Any]]
    data: Data
    shared: str = ""
    longest: int = 0
    reads: str = ""

    def read_by(self, path: Path) -> Outcome:
        """The same, with what the module that reads is called, and how long an input may be."""
        first = path.steps[0] if path.steps else ""
        self.longest, self.reads = path.longest, first if isinstance(first, str) else ""
        return self

    def said(self) -> dict[str, Any]:
        """The section that describes its data."""
        own: dict[str, Any] = next(iter(self.tasks.values()))["data"]
        return self.data.settings if self.shared else own


@dataclass
class Reader:
    """One task of a configuration while it is read."""

    name: str
    section: Section
    pool: Pool
    prefix: str
    old: bool
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path(self.pool, self.prefix)

    def model(self, default: str) -> tuple[str, Section]:
        """The class of the model and what is said of it."""
        return self.section.variant("model", default)

    def data(self, columns: list[str], rows: int = 128) -> Data:
        """Its files; `columns` are those of the form before version 16, where it names none."""
        if self.old:
            return old_data(self.section.section("data_handler"), self.pool.files, columns, rows)
        return read_data(self.section.section("data"), self.pool.files)

    def embed(self, model: Section, key: str = "tokens", embedding: str = "embedding") -> Section:
        """The embedding of words, old or new; the section of what reads them."""
        tokens = model.section("inputs").section(key)
        if self.old:
            layers.old_embed(self.path, self.section.section("features"))
            self.section.section("featurizer")
        else:
            layers.embed(self.path, model.section(embedding).named("WordEmbedding")[1], tokens)
        return tokens

    def labels(self, model: Section, key: str = "labels") -> Section:
        """What reads the labels."""
        return self.section.section("labels") if self.old else model.section("inputs").section(key)

    def finish(self, settings: dict[str, Any], data: Data, columns: dict[str, str], dropout: float = 0.0) -> Outcome:
        """A task of the recipe at the end of the path."""
        said = {**data.settings, **{key: data.column(name) for key, name in columns.items()}}
        kind = settings.pop("type")
        task = {"type": kind, "path": self.path.steps, "data": said, "dropout": dropout, **settings}
        return Outcome({self.name: task}, data).read_by(self.path)

    def label_settings(self, model: Section) -> dict[str, Any]:
        """Type, loss and score of a task with a label a row."""
        settings = losses.classified(model.section("output_layer"), self.labels(model))
        return {**settings, **losses.metric(self.section.section("metric_reporter"))}

    def label(self, model: Section) -> str:
        """The column of its label."""
        return "doc_label" if self.old else self.labels(model).named("LabelTensorizer")[1].text("column", "label")

    def number(self, model: Section) -> str:
        """The column of its number."""
        labels = self.labels(model).named("NumericLabelTensorizer")[1]
        if labels.has("rescale_range"):
            labels.give_up("numbers are learned as they are; `low` and `high` say where they end", "rescale_range")
        losses.squared(model.section("output_layer"))
        self.section.section("metric_reporter")
        return labels.text("column", "label")
