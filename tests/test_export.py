"""Tasks as plain transformers folders: equal logits in every family, and what has no plain form is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from manyheads.artefact import Artefact, load_artefact, save_artefact
from manyheads.blueprint import Blueprint, ModulePlan, TaskPlan
from manyheads.errors import ArtefactError, RecipeError, ResourceError
from manyheads.export import export
from manyheads.graph import Step
from manyheads.nn.trunk import Trunk, measure_encoder
from manyheads.predict import Predictor
from manyheads.types import Batch, Tokens

FUNCTIONS = {
    "albert": "tanh",
    "bert": "tanh",
    "camembert": "tanh",
    "deberta-v2": "gelu",
    "distilbert": "relu",
    "electra": "gelu",
    "mpnet": "tanh",
    "roberta": "tanh",
    "xlm-roberta": "tanh",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "classification": {"labels": ["bad", "fine", "good"]},
    "binary": {"labels": ["bad", "good"], "threshold": 0.25},
    "multilabel": {"labels": ["art", "law"], "threshold": 0.3},
    "regression": {"low": 0.0, "high": 5.0},
    "tagging": {"labels": ["O", "B-PER", "I-PER"]},
    "multiple_choice": {},
    "question_answering": {"no_answer": True, "threshold": 0.5, "longest": 6},
}
HEADS = {"tagging": "word_head", "question_answering": "span_head"}
INNER = {"crf_head": "words", "span_head": "words"}
CLS = ModulePlan("pool", {"how": "cls"})
Make = Callable[..., Artefact]


def dense(width: int, activation: str, kind: str = "vector", width_in: int = 0) -> ModulePlan:
    given = {"kind": kind, "width_in": width_in or width, "width": width, "activation": activation, "dropout": 0.2}
    return ModulePlan("feedforward", given)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An artefact of one untrained task of a type, its path the encoder and `middle`, then the head of its type."""

    def build(encoder: Path, kind: str, middle: Mapping[str, ModulePlan] | None = None, **changes: Any) -> Artefact:
        middle, width = dict(middle or {}), measure_encoder(encoder).width
        vector = [plan.options["width"] for plan in middle.values() if "width" in plan.options]
        head = changes.get("head", HEADS.get(kind, "row_head"))
        classes = {"question_answering": 2, "binary": 1}.get(kind, len(OPTIONS[kind].get("labels", "1")))
        options = {
            "source": str(encoder),
            "max_length": 16,
            "layers": changes.get("layers", False),
            "lora": changes.get("lora"),
        }
        modules = {
            "encoder": ModulePlan("pretrained", options),
            **middle,
            "head": ModulePlan(head, {"width": (vector or [width])[-1], "classes": classes}),
        }
        path = changes.get("path", tuple(Step(name) for name in modules))
        plan = TaskPlan(kind, path, OPTIONS[kind], changes.get("reads", "text"), stride=changes.get("stride"))
        blueprint = Blueprint(modules, {"mood": plan})
        model = blueprint.build(seed=3)
        with torch.no_grad():  # heads begin small: such logits would be equal whatever the rest is
            model.pool["head"].get_submodule(INNER.get(head, "")).get_submodule("linear").weight.mul_(40)
        return load_artefact(save_artefact(tmp_path / "artefact", model, blueprint, {}))

    return build


def ragged(*lengths: int) -> Tokens:
    at = torch.arange(max(lengths)).expand(len(lengths), -1)
    mask = at < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(5, 128, at.shape, generator=torch.Generator().manual_seed(1)) * mask
    return Tokens(ids, mask, (at > 2).long() * mask, at.masked_fill(~mask, -1))


@torch.inference_mode()
def ours(artefact: Artefact, tokens: Tokens) -> torch.Tensor:
    scores: torch.Tensor = artefact.model.answer(Batch("x", {"text": tokens}, {}, range(len(tokens))))["mood"].scores
    return scores


@torch.inference_mode()
def plain(folder: Path, tokens: Tokens, auto: Any) -> torch.Tensor:
    """The logits of the folder as transformers alone loads it."""
    model, report = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    takes = "token_type_ids" in AutoTokenizer.from_pretrained(folder).model_input_names
    types = {"token_type_ids": tokens.types} if takes else {}
    logits: torch.Tensor = model.eval()(input_ids=tokens.ids, attention_mask=tokens.mask.long(), **types).logits
    return logits


# equal logits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FUNCTIONS)
@pytest.mark.parametrize("kind", ["classification", "binary", "multilabel", "regression"])
def test_rows_have_equal_logits(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str, kind: str) -> None:
    artefact = make(families(family), kind, {"first": CLS, "dense": dense(16, FUNCTIONS[family])})
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4, 1, 16)
    theirs = plain(found.folder, given, AutoModelForSequenceClassification)
    assert_close(theirs, ours(artefact, given), atol=1e-6, rtol=1e-6)
    assert theirs.std() > 0.1
    config = json.loads((found.folder / "config.json").read_text())
    several = "multi_label_classification"
    problems = {"classification": "single_label_classification", "binary": several, "multilabel": several}
    assert config["problem_type"] == problems.get(kind, kind)
    labels = ["good"] if kind == "binary" else OPTIONS[kind].get("labels", ["LABEL_0"])
    model = AutoModelForSequenceClassification.from_pretrained(found.folder)
    assert model.config.id2label == dict(enumerate(labels))
    assert model.config.label2id == {label: i for i, label in enumerate(labels)}
    assert found.model == type(model).__name__ == config["architectures"][0]


@pytest.mark.parametrize("family", FUNCTIONS)
def test_words_have_equal_logits(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str) -> None:
    artefact = make(families(family), "tagging")
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4, 1, 16)
    theirs = plain(found.folder, given, AutoModelForTokenClassification)
    assert_close(theirs[given.mask], ours(artefact, given)[given.mask], atol=1e-6, rtol=1e-6)
    assert AutoModelForTokenClassification.from_pretrained(found.folder).config.id2label == {0: "O", 1: "B-PER", 2: "I-PER"}


def inputs(folder: Path, tokens: Tokens) -> dict[str, torch.Tensor]:
    takes = "token_type_ids" in AutoTokenizer.from_pretrained(folder).model_input_names
    return {"input_ids": tokens.ids, "attention_mask": tokens.mask.long()} | ({"token_type_ids": tokens.types} if takes else {})


@pytest.mark.parametrize("family", FUNCTIONS)
def test_choices_have_equal_logits(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str) -> None:
    artefact = make(families(family), "multiple_choice", {"first": CLS, "dense": dense(16, FUNCTIONS[family])})
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4, 2, 16)
    batch = Batch("x", {"text": given}, {}, range(2), parts=(2, 2))
    model, report = AutoModelForMultipleChoice.from_pretrained(found.folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.inference_mode():
        mine = artefact.model.answer(batch)["mood"].scores
        theirs = model.eval()(**{k: t.reshape(2, 2, -1) for k, t in inputs(found.folder, given).items()}).logits
    assert_close(theirs, mine.squeeze(-1), atol=1e-6, rtol=1e-6)
    assert theirs.std() > 0.05


@pytest.mark.parametrize("family", FUNCTIONS)
def test_ends_of_answers_have_equal_logits(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str) -> None:
    artefact = make(families(family), "question_answering")
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4, 2, 16)
    batch = Batch("x", {"text": given}, {}, range(2), parts=(1, 3))
    model, report = AutoModelForQuestionAnswering.from_pretrained(found.folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.inference_mode():
        mine = artefact.model.answer(batch)["mood"].scores
        said = model.eval()(**inputs(found.folder, given))
    theirs = torch.stack([said.start_logits, said.end_logits], -1)
    for scores, logits, mask in zip([mine[0, 0], *mine[1]], theirs, given.mask, strict=True):
        assert_close(logits[mask], scores[mask], atol=1e-6, rtol=1e-6)
    assert theirs.std() > 0.1
    assert found.notes == (
        "manyheads answers the best span of at most 6 pieces over all windows on a text, or none where its score is higher by "
        "more than 0.5; plain code has to do that with the logits",
    )


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_texts_with_choices_are_answered_alike(
    families: Callable[[str], Path], make: Make, tmp_path: Path, family: str
) -> None:
    middle = {"first": CLS, "dense": dense(16, FUNCTIONS[family])}
    artefact = make(families(family), "multiple_choice", middle, reads="choices")
    [found] = export(artefact, tmp_path / "out")
    text, choices = "the good film by anna", ["rome", "a bad song at oslo by omar, a fine dog and the poor cat", "x"]
    [answer] = Predictor(artefact)([(text, choices)])
    assert answer.cut
    given = AutoTokenizer.from_pretrained(found.folder)([text] * 3, choices, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        plain_model = AutoModelForMultipleChoice.from_pretrained(found.folder).eval()
        logits = plain_model(**{name: tensor[None] for name, tensor in given.items()}).logits
    assert logits[0].softmax(-1).tolist() == pytest.approx(list(answer.predictions["mood"].probabilities.values()), abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_long_text_is_answered_alike(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str) -> None:
    """From the text on, through windows: the best span by plain logits, looked for in the plainest way."""
    artefact = make(families(family), "question_answering", reads="windows", stride=4)
    [found] = export(artefact, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    model = AutoModelForQuestionAnswering.from_pretrained(found.folder).eval()
    answers = []
    for asked, text in (
        ("by anna ?", "a cat in rome by omar at the song , fine dog and poor film in oslo"),
        ("a dog", "the bad song in rome at oslo by anna , good cat , a fine film by the dog"),
        ("who", "omar"),
    ):
        given = tokenizer(
            asked, text, truncation="only_second", stride=4, return_overflowing_tokens=True, return_offsets_mapping=True,
            padding=True, return_tensors="pt",
        )  # fmt: skip
        sides = [given.sequence_ids(i) for i in range(len(given["input_ids"]))]
        offsets = given["offset_mapping"].tolist()
        fed = {name: given[name] for name in tokenizer.model_input_names}
        with torch.inference_mode():
            said = model(**fed)
        spans, none = [(-math.inf, 0, 0)], math.inf
        for side, place, first, last in zip(sides, offsets, said.start_logits.tolist(), said.end_logits.tolist(), strict=True):
            none = min(none, first[0] + last[0])
            second = [i for i, number in enumerate(side) if number == 1]
            spans += [(first[i] + last[j], place[i][0], place[j][1]) for i in second for j in second if i <= j < i + 6]
        best, start, stop = max(spans, key=lambda span: span[0])
        wanted = (0, 0) if none - best > 0.5 else (start, stop)
        answer = Predictor(artefact)([(asked, text)])[0].predictions["mood"].found
        assert answer is not None
        assert (answer.start, answer.stop) == wanted
        answers.append((len(sides), wanted != (0, 0)))
    assert max(windows for windows, _ in answers) > 2
    assert any(there for _, there in answers)


@pytest.mark.parametrize(
    "middle", [{}, *({"dense": dense(16, f)} for f in ("relu", "gelu", "tanh"))], ids=["none", "relu", "gelu", "tanh"]
)
def test_deberta_takes_any_function_and_none(
    families: Callable[[str], Path], make: Make, tmp_path: Path, middle: dict[str, ModulePlan]
) -> None:
    artefact = make(families("deberta-v2"), "classification", {"first": CLS, **middle})
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4)
    assert_close(plain(found.folder, given, AutoModelForSequenceClassification), ours(artefact, given), atol=1e-6, rtol=1e-6)


def test_a_feedforward_on_states_before_the_pool_is_the_same(
    families: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    artefact = make(families("bert"), "classification", {"dense": dense(16, "tanh", "states"), "first": CLS})
    [found] = export(artefact, tmp_path / "out")
    given = ragged(11, 4)
    assert_close(plain(found.folder, given, AutoModelForSequenceClassification), ours(artefact, given), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("reads", ["text", "pair"])
@pytest.mark.parametrize("family", FUNCTIONS)
def test_texts_are_answered_alike(families: Callable[[str], Path], make: Make, tmp_path: Path, family: str, reads: str) -> None:
    """From the text on: pieces, types of the second text, cutting, padding."""
    artefact = make(families(family), "classification", {"first": CLS, "dense": dense(16, FUNCTIONS[family])}, reads=reads)
    [found] = export(artefact, tmp_path / "out")
    one = ["the good film", "a cat in rome by omar at the song, fine dog, poor film in oslo", "x"]
    two = ["a dog", "anna by the cat", "the bad song in rome at oslo by anna, good cat, a fine film"]
    inputs: Sequence[Any] = list(zip(one, two, strict=True)) if reads == "pair" else one
    answers = Predictor(artefact)(inputs)
    assert any(answer.cut for answer in answers)
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    given = tokenizer(one, two if reads == "pair" else None, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForSequenceClassification.from_pretrained(found.folder).eval()(**given).logits
    for row, answer in zip(logits.softmax(-1).tolist(), answers, strict=True):
        assert row == pytest.approx(list(answer.predictions["mood"].probabilities.values()), abs=1e-6)


@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_real_weights(bert_tiny: Path, make: Make, tmp_path: Path, kind: str) -> None:
    middle = {} if kind == "tagging" else {"first": CLS, "dense": dense(128, "tanh")}
    artefact = make(bert_tiny, kind, middle)
    [found] = export(artefact, tmp_path / "out")
    given = ragged(16, 9, 3)
    auto = AutoModelForTokenClassification if kind == "tagging" else AutoModelForSequenceClassification
    theirs, mine = plain(found.folder, given, auto), ours(artefact, given)
    if kind == "tagging":
        theirs, mine = theirs[given.mask], mine[given.mask]
    assert_close(theirs, mine, atol=1e-6, rtol=1e-6)


# what is written --------------------------------------------------------------------------------------------------------


def test_the_files(families: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    [found] = export(make(families("bert"), "tagging"), tmp_path / "out")
    assert found.folder == tmp_path / "out" / "mood"
    assert {p.name for p in found.folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not any(str(tmp_path) in p.read_text() for p in found.folder.glob("*.json"))


def test_an_earlier_export_is_replaced_and_nothing_else(families: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    artefact = make(families("bert"), "tagging")
    export(artefact, tmp_path / "out")
    export(artefact, tmp_path / "out")
    assert (tmp_path / "out" / "mood").is_dir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in ("mine", "file"):
        with pytest.raises(ResourceError, match="in the way"):
            export(artefact, tmp_path / taken)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("target", ["artefact", "artefact/inside", "artefact/../artefact/inside"])
def test_an_artefact_stays_as_it_is(families: Callable[[str], Path], make: Make, tmp_path: Path, target: str) -> None:
    artefact = make(families("bert"), "tagging")
    with pytest.raises(RecipeError, match="cannot go into the artefact itself"):
        export(artefact, tmp_path / target)
    load_artefact(tmp_path / "artefact")


def test_what_a_plain_model_does_not_do_is_told(families: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    middle = {"first": CLS, "dense": dense(16, "tanh")}
    told = {
        kind: export(make(families("bert"), kind, middle), tmp_path / kind)[0].notes
        for kind in ("regression", "multilabel", "binary")
    }
    assert told["regression"] == ("numbers are not clipped; manyheads answers at least 0 and at most 5",)
    assert told["multilabel"] == ("labels are given from probability 0.3 on; plain pipelines have to be told",)
    assert told["binary"] == ("the one score is that of 'good'; manyheads answers 'bad' where its sigmoid is below 0.25",)
    assert export(make(families("bert"), "classification", middle), tmp_path / "plain")[0].notes == ()


def test_the_pipeline_of_transformers_says_how_likely_a_binary_tasks_label_is(
    families: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    artefact = make(families("bert"), "binary", {"first": CLS, "dense": dense(16, "tanh")})
    export(artefact, tmp_path / "out")
    texts = ["the film in rome", "anna", "a good song at oslo by omar"]
    plain = pipeline("text-classification", str(tmp_path / "out" / "mood"), device="cpu")(texts)
    ours = [answer.predictions["mood"].probabilities["good"] for answer in Predictor(artefact)(texts)]
    assert [found["label"] for found in plain] == ["good"] * 3
    assert [found["score"] for found in plain] == pytest.approx(ours, abs=1e-6)


# what has no plain form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "middle", "changes", "rule"),
    [
        (
            "classification",
            {"mean": ModulePlan("pool", {"how": "mean"})},
            {},
            r"'mean', a Pool \(mean\), has no place .*BertForSeq",
        ),
        ("classification", {"max": ModulePlan("pool", {"how": "max"})}, {}, r"'max', a Pool \(max\)"),
        ("classification", {"own": ModulePlan("attention_pool", {"width": 16})}, {}, "'own', a AttentionPool"),
        ("classification", {"first": CLS}, {}, "a linear map before the head, and this path none"),
        ("classification", {"first": CLS, "dense": dense(16, "relu")}, {}, "'dense', a FeedForward"),
        ("classification", {"first": CLS, "dense": dense(8, "tanh", width_in=16)}, {}, "'dense', a FeedForward"),
        ("classification", {"first": CLS, "a": dense(16, "tanh"), "b": dense(16, "tanh")}, {}, "'b', a FeedForward"),
        (
            "classification",
            {"mix": ModulePlan("scalar_mix", {"layers": [0, 1, 2]}), "first": CLS},
            {"layers": True},
            "'mix', a ScalarMix",
        ),
        (
            "tagging",
            {"layer": ModulePlan("layer", {"index": 1})},
            {"layers": True},
            "'layer', a Layer, has no place .*BertForTok",
        ),
        ("tagging", {"dense": dense(16, "tanh", "states")}, {}, "'dense', a FeedForward"),
        ("multiple_choice", {"first": CLS}, {}, "MultipleChoice has a linear map before the head, and this path none"),
        ("question_answering", {"dense": dense(16, "tanh", "states")}, {}, "'dense', a FeedForward"),
        ("tagging", {}, {"head": "crf_head"}, "'head' chooses whole paths of tags"),
    ],
)
def test_what_no_plain_model_computes_is_refused_by_name(
    families: Callable[[str], Path],
    make: Make,
    tmp_path: Path,
    kind: str,
    middle: dict[str, ModulePlan],
    changes: dict[str, Any],
    rule: str,
) -> None:
    artefact = make(families("bert"), kind, middle, **changes)
    with pytest.raises(RecipeError, match=rule) as caught:
        export(artefact, tmp_path / "out")
    [problem] = caught.value.problems
    assert problem.place == "tasks.mood.path"
    assert "fits" in problem.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["classification", "tagging", "multiple_choice", "question_answering"])
def test_modernbert_has_a_norm_that_we_have_not(families: Callable[[str], Path], make: Make, tmp_path: Path, kind: str) -> None:
    middle = {} if kind in HEADS else {"first": CLS, "dense": dense(16, "gelu")}
    with pytest.raises(RecipeError, match="none of our modules"):
        export(make(families("modernbert"), kind, middle), tmp_path / "out")


def test_a_step_that_reads_another_than_the_one_before(families: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    path = (Step("encoder"), Step("first"), Step("second", ("encoder",)), Step("dense", ("first",)), Step("head"))
    middle = {"first": CLS, "second": CLS, "dense": dense(16, "tanh")}
    with pytest.raises(RecipeError, match=r"a plain model is a chain.*'second'"):
        export(make(families("bert"), "classification", middle, path=path), tmp_path / "out")


def test_an_unknown_task_is_told_with_the_nearest(families: Callable[[str], Path], make: Make, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no such task \(there are: 'mood'\); found 'mod'; did you mean 'mood'"):
        export(make(families("bert"), "tagging"), tmp_path / "out", ["mod"])


def test_all_tasks_are_told_at_once_and_one_that_fits_can_go_alone(trained: Path, tmp_path: Path) -> None:
    artefact = load_artefact(trained / "run" / "artefact")
    with pytest.raises(RecipeError) as caught:
        export(artefact, tmp_path / "out")
    assert [p.place for p in caught.value.problems] == ["tasks.mood.path", "tasks.likeness.path"]
    assert [found.task for found in export(artefact, tmp_path / "out", ["names", "names"])] == ["names"]


def test_a_plain_model_that_answers_otherwise_is_not_written(
    families: Callable[[str], Path], make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.bert.modeling_bert import BertPooler

    monkeypatch.setattr(BertPooler, "forward", lambda self, states: self.dense(states[:, 0]))
    artefact = make(families("bert"), "classification", {"first": CLS, "dense": dense(16, "tanh")})
    with pytest.raises(ArtefactError, match="answers otherwise; nothing was written; found 'a difference of"):
        export(artefact, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_with_parts_of_its_own_is_not_half_written(
    families: Callable[[str], Path], make: Make, tmp_path: Path
) -> None:
    artefact = make(families("bert"), "tagging")
    trunk = artefact.model.pool["encoder"]
    assert isinstance(trunk, Trunk)
    trunk.encoder.register_module("adapter", torch.nn.Linear(2, 2))
    with pytest.raises(ArtefactError, match=r"unknown 'bert\.adapter\.weight', 'bert\.adapter\.bias'"):
        export(artefact, tmp_path / "out")
