"""The schema of a recipe. The same objects, with the same names, are the YAML file, the JSON Schema and the Python API.

Every class refuses unknown keys. Descriptions are written for the recipe reference (`docs/recipe.md`), which is made
from them. Components of the user's own are named by `type` and configured under `options`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$", description="A name: letters, digits, _ and -.")]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of every recipe object: frozen, unknown keys refused, only finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, strict=True)


# modules ------------------------------------------------------------------------------------------------------------


class PretrainedModule(Strict):
    """A pretrained encoder that `transformers.AutoModel` loads. Takes tokens, gives states (B, T, D)."""

    type: Literal["pretrained"]
    name: str
    """A known installed package (`minilm`, `bert-tiny`), a folder, or a hub id."""
    revision: str | None = None
    """Commit or tag of a hub id."""
    max_length: int = Field(default=256, ge=8, le=8192)
    """Most pieces of one input, special pieces included; what is cut is counted."""
    freeze: bool = False
    """Leave the weights as they are: no gradient, no dropout."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Replaces the encoder's own dropout rates."""


class PoolModule(Strict):
    """One vector a row from its states: takes (B, T, D), gives (B, D)."""

    type: Literal["pool"]
    how: Literal["mean", "cls", "max"] = "mean"
    """`mean` and `max` over real pieces, `cls` the first piece."""


class FeedForwardModule(Strict):
    """Linear, activation, dropout; takes and gives vectors or states."""

    type: Literal["feedforward"]
    width: int = Field(ge=1)
    """Output width."""
    activation: Literal["relu", "gelu", "tanh"] = "gelu"
    """Function after the linear map."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout after the activation."""


class OwnModule(Strict):
    """A module type that a plug-in registered."""

    type: str = Field(json_schema_extra={"not": {"enum": ["pretrained", "pool", "feedforward"]}})
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the registered function."""


# data ---------------------------------------------------------------------------------------------------------------


class DataSpec(Strict):
    """Where rows come from and which of their columns are the input."""

    format: Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "lines", "folders", "hub"] | str = "auto"
    """File format; `auto` goes by the file name (a further .gz or .bz2 is unpacked).

    `folders`: one sub-folder a label, one text a file. A plug-in's formats go by their names.
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
    text: str | None = None
    """Column of the (first) text; default: `text`, unless the rows come as words."""
    pair: str | None = None
    """Column of the second text."""
    words: str | None = None
    """Column of the words, for data that come as words (CoNLL: the first column unless said)."""
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
    """Configuration of the hub data set."""


class TaskData(DataSpec):
    """A data set of the task's own, with the task's label column; or, by `from`, a named data set of the recipe."""

    from_: str | None = Field(default=None, alias="from")
    """Name of a data set under `data:`, shared with other tasks; then only `label` and `missing` may stand beside it."""
    label: str | None = None
    """Column of the label (a class, a number, a list of classes, or one tag a word); default: `label`, for tagging `tags`."""


# tasks --------------------------------------------------------------------------------------------------------------


class StepSpec(Strict):
    """A step of a path, written out: a module, where its inputs come from, a name for its result."""

    module: str
    """Name of a module in the pool."""
    inputs: list[str] = Field(default_factory=list)
    """Names of earlier steps, or `batch.<field>`; default: the step before, or the batch's input."""
    name: str | None = None
    """Name of the result; default: the module's name."""


class TaskBase(Strict):
    """What all tasks have."""

    path: list[str | StepSpec] = Field(default_factory=list)
    """Modules from the input to the head, e.g. `[encoder]`. The task's head is added at its end."""
    data: TaskData = Field(default_factory=TaskData)
    """Rows and label column."""
    weight: float = Field(default=1.0, ge=0)
    """Static weight of the task's loss; reported losses stay unweighted."""
    metric: str | None = None
    """Score that chooses checkpoints; default: accuracy, f1_micro (multilabel), spearman, span_f1."""
    metrics: list[str] = Field(default_factory=list)
    """Further scores to report."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout before the head's linear map."""
    pool: Literal["mean", "cls", "max"] = "mean"
    """How states become one vector a row, when the path ends in states and the head reads vectors."""
    patience: int | None = Field(default=None, ge=1)
    """Leave the mixture after this many evaluations without a better `metric`."""
    use_defaults: bool = True
    """False: `defaults` does not apply to this task."""


class ClassificationTask(TaskBase):
    """One label a row; one text or a pair. Cross-entropy."""

    type: Literal["classification"]
    labels: list[str] | None = None
    """All labels; default: those of the training rows, sorted."""
    class_weights: dict[str, Annotated[float, Field(gt=0)]] | Literal["balanced"] | None = None
    """Weight of each label's rows in the loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all labels."""


class MultilabelTask(TaskBase):
    """Any number of labels a row. Binary cross-entropy a label."""

    type: Literal["multilabel"]
    labels: list[str] | None = None
    """All labels; default: those of the training rows, sorted."""
    separator: str = "|"
    """Splits the label column where it is text."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A label is predicted when its probability reaches this."""


class RegressionTask(TaskBase):
    """A number a row. Squared error."""

    type: Literal["regression"]
    low: float | None = None
    """Least allowed target; predictions are clipped to it."""
    high: float | None = None
    """Greatest allowed target; predictions are clipped to it."""


class TaggingTask(TaskBase):
    """One tag a word. Cross-entropy at each word's first piece; one prediction for every input word, always."""

    type: Literal["tagging"]
    labels: list[str] | None = None
    """All tags; default: those of the training rows, sorted, O first."""
    scheme: Literal["BIO", "IOB1", "BIOUL", "IOBES", "none"] = "BIO"
    """How tags spell spans; `none`: tags are plain classes (parts of speech) and are scored by accuracy."""


class OwnTask(TaskBase):
    """A task type that a plug-in registered."""

    type: str = Field(json_schema_extra={"not": {"enum": ["classification", "multilabel", "regression", "tagging"]}})
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the registered class."""


def _own(known: frozenset[str]) -> Discriminator:
    """Built-in types by their tag; any other text is a plug-in's, checked against the registry when it is built."""

    def tag(value: Any) -> str:
        kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
        return kind if isinstance(kind, str) and kind in known else "own"

    return Discriminator(tag)


ModuleSpec: TypeAlias = Annotated[
    Annotated[PretrainedModule, Tag("pretrained")]
    | Annotated[PoolModule, Tag("pool")]
    | Annotated[FeedForwardModule, Tag("feedforward")]
    | Annotated[OwnModule, Tag("own")],
    _own(frozenset({"pretrained", "pool", "feedforward"})),
]
TaskSpec: TypeAlias = Annotated[
    Annotated[ClassificationTask, Tag("classification")]
    | Annotated[MultilabelTask, Tag("multilabel")]
    | Annotated[RegressionTask, Tag("regression")]
    | Annotated[TaggingTask, Tag("tagging")]
    | Annotated[OwnTask, Tag("own")],
    _own(frozenset({"classification", "multilabel", "regression", "tagging"})),
]

# mixture and training -----------------------------------------------------------------------------------------------


class MixtureSpec(Strict):
    """Which data set comes when. A task with data of its own is its own data set, of the same name."""

    sampling: Literal["proportional", "uniform", "temperature", "shares", "round_robin", "sequential"] = "proportional"
    """`proportional` to batches: every row once an epoch. `temperature`: to batches ** (1 / temperature)."""
    temperature: float = Field(default=1.0, gt=0)
    """1 is proportional; the higher, the more uniform."""
    shares: dict[str, Share] = Field(default_factory=dict)
    """Data set to share, for `shares`; need not sum to 1. A data set that is not named gets 0."""
    tasks_per_step: int | Literal["all"] = 1
    """Batches in a round: 1 alternates; `all` takes one batch of every data set a step."""
    epoch: int | str = "pass"
    """Length of an epoch: `pass` (as many batches as all data sets hold), a data set's name, or a number of rounds.

    A data set's name means one pass over it.
    """

    @field_validator("tasks_per_step")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or 'all'")
        return value


class BatchSpec(Strict):
    """How rows become batches: grouped by length, then filled up to a number of rows or a budget of padded pieces."""

    rows: int | None = Field(default=None, ge=1)
    """Rows in a batch."""
    tokens: int | None = Field(default=None, ge=8)
    """Most padded pieces in a batch (rows × longest row). Default when `rows` is not given: 2048."""
    group_by_length: bool = True
    """Sort by length inside pools of 50 batches before cutting; False: batches of random rows."""


class OptimizerSpec(Strict):
    """The optimizer. Biases and norms get no weight decay."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """Rule of the update."""
    lr: float = Field(default=5e-5, gt=0, le=100)
    """Peak learning rate."""
    head_lr: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate of everything that is not pretrained; default: `lr`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False
    )
    """Adam's averages."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's epsilon."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of `sgd`."""


class ScheduleSpec(Strict):
    """The learning rate over the run, as a factor of the peak."""

    name: Literal["linear", "cosine", "constant", "inverse_sqrt"] = "linear"
    """Shape after the warm-up; `linear` and `cosine` end at `floor`."""
    warmup: float = Field(default=0.06, ge=0)
    """Below 1 a share of all steps, from 1 on a number of steps."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Least factor."""


class CheckpointSpec(Strict):
    """When the state of a run is written, so that the same command continues it."""

    every_steps: int | None = Field(default=None, ge=1)
    """Every so many steps."""
    every_minutes: float | None = Field(default=5.0, gt=0)
    """Whenever this much time has passed since the last one."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest stay; the best of each task and of the whole always stay."""


class TrainingSpec(Strict):
    """The loop."""

    epochs: int = Field(default=3, ge=1)
    """Epochs, as `mixture.epoch` counts them."""
    steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps instead."""
    batch: BatchSpec = Field(default_factory=BatchSpec)
    """Batches."""
    accumulate: int = Field(default=1, ge=1)
    """Rounds in one optimizer step."""
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    """Optimizer."""
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    """Learning rate."""
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of the gradient; null: no clipping."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast of the forward pass; weights stay fp32."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Evaluate on dev rows every so many steps; default: at the end of each epoch."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better `select`."""
    select: str = "average"
    """What chooses the best checkpoint: `average` of all tasks' metrics, or a task's name."""
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """Checkpoints."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; recorded, since results are bit-equal only for the same number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live."""


class Recipe(Strict):
    """A run: which modules there are, which tasks pass through them, how they are mixed and trained."""

    version: Literal[1] = 1
    """Version of this schema."""
    seed: int = Field(default=13, ge=0, lt=2**63)
    """Fixes every random choice of the run."""
    extends: str | None = None
    """One other recipe, relative to this file; this one's keys win."""
    output: str | None = None
    """Folder of the run; default: runs/<name of the recipe file>."""
    modules: dict[Name, ModuleSpec] = Field(default_factory=dict)
    """The pool."""
    data: dict[Name, DataSpec] = Field(default_factory=dict)
    """Data sets that several tasks learn from."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Keys that every task shares; a task's own keys win, `use_defaults: false` opts out."""
    tasks: dict[Name, TaskSpec] = Field(min_length=1)
    """The tasks."""
    mixture: MixtureSpec = Field(default_factory=MixtureSpec)
    """Order of the batches."""
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    """How long, in what batches and by which optimizer."""
