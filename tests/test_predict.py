"""Answers of a trained model: all tasks from one pass, whatever the input and whatever else is asked beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from manyheads.errors import ArtefactError, ManyheadsError, RecipeError
from manyheads.inputs import Input
from manyheads.predict import Answer, Predictor
from manyheads.task.base import Prediction
from manyheads.text.tags import Span
from manyheads.types import Batch, Tokens

TEXT = "Anna saw the good film in Rome."


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return Predictor.load(trained / "run" / "artefact")


@pytest.fixture
def passes(predictor: Predictor) -> Iterator[list[int]]:
    """Rows of each pass through the encoder."""
    seen: list[int] = []
    encoder = predictor.model.pool["encoder"]
    hook = encoder.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    yield seen
    hook.remove()


def test_one_pass_answers_all_tasks_that_fit(predictor: Predictor, passes: list[int]) -> None:
    [answer] = predictor([TEXT])
    assert set(answer.predictions) == {"mood", "names"}
    assert passes == [1]


def test_texts_and_words_share_passes_and_pairs_have_their_own(predictor: Predictor, passes: list[int]) -> None:
    answers = predictor([TEXT, ("a cat", "the dog"), ["anna", "in", "rome"], "bad"])
    assert [set(a.predictions) for a in answers] == [{"mood", "names"}, {"likeness"}, {"mood", "names"}, {"mood", "names"}]
    assert sorted(passes) == [1, 3]


def test_what_tasks_read(predictor: Predictor) -> None:
    assert predictor.tasks == {"mood": "text", "likeness": "pair", "names": "words"}


def test_answers_do_not_depend_on_company(predictor: Predictor) -> None:
    texts: list[Input] = [TEXT, "bad", "the song at oslo was fine " * 4, ("a cat", "a cat"), ["omar"], "", "good good"]
    together = predictor(texts, tokens=40)
    for text, answer in zip(texts, together, strict=True):
        [alone] = predictor([text])
        assert alone.words == answer.words
        assert alone.cut == answer.cut
        for task, found in alone.predictions.items():
            other = answer.predictions[task]
            if isinstance(found.value, float):
                assert other.value == pytest.approx(found.value, abs=1e-5)
            else:
                assert other.value == found.value
                assert other.probabilities == pytest.approx(found.probabilities, abs=1e-5)


def test_batches_keep_to_the_budget(predictor: Predictor, passes: list[int]) -> None:
    predictor(["good"] * 10, tokens=12)  # three pieces each
    assert passes == [4, 4, 2]
    passes.clear()
    predictor(["the good song"] * 3, tokens=1)
    assert passes == [1, 1, 1]


def test_some_tasks_only(predictor: Predictor) -> None:
    [answer] = predictor([TEXT], tasks=["names"])
    assert list(answer.predictions) == ["names"]
    both = predictor([TEXT], tasks=["names", "mood"])[0]
    assert list(both.predictions) == ["names", "mood"]


def test_one_tag_for_every_word_also_beyond_the_limit(predictor: Predictor) -> None:
    words = ["rome", "in"] * 40  # the encoder reads 32 pieces
    [answer] = predictor([words])
    assert len(answer.predictions["names"].value) == 80  # type: ignore[arg-type]
    assert answer.cut == 50
    [text] = predictor([" ".join(words)])
    assert text.words[-1] == (len(" ".join(words)) - 2, len(" ".join(words)))
    assert text.predictions["names"].value == answer.predictions["names"].value


@pytest.mark.parametrize("sentence", [["wxyz", "in", "rome"], ["rome", "zz,zz", "ab", "in"]], ids=" ".join)
def test_a_word_of_several_pieces_is_read_and_learned_at_its_first(predictor: Predictor, sentence: list[str]) -> None:
    """Its tag, as an answer and as a target, is that of one state: the encoder's at the word's first piece."""
    model, tokenizer = predictor.model, predictor._artefact.tokenizers["encoder"]
    [pieces] = tokenizer.encode_words([sentence], 32)
    befores = [tokenizer.encode_words([sentence[:i]], 32)[0].ids for i in range(1, len(sentence))]
    firsts = [1, *(len(ids) - 1 for ids in befores)]  # after [CLS], and without the [SEP] of what stands before
    assert len(pieces.ids) - 2 > len(sentence)
    tokens = Tokens(torch.tensor([pieces.ids]), torch.ones(1, len(pieces.ids), dtype=torch.bool), torch.tensor([pieces.types]))
    with torch.inference_mode():
        states = model.pool["encoder"](tokens).states[0, firsts]
        scores = model.pool["names_head"].linear(states)
    [answer] = predictor([sentence], tasks=["names"])
    assert answer.predictions["names"].value == tuple(model.tasks["names"].type.labels[i] for i in scores.argmax(-1))

    tags = torch.arange(len(sentence)) % scores.shape[-1]
    words = replace(tokens, words=torch.tensor([firsts]))
    losses = model.losses([Batch("x", {"text": words}, {"names": tags[None]}, [0])])
    torch.testing.assert_close(losses["names"], F.cross_entropy(scores, tags, reduction="sum"))


def test_an_answer_as_json(predictor: Predictor) -> None:
    text, pair, words = (a.to_json() for a in predictor([TEXT, ("a cat", "a cat"), ["anna", "in", "rome"]]))
    assert text["input"] == TEXT
    assert text["tasks"]["mood"]["label"] in ("up", "down")
    assert sum(text["tasks"]["mood"]["probabilities"].values()) == pytest.approx(1)
    assert len(text["tasks"]["names"]["tags"]) == 8
    assert isinstance(pair["tasks"]["likeness"]["value"], float)
    assert len(words["tasks"]["names"]["tags"]) == 3
    assert "cut" not in text
    json.dumps([text, pair, words], allow_nan=False)


def test_spans_have_the_characters_of_a_text_or_the_numbers_of_words() -> None:
    found = Prediction("names", ("B-PER", "I-PER", "O"), spans=(Span("PER", 0, 2),))
    text = Answer("Anna Li ran", {"names": found}, ((0, 4), (5, 7), (8, 11))).to_json()
    assert text["tasks"]["names"]["spans"] == [{"label": "PER", "start": 0, "stop": 7, "text": "Anna Li"}]
    words = Answer(["Anna", "Li", "ran"], {"names": found}).to_json()
    assert words["tasks"]["names"]["spans"] == [{"label": "PER", "start": 0, "stop": 2, "text": "Anna Li"}]


def test_several_labels_and_cut_pieces_as_json() -> None:
    found = Prediction("topics", ("a",), {"a": 0.9, "b": 0.1})
    assert Answer("x", {"topics": found}, cut=3).to_json() == {
        "input": "x",
        "tasks": {"topics": {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.1}}},
        "cut": 3,
    }


def test_a_stream_answers_chunk_by_chunk(predictor: Predictor, passes: list[int]) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for i in range(10):
            taken += 1
            yield f"film {i}"

    answers = predictor.stream(texts(), chunk=4)
    assert taken == 0
    assert next(answers).input == "film 0"
    assert taken == 4
    assert [a.input for a in answers] == [f"film {i}" for i in range(1, 10)]
    assert sum(passes) == 10


@pytest.mark.parametrize("chunk", [1, 2, 3, 512])
def test_a_stream_answers_what_stands_before_an_error(predictor: Predictor, chunk: int) -> None:
    def broken() -> Iterator[Input]:
        yield from ("good", ("a cat", "a dog"), "bad")
        raise OSError("the file is gone")

    def wrong() -> Iterator[Input]:
        yield from ("good", ("a cat", "a dog"), "bad", 3, "fine")  # type: ignore[misc]

    for inputs, told in ((broken(), "the file is gone"), (wrong(), "input 3 must be a text")):
        answers = predictor.stream(inputs, chunk=chunk)
        assert [next(answers).input for _ in range(3)] == ["good", ("a cat", "a dog"), "bad"]
        with pytest.raises((OSError, RecipeError), match=told):
            next(answers)


def test_a_stream_stops_at_what_no_asked_task_reads(predictor: Predictor) -> None:
    answers = predictor.stream(["good", ("a", "b"), "bad"], tasks=["mood"])
    assert next(answers).input == "good"
    with pytest.raises(RecipeError, match="but the input is a pair"):
        next(answers)


def test_nothing_asked_is_nothing_answered(predictor: Predictor) -> None:
    assert predictor([]) == []
    assert list(predictor.stream([])) == []


def test_an_unknown_task_is_an_error_at_once(predictor: Predictor) -> None:
    with pytest.raises(RecipeError, match="did you mean 'mood'"):
        predictor([TEXT], tasks=["moods"])
    with pytest.raises(RecipeError, match="did you mean 'mood'"):
        predictor.stream([], tasks=["moods"])


@pytest.mark.parametrize("tasks", [[], (), "mood"], ids=repr)
def test_tasks_that_are_no_list_of_names(predictor: Predictor, tasks: Any) -> None:
    for ask in (predictor, predictor.stream):
        with pytest.raises(RecipeError, match=r"`tasks` is a list of names, or None for all of them \(there are: 'mood', "):
            ask([TEXT], tasks=tasks)


@pytest.mark.parametrize("value", ["abc", "", b"abc"], ids=repr)
def test_a_text_by_itself_is_not_taken_letter_by_letter(predictor: Predictor, value: Any) -> None:
    for ask in (predictor, predictor.stream):
        with pytest.raises(RecipeError, match=r"put a text by itself into a list: predictor\(\[text\]\)"):
            ask(value)


@pytest.mark.parametrize("value", [3, None, b"text", ("a",), ("a", "b", "c"), ("a", 3), ["a", 3], {"text": "a"}], ids=repr)
def test_what_is_no_input(predictor: Predictor, value: Any) -> None:
    with pytest.raises(RecipeError, match="input 1 must be a text, a pair"):
        predictor(["fine", value])


@pytest.mark.parametrize(
    ("value", "task", "rule"),
    [
        ("one", "likeness", "read pairs, but the input is one text"),
        (("a", "b"), "mood", "read single texts, but the input is a pair"),
    ],
)
def test_an_input_that_no_asked_task_reads(predictor: Predictor, value: Input, task: str, rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        predictor([value], tasks=[task])


@given(st.lists(st.text(max_size=40) | st.lists(st.text(max_size=8), max_size=5), max_size=4))
def test_any_text_has_an_answer_or_a_clear_error(predictor: Predictor, inputs: list[Any]) -> None:
    try:
        answers = predictor(inputs)
    except ManyheadsError:
        return
    for value, answer in zip(inputs, answers, strict=True):
        count = len(value) if isinstance(value, list) else len(answer.words)
        assert len(answer.predictions["names"].value) == count  # type: ignore[arg-type]
        json.dumps(answer.to_json(), allow_nan=False)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\x00", "a\u202eb", "👩‍👩‍👧", "Ａ", "e\u0301", "x" * 5000], ids=ascii)
def test_strange_texts(predictor: Predictor, text: str) -> None:
    [answer] = predictor([text])
    assert set(answer.predictions) == {"mood", "names"}
    for start, stop in answer.words:
        assert text[start:stop].strip()


def test_a_lone_surrogate_is_refused_by_name(predictor: Predictor) -> None:
    with pytest.raises(ManyheadsError, match="d800"):
        predictor(["a \ud800 b"])
    with pytest.raises(ManyheadsError, match="d800"):
        predictor([["a", "\ud800"]])


def test_a_model_that_does_not_begin_with_an_encoder(trained: Path) -> None:
    from manyheads.artefact import load_artefact

    found = load_artefact(trained / "run" / "artefact")
    with pytest.raises(RecipeError, match="whose paths begin with an encoder, or with a module that reads words"):
        Predictor(replace(found, tokenizers={}))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such folder"):
        Predictor.load(tmp_path / "nowhere")
