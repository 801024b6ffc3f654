"""One task of a configuration: one task of the recipe, or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from manyheads.pytext import layers, losses
from manyheads.pytext.layers import Path
from manyheads.pytext.pool import Draft, Pool
from manyheads.pytext.section import Section
from manyheads.pytext.source import Data, old_data, read_data, with_slots

_OTHER = {
    "QueryDocumentPairwiseRankingTask": "no task type learns from a better and a worse answer to a query",
    "SemanticParsingTask": "no task type writes trees",
    "MaskedLMTask": "no task type learns hidden words",
    "EnsembleTask": "a model has no copies of itself; train it with several seeds",
    "SequenceLabelingTask": "no task type writes texts",
    "PairwiseRegressionTask": "no task type compares two vectors",
}
_OLD_NAMES = {
    "DocClassificationTask": "DocumentClassificationTask",
    "DocClassificationTask_Deprecated": "DocumentClassificationTask",
    "NewDocumentClassification": "DocumentClassificationTask",
    "NewDocumentRegression": "DocumentRegressionTask",
    "NewWordTaggingTask": "WordTaggingTask",
    "JointTextTask": "IntentSlotTask",
    "PairwiseClassification": "PairwiseClassificationTask",
    "PairClassificationTask": "PairwiseClassificationTask",
    "QueryDocumentPairwiseRanking": "QueryDocumentPairwiseRankingTask",
    "LMTask_Deprecated": "LMTask",
    "SeqNNTask_Deprecated": "SeqNNTask",
    "BertPairClassificationTask": "NewBertPairClassificationTask",
}
_APART = "both texts are read as one input; PyText encodes each by itself and joins the vectors"


@dataclass
class Outcome:
    """What a task becomes: tasks by name, a data set that they share, the batches of its data."""

    tasks: dict[str, dict[str, Any]]
    data: Data
    shared: str = ""
    metric: str = ""


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
        return Outcome({self.name: task}, data)


def _labelled(reader: Reader, model: Section) -> dict[str, Any]:
    settings = losses.classified(model.section("output_layer"), reader.labels(model))
    return {**settings, **losses.metric(reader.section.section("metric_reporter"))}


def _column(section: Section, default: str, key: str = "column") -> str:
    return section.text(key, default)


def _label(reader: Reader, model: Section) -> str:
    return "doc_label" if reader.old else _column(reader.labels(model).named("LabelTensorizer")[1], "label")


def document(reader: Reader) -> Outcome:
    """`DocumentClassificationTask`, and its form before version 16."""
    kind, model = reader.model("DocModel")
    if kind in ("NewBertModel", "RoBERTa", "XLMModel"):
        return _bert(reader, model, ["text"])
    data = reader.data(["doc_label", "text"])
    tokens = reader.embed(model)
    if kind == "ByteTokensDocumentModel":
        layers.characters(reader.path, model.section("byte_embedding"))
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": _column(tokens, "text"), "label": _label(reader, model)}
    return reader.finish(_labelled(reader, model), data, columns)


def document_regression(reader: Reader) -> Outcome:
    """`DocumentRegressionTask`."""
    kind, model = reader.model("DocRegressionModel")
    if kind in ("NewBertRegressionModel", "RoBERTaRegression"):
        return bert_regression(reader)
    data = reader.data(["text", "label"])
    tokens = reader.embed(model)
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": _column(tokens, "text"), "label": _numbers(reader, model)}
    return reader.finish({"type": "regression"}, data, columns)


def _numbers(reader: Reader, model: Section) -> str:
    labels = reader.labels(model).named("NumericLabelTensorizer")[1]
    if labels.has("rescale_range"):
        labels.give_up("numbers are learned as they are; `low` and `high` say where they end", "rescale_range")
    losses.squared(model.section("output_layer"))
    reader.section.section("metric_reporter")
    return labels.text("column", "label")


def word_tagging(reader: Reader) -> Outcome:
    """`WordTaggingTask`."""
    _, model = reader.model("WordTaggingModel")
    data = reader.data(["doc_label", "word_label", "text"])
    reader.embed(model)
    layers.tag(reader.path, *model.variant("representation", "PassThroughRepresentation"))
    layers.decode(reader.path, model.section("decoder"))
    labels = reader.labels(model).named("SlotLabelTensorizer")[1]
    with_slots(labels, data, reader.old)
    reader.section.section("metric_reporter")
    settings = {"type": "tagging", **losses.tagged(model.section("output_layer"))}
    return reader.finish(settings, data, {"words": "words", "label": "tags"})


def intent_slot(reader: Reader) -> Outcome:
    """`IntentSlotTask`: an intent a row and a slot a word become two tasks over one data set."""
    _, model = reader.model("IntentSlotModel")
    data = reader.data(["doc_label", "word_label", "text"])
    reader.embed(model, embedding="word_embedding")
    doc, word = layers.joint(reader.path, *model.variant("representation", "BiLSTMDocSlotAttention"))
    decoder = model.section("decoder")
    layers.decode(doc, decoder.section("doc_decoder"), "intent_mlp")
    layers.decode(word, decoder.section("word_decoder"), "slots_mlp")
    inputs = model.section("inputs")
    with_slots(inputs.section("word_labels").named("SlotLabelTensorizer")[1], data, reader.old)
    intents = reader.labels(model, "doc_labels")
    output = model.section("output_layer")
    first = losses.classified(output.section("doc_output"), intents)
    label = data.column("doc_label" if reader.old else _column(intents.named("LabelTensorizer")[1], "label"))
    first |= {"weight": model.number("default_doc_loss_weight", 0.2), "dropout": 0.0}
    second = {
        "weight": model.number("default_word_loss_weight", 0.5),
        "dropout": 0.0,
        **losses.tagged(output.section("word_output")),
    }
    reader.section.section("metric_reporter")
    for task, key in ((first, "doc_weight"), (second, "word_weight")):
        weight = inputs.section(key)
        if weight.node is not None:
            task["weights"] = data.column(weight.text("column"))
    return _two(reader, data, (first, doc, label), (second, word, "tags"))


def _two(reader: Reader, data: Data, *parts: tuple[dict[str, Any], Path, str]) -> Outcome:
    tasks = {}
    data.settings["words"] = "words"
    for (settings, path, label), name in zip(parts, ("intent", "slots"), strict=True):
        said = {"from": reader.name, "label": label}
        if column := settings.pop("weights", None):
            said["weight"] = column
        kind = settings.pop("type", "tagging")
        tasks[f"{reader.prefix}{name}"] = {"type": kind, "path": path.steps, "data": said, **settings}
    return Outcome(tasks, data, reader.name)


def language(reader: Reader) -> Outcome:
    """`LMTask`."""
    _, model = reader.model("LMLSTM")
    data = reader.data(["text"])
    tokens = reader.embed(model)
    kind, rep = model.variant("representation", "BiLSTM")
    if kind != "BiLSTM":
        rep.give_up(f"{kind}: an LSTM takes its place")
        rep = rep.emptied()
    layers.recurrent(reader.path, rep, bidirectional=False)
    both = bool(reader.pool.modules[reader.path.steps[-1]].settings["bidirectional"])
    decoder = model.section("decoder")
    if both and decoder.has("hidden_dims"):
        decoder.give_up("a layer over both directions would see the word that it is to tell")
        decoder = decoder.emptied()
    layers.decode(reader.path, decoder)
    settings: dict[str, Any] = {"type": "language_modelling", "direction": "both" if both else "forward"}
    if model.flag("tied_weights", False):
        settings["tied"] = reader.path.words[0]
    reader.section.section("metric_reporter")
    model.section("output_layer").section("loss")
    return reader.finish(settings, data, {"text": _column(tokens, "text")})


def pairwise(reader: Reader) -> Outcome:
    """`PairwiseClassificationTask`."""
    kind, model = reader.model("PairwiseModel")
    if "Bert" in kind or "RoBERTa" in kind:
        return _bert(reader, model, ["text1", "text2"])
    data = reader.data(["text1", "text2", "doc_label"])
    reader.section.remark("model", "two encodings", _APART)
    first, second = (model.section("inputs").section(f"tokens{i}") for i in (1, 2))
    reader.embed(model, "tokens1")
    model.flag("shared_representations", True)
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": _column(first, "text1"), "pair": _column(second, "text2"), "label": _label(reader, model)}
    return reader.finish(_labelled(reader, model), data, columns)


def sequence(reader: Reader) -> Outcome:
    """`SeqNNTask`: a row of several texts is read as one text."""
    _, model = reader.model("SeqNNModel")
    data = reader.data(["doc_label", "text_seq"], rows=16)
    tokens = reader.embed(model)
    representation = model.section("representation")
    _, seq = representation.variant("seq_representation", "BiLSTMDocAttention")
    seq.give_up("the texts of a row are read as one; nothing reads their vectors in turn")
    representation.remark("seq_representation", "", "the texts of a row are read as one, with the marks of their list")
    layers.represent(reader.path, *_doc(representation))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": _column(tokens, "text_seq"), "label": _label(reader, model)}
    return reader.finish(_labelled(reader, model), data, columns)


def _doc(representation: Section) -> tuple[str, Section]:
    return "DocNNRepresentation", representation.section("doc_representation").named("DocNNRepresentation")[1]


def _bert(reader: Reader, model: Section, columns: list[str]) -> Outcome:
    data = reader.data(columns)
    tokens = model.section("inputs").section("tokens").named("BERTTensorizer")[1]
    given = tokens.list_of("columns", str, columns)
    dropout = _encoded(reader, model, tokens)
    label = _label(reader, model)
    return reader.finish(_labelled(reader, model), data, {**_texts(tokens, given), "label": label}, dropout)


def _texts(tokens: Section, given: list[str]) -> dict[str, str]:
    if len(given) > 2:
        tokens.give_up("an input is a text, or a text and its pair", "columns")
    return dict(zip(("text", "pair"), given, strict=False))


def _encoded(reader: Reader, model: Section, tokens: Section) -> float:
    kind, inner = model.variant("encoder", "HuggingFaceBertSentenceEncoder")
    dropout = layers.encoder(reader.path, kind, inner, tokens)
    layers.decode(reader.path, model.section("decoder"))
    return dropout


def bert(reader: Reader) -> Outcome:
    """`NewBertClassificationTask`."""
    return _bert(reader, reader.model("NewBertModel")[1], ["text"])


def bert_pair(reader: Reader) -> Outcome:
    """`NewBertPairClassificationTask`."""
    return _bert(reader, reader.model("NewBertModel")[1], ["text1", "text2"])


def bert_regression(reader: Reader) -> Outcome:
    """`BertPairRegressionTask`."""
    _, model = reader.model("NewBertRegressionModel")
    data = reader.data(["text1", "text2", "label"])
    tokens = model.section("inputs").section("tokens").named("BERTTensorizer")[1]
    given = tokens.list_of("columns", str, ["text1", "text2"])
    dropout = _encoded(reader, model, tokens)
    columns = {**_texts(tokens, given), "label": _numbers(reader, model)}
    return reader.finish({"type": "regression"}, data, columns, dropout)


def squad(reader: Reader) -> Outcome:
    """`SquadQATask`: the BERT model; DrQA's words and attention have no equal."""
    kind, model = reader.model("DrQAModel")
    data = reader.data([])
    inputs = model.section("inputs")
    inside = inputs.section("squad_input").named("SquadForBERTTensorizer")[1]
    if kind == "DrQAModel":
        _no_drqa(reader, model)
    else:
        layers.encoder(reader.path, *model.variant("encoder", "HuggingFaceBertSentenceEncoder"), inside, pooled=False)
    settings: dict[str, Any] = {"type": "question_answering"}
    output = model.section("output_layer")
    if output.has("max_answer_len"):
        settings["longest"] = output.whole("max_answer_len", 30)
    if not output.flag("ignore_impossible", True):
        settings["no_answer"] = True
    reader.section.section("metric_reporter")
    return reader.finish(settings, data, {})


def _no_drqa(reader: Reader, model: Section) -> None:
    why = "DrQA's layers have no equal; the recipe reads with the encoder minilm in their place"
    model.give_up(why)
    model.remark("", "DrQAModel", why)
    name = reader.pool.free(f"{reader.prefix}encoder")
    reader.pool.modules[name] = Draft("pretrained", {"name": "minilm", "max_length": 384})
    reader.path.steps.append(name)


READERS: dict[str, Callable[[Reader], Outcome]] = {
    "DocumentClassificationTask": document,
    "DocumentRegressionTask": document_regression,
    "WordTaggingTask": word_tagging,
    "IntentSlotTask": intent_slot,
    "LMTask": language,
    "PairwiseClassificationTask": pairwise,
    "SeqNNTask": sequence,
    "NewBertClassificationTask": bert,
    "NewBertPairClassificationTask": bert_pair,
    "BertPairRegressionTask": bert_regression,
    "SquadQATask": squad,
}
MULTITASK = ("NewDisjointMultitask", "DisjointMultitask")
KNOWN = (*MULTITASK, *READERS, *_OTHER, *_OLD_NAMES)


def read_task(name: str, kind: str, section: Section, pool: Pool, prefix: str) -> Outcome | None:
    """One task of the configuration, of class `kind`; None, with the reason noted, where no task type does what it does."""
    plain = _OLD_NAMES.get(kind, kind)
    if plain in _OTHER:
        section.give_up(f"{plain}: {_OTHER[plain]}")
        section.remark("", plain, _OTHER[plain])
        return None
    if plain not in READERS:
        section.problem("no task of PyText that is known here is called this", "", kind, KNOWN)
        return None
    old = section.has("data_handler") or section.has("features")
    return READERS[plain](Reader(name, section, pool, prefix, old))
