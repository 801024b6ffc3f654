"""Embeddings, representations and decoders: modules, and the steps of a path through them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from manyheads.pytext.pool import Draft, Pool
from manyheads.pytext.section import Section
from manyheads.pytext.source import Files

_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "gelu": "gelu"}
_POOLINGS = {"SelfAttention": "attention", "MaxPool": "max", "MeanPool": "mean"}
_NO_POOL = "no module does this; the mean over words takes its place"
_NONE = "no module does this, and the path goes without it; put a module of yours in its place (docs/tutorial.md)"


@dataclass
class Path:
    """A path that is being laid: its steps, the modules that read words, whether it has come to one vector a row."""

    pool: Pool
    prefix: str
    steps: list[Any] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    vector: bool = False
    longest: int = 0  # most words or pieces of an input, where the task says it

    def add(self, section: Section, wanted: str, draft: Draft, kind: str) -> str:
        """One more step, through the module that the section describes."""
        name = self.pool.add(section, self.prefix + wanted, draft, kind)
        self.steps.append(name)
        return name

    def fork(self) -> Path:
        """Another path with the same beginning."""
        return Path(self.pool, self.prefix, [*self.steps], [*self.words], self.vector)


def embed(path: Path, embedding: Section, tokens: Section) -> None:
    """Words by vectors: `WordEmbedding` over what `TokenTensorizer` reads."""
    draft = Draft("embedding")
    draft.put("width", embedding.whole("embed_dim", 100), embedding.place_of("embed_dim"))
    _vectors(draft, embedding, path.pool.files)
    vocabulary = _vocabulary(tokens, path.pool.files)
    draft.put("vocabulary", vocabulary, (tokens.place_of("vocab") or tokens.place) if len(vocabulary) > 1 else "")
    if tokens.has("max_seq_len"):
        path.longest = tokens.whole("max_seq_len", 512)
        draft.put("max_length", path.longest, tokens.place_of("max_seq_len"))
    path.words.append(path.add(embedding, "embedding", draft, "WordEmbedding"))
    _after_embedding(path, embedding)


def _after_embedding(path: Path, embedding: Section) -> None:
    for width in embedding.list_of("mlp_layer_dims", int, []):
        _feedforward(path, embedding, "embedding_mlp", width, 0.0, "relu", "EmbeddingMLP")


def _vectors(draft: Draft, embedding: Section, files: Files) -> None:
    embedding.flag("lowercase_tokens", True)
    if file := embedding.text("pretrained_embeddings_path"):
        draft.put("vectors", files.name(file), embedding.place_of("pretrained_embeddings_path"))


def _vocabulary(tokens: Section, files: Files) -> dict[str, Any]:
    """Which words are known: those that spaces part in training rows, with capitals folded, unless it is said otherwise."""
    found: dict[str, Any] = {"split": "spaces"}
    name, tokenizer = tokens.variant("tokenizer", "Tokenizer")
    if name != "Tokenizer":
        tokenizer.give_up("words are what spaces part")
    if tokenizer.text("split_regex", r"\s+") not in (r"\s+", r"\s"):
        tokenizer.give_up("words are what spaces part", "split_regex")
    if not tokenizer.flag("lowercase", True):
        found["lower"] = False
    vocab = tokens.section("vocab")
    if size := vocab.whole("size_from_data", 0):
        found["size"] = size
    if (least := vocab.whole("min_counts", 0)) > 1:
        found["min_count"] = least
    _one_file(found, vocab, files)
    if not vocab.flag("build_from_data", True):
        vocab.give_up(
            "words of the training rows are always counted; what the file has beside them is known as well", "build_from_data"
        )
    return found


def _one_file(found: dict[str, Any], vocab: Section, files: Files) -> None:
    named = []
    for part in vocab.sections("vocab_files"):
        named.append(part.text("filepath"))
        part.flag("lowercase_tokens", False)
        if part.whole("size_limit", 0):
            part.give_up("all words of the file are known", "size_limit")
    if named and named[0]:
        found["file"] = files.name(named[0])
    if len(named) > 1:
        vocab.give_up("a vocabulary takes one file: join them, and name it under `vocabulary.file`", "vocab_files")


def old_embed(path: Path, features: Section) -> None:
    """Features of the form before version 16: `word_feat` and `char_feat`, whose key to share is that of all of them."""
    words = features.section("word_feat")
    draft = Draft("embedding")
    draft.put("width", words.whole("embed_dim", 100), words.place_of("embed_dim"))
    _vectors(draft, words, path.pool.files)
    vocabulary: dict[str, Any] = {"split": "spaces"}
    if size := words.whole("vocab_size", 0):
        vocabulary["size"] = size
    if (least := words.whole("min_freq", 1)) > 1:
        vocabulary["min_count"] = least
    if file := words.text("vocab_file"):
        vocabulary["file"] = path.pool.files.name(file)
    if not words.flag("vocab_from_train_data", True):
        words.give_up(
            "words of the training rows are counted as well, of all tasks that share the module", "vocab_from_train_data"
        )
    words.flag("vocab_from_pretrained_embeddings", False)
    draft.put("vocabulary", vocabulary, words.place if len(vocabulary) > 1 else "")
    holder = features if features.has("shared_module_key") else words
    path.words.append(path.add(holder, "embedding", draft, "WordEmbedding"))
    if features.has("char_feat"):
        characters(path, features.section("char_feat"))
    for other in ("dict_feat", "dense_feat", "contextual_token_embedding", "pretrained_model_embedding", "seq_word_feat"):
        features.section(other)
        features.give_up("no module reads this", other)


def characters(path: Path, section: Section) -> None:
    """Letters beside words: `characters`, and both side by side."""
    draft = Draft("characters")
    draft.put("width", section.whole("embed_dim", 100), section.place_of("embed_dim"))
    cnn = section.section("cnn")
    draft.put("filters", cnn.whole("kernel_num", 100), cnn.place_of("kernel_num"))
    draft.put("kernels", cnn.list_of("kernel_sizes", int, [3, 4]), cnn.place_of("kernel_sizes"))
    before = path.steps[-1]
    name = path.add(section, "characters", draft, "CharacterEmbedding")
    path.words.append(name)
    path.steps[-1] = {"module": name, "inputs": ["batch.text"]}
    both = path.pool.free(f"{path.prefix}words")
    path.pool.modules[both] = Draft("concat")
    path.steps.append({"module": both, "inputs": [before, name]})


def represent(path: Path, kind: str, section: Section) -> None:
    """A representation of one vector a row."""
    if kind == "BiLSTMDocAttention":
        rate = section.number("dropout", 0.4)
        recurrent(path, section.section("lstm"), rate)
        _pooling(path, section)
        _further(path, section)
    elif kind == "DocNNRepresentation":
        convolution(path, section)
    elif kind == "PureDocAttention":
        path.pool.damp(path.words, section.number("dropout", 0.4), section)
        _pooling(path, section)
        _further(path, section)
    else:
        section.give_up(f"{kind}: {_NONE}")
        pool_by(path, "max")
    _frozen(path, section)


def _frozen(path: Path, section: Section) -> None:
    """`freeze` of a whole representation: of each module in it that is this path's own."""
    if section.flag("freeze", False):
        for name in {step for step in path.steps if isinstance(step, str)} - {*path.words}:
            path.pool.modules[name].put("freeze", True, section.place_of("freeze"))


def recurrent(path: Path, section: Section, rate: float = 0.0, bidirectional: bool = True) -> None:
    """`BiLSTM`; its dropout comes before it, on top of that of the representation around it, and between its layers."""
    own = section.number("dropout", 0.4)
    if path.words:
        path.pool.damp(path.words, 1 - (1 - rate) * (1 - own), section)
    draft = Draft("recurrent")
    draft.put("width", section.whole("lstm_dim", 32), section.place_of("lstm_dim"))
    layers = section.whole("num_layers", 1)
    if layers != 1:
        draft.put("layers", layers, section.place_of("num_layers"))
        draft.put("dropout", own, section.place_of("dropout"))
    draft.put("bidirectional", section.flag("bidirectional", bidirectional), section.place_of("bidirectional"))
    path.add(section, "lstm", draft, "BiLSTM")


def convolution(path: Path, section: Section) -> None:
    """`DocNNRepresentation`."""
    cnn = section.section("cnn")
    draft = Draft("convolution")
    draft.put("filters", cnn.whole("kernel_num", 100), cnn.place_of("kernel_num"))
    draft.put("kernels", cnn.list_of("kernel_sizes", int, [3, 4]), cnn.place_of("kernel_sizes"))
    draft.put("dropout", section.number("dropout", 0.4), section.place_of("dropout"))
    if section.text("pooling", "max") != "max":
        section.give_up("a convolution keeps the strongest answer of each filter", "pooling")
    path.add(section, "cnn", draft, "DocNNRepresentation")
    path.vector = True


def pool_by(path: Path, how: str) -> None:
    """One vector a row from states."""
    name = path.pool.free(f"{path.prefix}pool")
    path.pool.modules[name] = Draft("pool", {"how": how})
    path.steps.append(name)
    path.vector = True


def _pooling(path: Path, section: Section) -> None:
    kind, inner = section.variant("pooling", "SelfAttention")
    if kind not in _POOLINGS:
        section.give_up(_NO_POOL, "pooling")
    if inner.has("dropout"):
        inner.give_up("attention has no dropout", "dropout")
    pool_by(path, _POOLINGS.get(kind, "mean"))


def _further(path: Path, section: Section) -> None:
    if section.has("mlp_decoder"):
        decode(path, section.section("mlp_decoder"), "projection")
    else:
        section.section("mlp_decoder")


def decode(path: Path, section: Section, wanted: str = "mlp") -> None:
    """Hidden layers of `MLPDecoder`; its last map is the task's head, or a layer more where `out_dim` asks for one."""
    activation = section.text("activation", "relu")
    if activation not in _ACTIVATIONS:
        section.give_up("a feedforward has relu, gelu or tanh; relu takes its place", "activation")
    rate = section.number("dropout", 0.0)
    for width in section.list_of("hidden_dims", int, []):
        _feedforward(path, section, wanted, width, rate, _ACTIVATIONS.get(activation, "relu"), f"MLPDecoder.{len(path.steps)}")
    if section.has("shared_module_key") and not section.list_of("hidden_dims", int, []):
        section.give_up("each task has a head of its own, and there are no hidden layers to share", "shared_module_key")
    if section.has("out_dim"):
        section.give_up("a head is as wide as its labels", "out_dim")


def _feedforward(path: Path, section: Section, wanted: str, width: int, rate: float, activation: str, kind: str) -> None:
    draft = Draft("feedforward")
    draft.put("width", width, section.place_of("hidden_dims") or section.place)
    draft.put("activation", activation, section.place_of("activation"))
    if rate:
        draft.put("dropout", rate, section.place_of("dropout"))
    path.add(section, wanted, draft, kind)


def tag(path: Path, kind: str, section: Section) -> None:
    """A representation of one vector a word."""
    if kind == "BiLSTMSlotAttention":
        recurrent(path, section.section("lstm"), section.number("dropout", 0.4))
        _slot_attention(section)
        _further(path, section)
    elif kind == "BiLSTM":
        recurrent(path, section)
    elif kind != "PassThroughRepresentation":
        section.give_up(f"{kind}: {_NONE}")
    _frozen(path, section)


def _slot_attention(section: Section) -> None:
    attention = section.section("slot_attention")
    if attention.text("attention_type", "no_attention") != "no_attention":
        section.give_up("words attend to no other words; a `transformer` in the path lets them", "slot_attention")


def joint(path: Path, kind: str, section: Section) -> tuple[Path, Path]:
    """A representation of rows and of words: the path of the intent, that of the slots."""
    if kind == "BiLSTMDocSlotAttention":
        name, lstm = section.variant("lstm", "BiLSTM")
        if name != "BiLSTM":
            lstm.give_up(f"{name}: a plain LSTM takes its place")
        rate = section.number("dropout", 0.4)
        recurrent(path, lstm, rate)
        _slot_attention(section)
        doc, word = path.fork(), path
        how = section.variant("pooling", "")[0] if section.has("pooling") else "MaxPool"
        pool_by(doc, _POOLINGS.get(how, "mean"))
        for key in ("doc_mlp_layers", "word_mlp_layers"):
            if section.whole(key, 0):
                section.give_up("write feedforwards into the path", key)
        return doc, word
    section.give_up(f"{kind}: {_NONE}")
    doc, word = path.fork(), path
    pool_by(doc, "max")
    return doc, word
