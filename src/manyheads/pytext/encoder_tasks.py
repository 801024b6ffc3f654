"""Tasks over a pretrained encoder."""

from __future__ import annotations

from typing import Any

from manyheads.pytext import layers
from manyheads.pytext.layers import Path
from manyheads.pytext.pool import Draft
from manyheads.pytext.reader import Outcome, Reader
from manyheads.pytext.section import Section

_WEIGHTS = {  # the key that names them, and what PyText has at its makers' where it is not said
    "roberta": ("model_path", "FacebookAI/roberta-base"),
    "electra": ("electra_cpt_dir", "google/electra-base-discriminator"),
    "bert": ("bert_cpt_dir", "google-bert/bert-base-uncased"),
}
_INNER = ("manifold:", "/mnt/vol/")  # places that only its makers have


def encoder(path: Path, kind: str, section: Section, tokens: Section, pooled: bool = True) -> float:
    """A pretrained encoder and, `pooled`, the first piece's vector, as BERT models have it; the dropout of the head."""
    draft = Draft("pretrained")
    draft.put("name", *_known(kind, section))
    path.longest = tokens.whole("max_seq_len", 128)
    draft.put("max_length", path.longest, tokens.place_of("max_seq_len"))
    tokens.list_of("columns", str, [])
    path.add(section, "encoder", draft, kind)
    pooling = section.text("pooling", "cls_token")
    how = {"cls_token": "cls", "avg_concat_last_4_layers": "mean", "avg_last_layer": "mean", "avg_second_to_last_layer": "mean"}
    if pooling not in ("cls_token", "avg_last_layer"):
        section.give_up("vectors are of the last layer; a `layer` or `scalar_mix` step takes others", "pooling")
    if pooled:
        layers.pool_by(path, how.get(pooling, "cls"))
    if section.has("embedding_dim"):
        section.whole("embedding_dim", 768)
    return section.number("output_dropout", 0.4)


def _known(kind: str, section: Section) -> tuple[str, str]:
    """The hub's name of the weights, or the folder that is named; and the place of the key."""
    key, usual = next((v for name, v in _WEIGHTS.items() if name in kind.lower()), _WEIGHTS["bert"])
    given = section.text(key)
    if not given or given.startswith(_INNER):
        last = given.rstrip("/").rsplit("/", 1)[-1]
        return (f"google-bert/{last}" if last.startswith("bert-") else usual), section.place_of(key)
    return given, section.place_of(key)


def encoded(reader: Reader, model: Section, columns: list[str]) -> Outcome:
    """A label for a text or a pair, whose columns are these unless the configuration names others."""
    data = reader.data(columns)
    tokens = model.section("inputs").section("tokens").named("BERTTensorizer")[1]
    given = tokens.list_of("columns", str, columns)
    dropout = _through(reader, model, tokens)
    columns_read = {**_texts(tokens, given), "label": reader.label(model)}
    return reader.finish(reader.label_settings(model), data, columns_read, dropout)


def _texts(tokens: Section, given: list[str]) -> dict[str, str]:
    if len(given) > 2:
        tokens.give_up("an input is a text, or a text and its pair", "columns")
    return dict(zip(("text", "pair"), given, strict=False))


def _through(reader: Reader, model: Section, tokens: Section) -> float:
    kind, inner = model.variant("encoder", "HuggingFaceBertSentenceEncoder")
    dropout = encoder(reader.path, kind, inner, tokens)
    layers.decode(reader.path, model.section("decoder"))
    return dropout


def bert(reader: Reader) -> Outcome:
    """`NewBertClassificationTask`."""
    return encoded(reader, reader.model("NewBertModel")[1], ["text"])


def bert_pair(reader: Reader) -> Outcome:
    """`NewBertPairClassificationTask`."""
    return encoded(reader, reader.model("NewBertModel")[1], ["text1", "text2"])


def bert_regression(reader: Reader) -> Outcome:
    """`BertPairRegressionTask`."""
    _, model = reader.model("NewBertRegressionModel")
    data = reader.data(["text1", "text2", "label"])
    tokens = model.section("inputs").section("tokens").named("BERTTensorizer")[1]
    given = tokens.list_of("columns", str, ["text1", "text2"])
    dropout = _through(reader, model, tokens)
    columns = {**_texts(tokens, given), "label": reader.number(model)}
    return reader.finish({"type": "regression"}, data, columns, dropout)


def squad(reader: Reader) -> Outcome:
    """`SquadQATask`: the BERT model; DrQA's words and attention have no equal."""
    kind, model = reader.model("DrQAModel")
    data = reader.data([])
    inputs = model.section("inputs")
    inside = inputs.section("squad_input").named("SquadForBERTTensorizer")[1]
    dropout = 0.0
    if kind == "DrQAModel":
        _no_drqa(reader, model)
    else:
        dropout = encoder(reader.path, *model.variant("encoder", "HuggingFaceBertSentenceEncoder"), inside, pooled=False)
    settings: dict[str, Any] = {"type": "question_answering"}
    output = model.section("output_layer")
    if output.has("max_answer_len"):
        settings["longest"] = output.whole("max_answer_len", 30)
    if not output.flag("ignore_impossible", True):
        settings["no_answer"] = True
    reader.section.section("metric_reporter")
    return reader.finish(settings, data, {}, dropout)


def _no_drqa(reader: Reader, model: Section) -> None:
    why = "DrQA's layers have no equal; the recipe reads with the encoder minilm in their place"
    model.give_up(why)
    model.remark("", "DrQAModel", why)
    name = reader.pool.free(f"{reader.prefix}encoder")
    reader.pool.modules[name] = Draft("pretrained", {"name": "minilm", "max_length": 384})
    reader.path.steps.append(name)
