"""What every test shares: no hub, one thread, and the real weights and data where they are installed."""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: sums in one order, here and in the processes that tests start
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import Phase, settings

from manyheads import failpoints
from manyheads.errors import MissingExtraError
from manyheads.packages import package_path
from manyheads.registry import Registry

ROOT = Path(__file__).resolve().parent.parent

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would begin with it ignored
QUICK = [Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink]  # to explain, every line is traced
settings.register_profile("quick", deadline=None, max_examples=12, derandomize=True, phases=QUICK)
settings.register_profile("thorough", deadline=None, max_examples=200, print_blob=True)
settings.load_profile("quick")  # `make test-slow` says --hypothesis-profile=thorough


def _load_untraced(*modules: str) -> None:
    """Import what is not ours, without the tracing by coverage that takes a third longer."""
    tracing = sys.gettrace()
    sys.settrace(None)
    for module in modules:
        importlib.import_module(module)
    sys.settrace(tracing)


if "PYTEST_XDIST_WORKER" in os.environ:  # it will need all of them
    _load_untraced("transformers.models.bert.modeling_bert", "sklearn.metrics", "scipy.stats", "accelerate", "datasets")


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: the garbage collector need not look at it again."""
    gc.freeze()


@pytest.hookimpl(trylast=True)  # after Hypothesis has marked what is its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `data` what asks for `shared_data`. Coverage counts what plain tests reach: properties take half the time so."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        if item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Only a power cut could tell: what a killed process has written stays written. Tests of the order of calls trace them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Forgets what files of own code registered, as a new process would; asked for by all tests that run some."""
    from manyheads import plugins
    from manyheads.config.criterion import SELECTIONS
    from manyheads.data.read import READERS
    from manyheads.metrics import METRICS
    from manyheads.nn.build import MODULES
    from manyheads.task.base import TASKS

    before: dict[Registry[Any], dict[str, Any]] = {r: dict(r._known) for r in (METRICS, SELECTIONS, READERS, MODULES, TASKS)}

    def forgotten() -> None:
        for registry, known in before.items():
            monkeypatch.setattr(registry, "_known", dict(known))
        monkeypatch.setattr(plugins, "_loaded", {})
        for name in [name for name in sys.modules if name.startswith("manyheads_plugin_")]:
            del sys.modules[name]

    forgotten()
    yield forgotten
    forgotten()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data sets: MANYHEADS_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("MANYHEADS_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets: no folder {folder}; MANYHEADS_DATA names another place")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2: 6 layers, 384 wide."""
    return _installed("minilm")


@pytest.fixture(scope="session")
def bert_tiny() -> Path:
    """Folder of BERT-tiny: 2 layers, 128 wide."""
    return _installed("bert-tiny")


def _installed(name: str) -> Path:
    try:
        return package_path(name)
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT of one layer, 16 wide, with a tokenizer that knows letters and a few words."""
    import tokenizers  # late, since most tests need none of these nor the wait for them
    import torch
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    words = [
        "good",
        "bad",
        "fine",
        "poor",
        "film",
        "song",
        "in",
        "by",
        "at",
        "the",
        "a",
        "cat",
        "dog",
        "rome",
        "oslo",
        "anna",
        "omar",
    ]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?'@#-")
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), *words]
    vocab = list(dict.fromkeys(vocab))
    backend = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def masked_tiny(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Folder of a BERT of two layers with its head for hidden words; pieces as `tiny`, a mask piece, special ones marked."""
    import tokenizers
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("masked") / "tiny"
    backend = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    backend.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=backend.get_vocab_size(), max_position_embeddings=64, **sizes)
    config.initializer_range = 0.3
    with torch.random.fork_rng():
        torch.manual_seed(9)
        plain = transformers.BertForMaskedLM(config)
        for parameter in plain.cls.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        plain.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Callable[[str], Path]:
    """The folder of a tiny random encoder of the family that is named, with the tokenizer of `tiny`; made when first asked."""
    import torch
    import transformers as hf

    folder = tmp_path_factory.mktemp("families")
    small = {
        "vocab_size": 128,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 20,
        "initializer_range": 0.3,
    }
    distilled = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}
    relative = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
    disentangled = {**relative, "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    local = {"global_attn_every_n_layers": 2, "local_attention": 8}
    made: dict[str, Callable[[], hf.PreTrainedConfig]] = {
        "albert": lambda: hf.AlbertConfig(**small, embedding_size=8),
        "bert": lambda: hf.BertConfig(**small),
        "camembert": lambda: hf.CamembertConfig(**small, type_vocab_size=1),
        "deberta-v2": lambda: hf.DebertaV2Config(**small, **disentangled),
        "distilbert": lambda: hf.DistilBertConfig(
            vocab_size=128, max_position_embeddings=20, initializer_range=0.3, **distilled
        ),
        "electra": lambda: hf.ElectraConfig(**small, embedding_size=8),
        "modernbert": lambda: hf.ModernBertConfig(**small, **ends, **local),
        "mpnet": lambda: hf.MPNetConfig(**small),
        "roberta": lambda: hf.RobertaConfig(**small, type_vocab_size=1),
        "xlm-roberta": lambda: hf.XLMRobertaConfig(**small, type_vocab_size=1),
    }

    def make(name: str) -> Path:
        if not (folder / name).exists():
            with torch.random.fork_rng():
                torch.manual_seed(7)
                hf.AutoModel.from_config(made[name]()).save_pretrained(folder / name)
            shutil.copyfile(tiny / "tokenizer.json", folder / name / "tokenizer.json")
        return folder / name

    return make


@pytest.fixture
def arm() -> Iterator[Callable[[str], None]]:
    """Sets the points at which a run fails, such as `train.step:7=term`; gone after the test."""
    with pytest.MonkeyPatch.context() as patch:

        def points(text: str) -> None:
            patch.setenv(failpoints.VARIABLE, text)
            failpoints.forget()

        yield points
    failpoints.forget()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the test runs, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANYHEADS_CACHE", str(tmp_path / "cache"))
    return tmp_path


RECIPE = """\
version: 1
seed: 5
output: run
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 32}}
tasks:
  mood: {{type: classification, path: [encoder], data: {{train: mood.csv, split: {{dev: 0.2, test: 0.2}}}}}}
  likeness:
    type: regression
    path: [encoder]
    data: {{train: pairs.jsonl, text: one, pair: two, label: score, split: {{dev: 0.2, test: 0.2}}}}
    metrics: [mse]
  names: {{type: tagging, path: [encoder], data: {{train: names.conll, split: {{dev: 0.2, test: 0.2}}}}}}
training:
  epochs: 2
  batch: {{rows: 6}}
  optimizer: {{name: adamw, lr: 5.0e-3}}
  checkpoint: {{every_minutes: null}}
  device: cpu
"""


@pytest.fixture
def recipe(place: Path, tiny: Path) -> Path:
    """A recipe of three tasks whose data sets have no row in common: csv, pairs in jsonl, CoNLL."""
    return _write_recipe(place, tiny)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Folder in which that recipe was trained, into `run`. Not to be changed: copy what you want to break."""
    from manyheads.api import load_recipe
    from manyheads.run import run

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MANYHEADS_CACHE", str(folder / "cache"))
        list(run(load_recipe(_write_recipe(folder, tiny))))
    return folder


def _write_recipe(folder: Path, encoder: Path) -> Path:
    draw = random.Random(3)
    moods = [(draw.choice(["good", "fine"]), "up") if i % 2 else (draw.choice(["bad", "poor"]), "down") for i in range(40)]
    lines = [f"the {draw.choice(['film', 'song'])} at {draw.choice(['rome', 'oslo'])} {word},{mood}" for word, mood in moods]
    (folder / "mood.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    pairs = [(draw.choice(["a cat", "the dog", "a song"]), draw.choice(["a cat", "the dog", "a song"])) for _ in range(30)]
    rows = [{"one": a, "two": b, "score": round(2.0 * (a == b) + draw.random(), 3)} for a, b in pairs]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tags = {"anna": "B-PER", "omar": "B-PER", "rome": "B-LOC", "oslo": "B-LOC"}
    sentences = [[draw.choice([*tags, "good", "cat"]), "in", draw.choice(["rome", "oslo", "film"])] for _ in range(25)]
    text = "\n".join("".join(f"{w} {tags.get(w, 'O')}\n" for w in sentence) for sentence in sentences)
    (folder / "names.conll").write_text(text)
    (folder / "recipe.yaml").write_text(RECIPE.format(encoder=encoder))
    return folder / "recipe.yaml"
