"""Where rows come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from manyheads.config.spec.base import Strict
from manyheads.config.spec.training import BatchSpec


class StreamSpec(Strict):
    """All rows of a split as one text, each with a mark at its end, which a language model reads chunk by chunk."""

    rows: int = Field(default=32, ge=1, le=65_536)
    """Parts of the training text that are read side by side; a batch has a chunk of each. Dev and test rows are one part."""
    words: int = Field(default=35, ge=1, le=65_536)
    """Words of a chunk. Recurrent modules carry their states into the next one, gradients end at its beginning."""


class DataSpec(Strict):
    """Where rows come from and which of their columns are the input."""

    format: Literal[
        "auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "conllu", "lines", "folders", "slots", "offsets", "squad",
        "superglue", "glue", "hub",
    ] | str = "auto"  # fmt: skip
    """File format; `auto` goes by the file name (a further .gz or .bz2 is unpacked). docs/formats.md tells their columns.

    `folders`: one sub-folder a label, one text a file. `slots`: a folder with seq.in, seq.out and label. `offsets`: tsv
    with slots by characters. A name never tells these, `squad`, `superglue` and `glue`. A plug-in's formats go by their names.
    """
    train: str | list[str] | None = None
    """File or files of the training rows, relative to the recipe; for `hub` the name of a split."""
    dev: str | list[str] | None = None
    """Rows that choose checkpoints and stop training."""
    test: str | list[str] | None = None
    """Rows that are scored once, at the end."""
    split: dict[Literal["dev", "test"], Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Shares of `train` to set aside, e.g. `{dev: 0.1, test: 0.1}`, drawn by lot from `seed`, file names and row numbers."""
    limit: int | None = Field(default=None, ge=1)
    """Use at most this many training rows, chosen by lot as for `split`."""
    stream: StreamSpec | None = None
    """Rows are one text, for `language_modelling`; their order is kept. Default: each row is a text of its own."""
    batch: BatchSpec | None = None
    """How its rows become batches, instead of `training.batch`."""
    max_length: int | None = Field(default=None, ge=8)
    """Most pieces of one input, special pieces included; at most the encoder's `max_length`, which is the default."""
    text: str | None = None
    """Column of the (first) text; default: `text` (SQuAD: `question`), unless the rows come as words."""
    pair: str | None = None
    """Column of the second text; default: none (SQuAD: `context`, unless `text` is named)."""
    words: str | None = None
    """Column of the words, for data that come as words (CoNLL: the first column unless said; CoNLL-U: `form`)."""
    choices: str | None = None
    """Column of a list of choices, or of candidates for `ranking`. Each is read behind `text`, and behind `pair` too."""
    stride: int = Field(default=64, ge=0)
    """Pieces that two neighbouring windows on a long text share, for `question_answering`; at most half of a window."""
    columns: list[str] | None = None
    """Names of the columns of a file without a header; for CoNLL names from the left (default: words, then tags last)."""
    encoding: str = "utf-8"
    """Text encoding of the files."""
    missing: list[str] = Field(default_factory=list)
    """Label texts that mean "no label", e.g. `["", "-1", "NaN"]`. JSON null always does."""
    bad_rows: Literal["error", "skip", "quarantine"] = "error"
    """What to do with a row that breaks a rule.

    Stop, leave it out and count it, or also write it, with the rule, to `<data set>.quarantine.jsonl` in the run's folder.
    """
    hub: str | None = None
    """Name of a data set on the hub or a folder that `datasets` saved; needs `format: hub`."""
    config: str | None = None
    """Configuration of the hub data set; for `glue` the task, where no name of file or folder tells it."""


class TaskData(DataSpec):
    """A data set of the task's own, with the task's label column; or, by `from`, a named data set of the recipe."""

    from_: str | None = Field(default=None, alias="from")
    """Name of a data set under `data:`, shared with other tasks; beside it only `missing` and the keys below may stand."""
    label: str | None = None
    """Column of the label (a class, a number, a list of classes or of relevances, or one tag a word); default: `label`.

    For tagging it is `tags`, of CoNLL-U `upos`.
    """
    weight: str | None = None
    """Column of numbers from 0 on: a row of weight 2 counts in the task's loss as two rows, one of 0 not at all; default: 1.

    Only training rows need it, and of these only those with a label. Scores do not look at it.
    """
    group: str | None = None
    """Column that rows of one question, or of one document, share, for the score `group_accuracy`."""


BESIDE_FROM = ("label", "weight", "group", "missing")
"""Keys that a task with `from` may have, since they say nothing of how rows are read."""
