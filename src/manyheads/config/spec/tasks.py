"""The tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from manyheads.config.spec.base import Strict, own_or
from manyheads.config.spec.data import TaskData

PER_LABEL = ("class_weights", "threshold")  # keys that may be a mapping from a label to its number
ClassWeights: TypeAlias = dict[str, Annotated[float, Field(gt=0)]] | Literal["balanced"] | None
Threshold: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class StepSpec(Strict):
    """A step of a path, written out: a module, where its inputs come from, a name for its result."""

    module: str
    """Name of a module in the pool."""
    inputs: list[str] = Field(default_factory=list)
    """Names of earlier steps, or `batch.<field>`; default: the step before, or the batch's input."""
    name: str | None = None
    """Name of the result; default: the module's name."""
    take: str | None = None
    """Of a module that gives several results the one that the path goes on with, where the next step names no inputs."""


class TeacherSpec(Strict):
    """A trained model, or several, whose answers to the training rows the task learns beside its labels."""

    from_: str | Annotated[list[str], Field(min_length=1)] = Field(alias="from")
    """Folder of an artefact, relative to the recipe; of several the mean answer (of probabilities, of numbers)."""
    task: str | None = None
    """Name that the task has there; default: the same."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the teacher in the loss; the labels have the rest. A row without a label has the teacher's part alone."""
    temperature: float | None = Field(default=None, gt=0, le=1000)
    """Both answers are softened by it before they are compared, and the loss is multiplied by its square; default: 2.

    Squared differences, those of numbers too, have none.
    """
    loss: Literal["kl", "symmetric_kl", "js", "hellinger", "mse"] | None = None
    """What is compared; default: `kl` (teacher to student), of numbers `mse`, their only one.

    `js`: Jensen-Shannon. `mse`: squared differences of scores, each less their mean.
    """

    @property
    def folders(self) -> list[str]:
        return [self.from_] if isinstance(self.from_, str) else self.from_


class PerturbationSpec(Strict):
    """Noise on the embeddings, which sets the second answer of a task with `consistency` apart from the first."""

    noise: float = Field(default=1e-5, gt=0, le=1)
    """Standard deviation of the normal noise that is added to each number of the vectors of pieces."""
    step: float = Field(default=1e-3, gt=0, le=1)
    """How far an ascent moves a sequence's noise at the number that counts most, at the others in proportion."""
    ascents: int = Field(default=1, ge=0, le=100)
    """Steps to where the two answers are further apart (SMART), each a pass forward and backward; 0: noise alone (R3F)."""


class TaskBase(Strict):
    """What all tasks have."""

    path: list[str | StepSpec] = Field(default_factory=list)
    """Modules from the input to the head, e.g. `[encoder]`. The task's head is added at its end."""
    data: TaskData = Field(default_factory=TaskData)
    """Rows and label column."""
    weight: float = Field(default=1.0, ge=0)
    """Static weight of the task's loss; reported losses stay unweighted."""
    lr: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate of what only this task trains and is not pretrained, such as its head; default: `head_lr`."""
    metric: str | None = None
    """Score that chooses checkpoints.

    Default: accuracy, f1_micro (multilabel), spearman, span_f1, answer_f1, mrr (ranking), perplexity (words told).
    """
    metrics: list[str] = Field(default_factory=list)
    """Further scores to report."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout before the head's linear map."""
    pool: Literal["mean", "cls", "max", "attention"] = "mean"
    """How states become one vector a row, when the path ends in states and the head reads vectors; as `how` of a `pool`."""
    patience: int | None = Field(default=None, ge=1)
    """Leave the mixture after this many evaluations without a better `metric`; a shared data set leaves with its last task."""
    teacher: TeacherSpec | None = None
    """A trained model whose answers it learns beside its labels (distillation)."""
    consistency: float = Field(default=0.0, ge=0)
    """Above 0 each row is answered twice in training, with two draws of dropout (R-Drop).

    The loss is the mean of both losses, and this times half the symmetric divergence of the two answers, of numbers and cosines
    their squared difference.
    """
    perturbation: PerturbationSpec | None = None
    """The second answer is to the row with noise on its embeddings, and the loss on labels that of the first alone."""
    use_defaults: bool = True
    """False: `defaults` does not apply to this task."""


class ClassificationTask(TaskBase):
    """One label a row; one text or a pair. Cross-entropy."""

    type: Literal["classification"]
    labels: list[str] | None = None
    """All labels; default: those of the training rows, sorted."""
    class_weights: ClassWeights = None
    """Weight of each label's rows in the loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all labels."""
    focal: float = Field(default=0.0, ge=0, le=100)
    """Gamma of the focal loss, which counts items less that are right already, such as 2; 0: plain cross-entropy."""
    soft_labels: bool = False
    """The label column may hold probabilities: `{label: probability}`, or a list in the order of `labels`."""


class BinaryTask(TaskBase):
    """One of two labels a row, told by one score; one text or a pair. Binary cross-entropy."""

    type: Literal["binary"]
    labels: list[str] | None = Field(default=None, min_length=2, max_length=2)
    """Both labels; default: those of the training rows."""
    positive: str | None = None
    """The label that the score is for, and precision, recall and f1; default: the second of the sorted labels."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """The positive label is predicted when its probability reaches this."""
    class_weights: ClassWeights = None
    """Weight of each label's rows in the loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over both labels."""
    focal: float = Field(default=0.0, ge=0, le=100)
    """Gamma of the focal loss, which counts items less that are right already, such as 2; 0: plain cross-entropy."""
    soft_labels: bool = False
    """The label column may hold probabilities: `{label: probability}`, or a list in the order of `labels`."""


class MultilabelTask(TaskBase):
    """Any number of labels a row. Binary cross-entropy a label."""

    type: Literal["multilabel"]
    labels: list[str] | None = None
    """All labels; default: those of the training rows, sorted."""
    separator: str = "|"
    """Splits the label column where it is text."""
    threshold: Threshold | dict[str, Threshold] = 0.5
    """A label is predicted when its probability reaches this; a mapping has one for each label it names, 0.5 for others."""
    top: int | None = Field(default=None, ge=1)
    """Predict this many labels, the most probable ones, whatever their probability; not beside `threshold`."""
    class_weights: ClassWeights = None
    """Weight of each label in the loss of rows that have it; `balanced`: how many rows lack it, over how many have it."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target of each label spread over its being there or not."""
    focal: float = Field(default=0.0, ge=0, le=100)
    """Gamma of the focal loss, which counts items less that are right already, such as 2; 0: plain cross-entropy."""


class RegressionTask(TaskBase):
    """A number a row. Squared error, or absolute."""

    type: Literal["regression"]
    low: float | None = None
    """Least allowed target; predictions are clipped to it."""
    high: float | None = None
    """Greatest allowed target; predictions are clipped to it."""
    loss: Literal["squared", "absolute"] = "squared"
    """What is learned: `squared` differences, or `absolute` ones, for which single numbers that are far off count less."""


class TaggingTask(TaskBase):
    """One tag a word, read at its first piece; every input word gets one. Cross-entropy, or the likelihood of a whole path."""

    type: Literal["tagging"]
    labels: list[str] | None = None
    """All tags; default: those of the training rows, sorted, O first."""
    scheme: Literal["BIO", "IOB1", "BIOUL", "IOBES", "none"] = "BIO"
    """How tags spell spans; `none`: tags are plain classes (parts of speech) and are scored by accuracy."""
    decoder: Literal["softmax", "crf"] = "softmax"
    """`softmax`: each tag by itself. `crf`: the best path, with scores learned for neighbours; it never breaks the scheme."""
    class_weights: ClassWeights = None
    """Weight of each tag's words in the loss. Not with `crf`, as neither of the next two."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all tags."""
    focal: float = Field(default=0.0, ge=0, le=100)
    """Gamma of the focal loss, which counts items less that are right already, such as 2; 0: plain cross-entropy."""


class MultipleChoiceTask(TaskBase):
    """The right one of each row's choices, of which rows may have different numbers. Cross-entropy over the row's choices.

    The label column has the number of the choice, from 0, or its text; the head gives each choice one score.
    """

    type: Literal["multiple_choice"]


class RankingTask(TaskBase):
    """The order of each row's candidates, of which rows may have different numbers; `text` is the query, `choices` are they.

    The label column has a list of relevances, numbers from 0 on, one a candidate; or the number, from 0, or the text of the
    one that is relevant. A row whose candidates are all alike has no order: it is not learned from, and not scored.
    """

    type: Literal["ranking"]
    loss: Literal["listwise", "pairwise"] = "listwise"
    """`listwise`: cross-entropy between the shares of relevance and the softmax of a row's scores (ListNet).

    `pairwise`: logistic loss, the mean over all pairs of a row of which one is more relevant (RankNet).
    """


class MatchingTask(TaskBase):
    """How alike `text` and `pair` are, each read by itself (two towers, which are one): the cosine of their vectors.

    The path ends in a vector, without a head; a `feedforward` at its end is a projection. The label is a number from `low` to
    `high`.
    """

    type: Literal["matching"]
    loss: Literal["cosine", "contrastive"] = "cosine"
    """`cosine`: squared error between the cosine and what the label stands for.

    `contrastive`: each row that belongs together is to find its `pair` among those of its batch, by a softmax over cosines
    (multiple negatives); the larger the batch, the harder. Where files have no column `label`, all their rows belong together.
    """
    low: float = 0.0
    """Least label."""
    high: float = 1.0
    """Greatest label, which stands for a cosine of 1."""
    bottom: float = Field(default=0.0, ge=-1, lt=1)
    """Cosine that the label `low` stands for, such as -1 where such texts are opposites."""
    scale: float = Field(default=20.0, gt=0, le=1000)
    """Of `contrastive`: what cosines are multiplied by before the softmax."""
    positive: float | None = None
    """Of `contrastive`: the label from which on a row belongs together; default: `high`.

    The `pair` of any other row with a label is one more wrong answer for the rows of its batch, and its own loss is 0.
    """


class QuestionAnsweringTask(TaskBase):
    """The answer to a question as it stands in a text, which may be long: it is read through windows.

    `text` is the question (default: `question`), `pair` what is read (`context`), `label` the answers (`answers`): a list of
    texts, which stand in `pair`. Cross-entropy of the first and of the last piece of the first answer in each window, the mean
    over both and over the windows; a window without the answer has to say so.
    """

    type: Literal["question_answering"]
    starts: str = "starts"
    """Column of the offsets of the answers, in characters; not needed where the answers come as `{text, answer_start}`."""
    no_answer: bool | None = None
    """Whether "there is none" is an answer; default: whether a training row has none."""
    threshold: float = 0.0
    """With `no_answer`: there is none when its score is higher than the best answer's by more than this."""
    longest: int = Field(default=30, ge=1)
    """Most pieces of an answer."""


class LanguageModellingTask(TaskBase):
    """The words of a text, each told from those before it; every text by itself, or all as one `stream`. Cross-entropy.

    It has no label column. The path must give states that have not seen the word to be told: `embedding`, `characters`,
    `feedforward` and `concat` see a word alone; `recurrent` with `bidirectional: false` and `transformer` with `causal: true`
    also those before it; one bidirectional layer right over modules that see a word alone keeps both directions apart.
    """

    type: Literal["language_modelling"]
    direction: Literal["forward", "backward", "both"] = "forward"
    """Tell the next word, the one before, or both: each half of a bidirectional layer's states the one that it has not seen."""
    tied: str | None = None
    """An `embedding` of the path whose table is also that of the output, behind a linear map where widths differ."""
    softmax: Literal["full", "adaptive"] = "full"
    """`adaptive`: words parted by frequency, rare ones with fewer weights; faster with large vocabularies."""
    cutoffs: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """Of the adaptive softmax: numbers of words, commonest first, after which a cluster of rarer ones begins."""


class MaskedLanguageModellingTask(TaskBase):
    """The hidden pieces of a text, told by a pretrained encoder from all that is left of it. Cross-entropy.

    It has no label column. The path begins with a `pretrained` module, an `adapter` or `ia3`, whose word embeddings are also
    the table of the output; where the encoder's files have a head for this, its weights are the first ones. Other tasks on the
    same rows read them unhidden.
    """

    type: Literal["masked_language_modelling"]
    share: float = Field(default=0.15, gt=0, le=1)
    """Part of each row's pieces that is chosen, at least one: of these 80 % are hidden, 10 % become any other, 10 % stay."""


_BUILT_IN = (
    "binary", "classification", "multilabel", "regression", "tagging", "multiple_choice", "ranking", "matching",
    "question_answering", "language_modelling", "masked_language_modelling",
)  # fmt: skip


class OwnTask(TaskBase):
    """A task type that a plug-in registered."""

    type: str = Field(json_schema_extra={"not": {"enum": [*_BUILT_IN]}})
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the registered class."""


TaskSpec: TypeAlias = Annotated[
    Annotated[ClassificationTask, Tag("classification")]
    | Annotated[BinaryTask, Tag("binary")]
    | Annotated[MultilabelTask, Tag("multilabel")]
    | Annotated[RegressionTask, Tag("regression")]
    | Annotated[TaggingTask, Tag("tagging")]
    | Annotated[MultipleChoiceTask, Tag("multiple_choice")]
    | Annotated[RankingTask, Tag("ranking")]
    | Annotated[MatchingTask, Tag("matching")]
    | Annotated[QuestionAnsweringTask, Tag("question_answering")]
    | Annotated[LanguageModellingTask, Tag("language_modelling")]
    | Annotated[MaskedLanguageModellingTask, Tag("masked_language_modelling")]
    | Annotated[OwnTask, Tag("own")],
    own_or(frozenset(_BUILT_IN)),
]
