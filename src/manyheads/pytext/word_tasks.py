"""Tasks over words, by vectors and layers that are trained from scratch."""

from __future__ import annotations

from typing import Any

from manyheads.pytext import layers, losses
from manyheads.pytext.encoder_tasks import bert_regression, encoded
from manyheads.pytext.layers import Path
from manyheads.pytext.reader import Outcome, Reader
from manyheads.pytext.section import Section
from manyheads.pytext.source import Data, with_slots

_APART = "both texts are read as one input; PyText encodes each by itself and joins the vectors"


def document(reader: Reader) -> Outcome:
    """`DocumentClassificationTask`, and its form before version 16."""
    kind, model = reader.model("DocModel")
    if kind in ("NewBertModel", "RoBERTa", "XLMModel"):
        return encoded(reader, model, ["text"])
    data = reader.data(["doc_label", "text"])
    tokens = reader.embed(model)
    if kind == "ByteTokensDocumentModel":
        layers.characters(reader.path, model.section("byte_embedding"))
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": tokens.text("column", "text"), "label": reader.label(model)}
    return reader.finish(reader.label_settings(model), data, columns)


def document_regression(reader: Reader) -> Outcome:
    """`DocumentRegressionTask`."""
    kind, model = reader.model("DocRegressionModel")
    if kind in ("NewBertRegressionModel", "RoBERTaRegression"):
        return bert_regression(reader)
    data = reader.data(["text", "label"])
    tokens = reader.embed(model)
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": tokens.text("column", "text"), "label": reader.number(model)}
    return reader.finish({"type": "regression"}, data, columns)


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
    label = data.column("doc_label" if reader.old else intents.named("LabelTensorizer")[1].text("column", "label"))
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
    return Outcome(tasks, data, reader.name).read_by(reader.path)


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
    return reader.finish(settings, data, {"text": tokens.text("column", "text")})


def pairwise(reader: Reader) -> Outcome:
    """`PairwiseClassificationTask`."""
    kind, model = reader.model("PairwiseModel")
    if "Bert" in kind or "RoBERTa" in kind:
        return encoded(reader, model, ["text1", "text2"])
    data = reader.data(["text1", "text2", "doc_label"])
    reader.section.remark("model", "two encodings", _APART)
    first, second = (model.section("inputs").section(f"tokens{i}") for i in (1, 2))
    reader.embed(model, "tokens1")
    model.flag("shared_representations", True)
    layers.represent(reader.path, *model.variant("representation", "BiLSTMDocAttention"))
    layers.decode(reader.path, model.section("decoder"))
    columns = {"text": first.text("column", "text1"), "pair": second.text("column", "text2"), "label": reader.label(model)}
    return reader.finish(reader.label_settings(model), data, columns)


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
    columns = {"text": tokens.text("column", "text_seq"), "label": reader.label(model)}
    return reader.finish(reader.label_settings(model), data, columns)


def _doc(representation: Section) -> tuple[str, Section]:
    return "DocNNRepresentation", representation.section("doc_representation").named("DocNNRepresentation")[1]
