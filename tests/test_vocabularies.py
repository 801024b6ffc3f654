"""Recipes of words: who reads by one vocabulary, models from scratch from file to answer, what is said of mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.config.recipe import Recipe
from manyheads.errors import DataError, ManyheadsError, RecipeError, WiringError
from manyheads.nn.embedding import Embedding
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.train.events import Finished
from manyheads.vocabularies import find_vocabularies, readers

MOODS = [("a Good film", "up"), ("a bad film", "down"), ("good, good", "up"), ("so bad", "down")]
TAGGED = [(["Rome", "is", "good"], ["B-LOC", "O", "O"]), (["a", "film"], ["O", "O"])]
SCRATCH: dict[str, Any] = {
    "words": {"type": "embedding", "width": 6},
    "letters": {"type": "characters", "width": 3, "filters": 4},
    "both": {"type": "concat"},
    "lstm": {"type": "recurrent", "width": 5},
    "cnn": {"type": "convolution", "filters": 3, "kernels": [2]},
}
READ = [{"module": "words", "inputs": ["batch.text"]}, {"module": "letters", "inputs": ["batch.text"]},
        {"module": "both", "inputs": ["words", "letters"]}]  # fmt: skip


@pytest.fixture
def data(place: Path) -> Path:
    (place / "moods.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in MOODS))
    (place / "tags.jsonl").write_text("".join(json.dumps({"words": w, "tags": t}) + "\n" for w, t in TAGGED))
    (place / "more.jsonl").write_text(json.dumps({"text": "a song", "label": "x"}) + "\n" + '{"text": "ah", "label": "y"}\n')
    return place


def made(tasks: Mapping[str, Any], modules: Mapping[str, Any] = SCRATCH, **training: Any) -> dict[str, Any]:
    settings = {"epochs": 2, "batch": {"rows": 2}, "threads": 1, "device": "cpu", **training}
    return {"seed": 3, "output": "run", "modules": modules, "tasks": tasks, "training": settings}


def mood(*path: Any, **more: Any) -> dict[str, Any]:
    return {"type": "classification", "path": list(path), "data": {"train": "moods.jsonl", "dev": "moods.jsonl"}, **more}


def names(*path: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tagging", "path": list(path), "data": {"train": "tags.jsonl", "dev": "tags.jsonl"}, **more}


def assembled(recipe: Mapping[str, Any]) -> Assembly:
    return assemble(recipe_from(recipe))


# one vocabulary ---------------------------------------------------------------------------------------------------------


def test_listed_words_have_their_vectors_however_they_are_spelled(data: Path) -> None:
    (data / "v.txt").write_text("oslo 1 2 3\nfilm 4 5 6\n")
    (data / "listed.txt").write_text("Oslo\n")
    words = {"type": "embedding", "vectors": "v.txt", "vocabulary": {"file": "listed.txt"}}
    found = assembled(made({"mood": mood("words", "lstm")}, {**SCRATCH, "words": words}))
    number = found.vocabularies["words"].tokenizer.number("Oslo")
    assert number is not None
    assert found.build().pool["words"].table.weight[number].tolist() == [1, 2, 3]


def test_data_sets_that_share_a_module_share_the_words(data: Path) -> None:
    other = {"type": "classification", "path": ["others", "cnn"], "data": {"train": "more.jsonl"}}
    found = assembled(made({"mood": mood("words", "lstm"), "names": names("words"), "other": other},
                           {**SCRATCH, "others": {"type": "embedding", "width": 6}})).vocabularies  # fmt: skip
    assert set(found) == {"words", "others"}
    facts = found["words"].facts
    assert (facts.modules, tuple(facts.unknown)) == (("words",), ("mood", "names"))
    assert tuple(found["others"].facts.unknown) == ("other",)
    tokenizer = found["words"].tokenizer
    assert [tokenizer.piece(i) for i in range(5, len(tokenizer))] == ["good", "a", "film", "bad", ",", "is", "rome", "so"]
    assert (facts.words, facts.known) == (8, 8)
    assert facts.unknown == {"mood": {"train": 0.0, "dev": 0.0}, "names": {"train": 0.0, "dev": 0.0}}
    assert found["others"].tokenizer.number("film") is None


def test_modules_that_read_one_data_set_read_by_one_vocabulary(data: Path) -> None:
    found = assembled(made({"mood": mood(*READ, "lstm")})).vocabularies
    assert found["words"] is found["letters"]
    assert found["words"].tokenizer.spells


def test_unknown_words_are_counted(data: Path) -> None:
    modules = {**SCRATCH, "words": {"type": "embedding", "width": 6, "vocabulary": {"min_count": 2, "size": 2}}}
    found = assembled(made({"mood": mood("words", "lstm")}, modules)).vocabularies["words"]
    assert [found.tokenizer.piece(i) for i in range(5, len(found.tokenizer))] == ["good", "a"]
    assert found.facts.unknown["mood"]["train"] == pytest.approx(1 - 5 / 11)


def test_one_description_of_a_vocabulary(data: Path) -> None:
    modules = {"one": {"type": "embedding", "width": 2, "vocabulary": {"lower": False}},
               "two": {"type": "embedding", "width": 2, "vocabulary": {"lower": True}}, "both": {"type": "concat"}}  # fmt: skip
    path = [{"module": n, "inputs": ["batch.text"]} for n in ("one", "two")] + [{"module": "both", "inputs": ["one", "two"]}]
    with pytest.raises(WiringError, match=r"modules\.two\.vocabulary.*'one' describes another"):
        assembled(made({"mood": mood(*path)}, modules))


# vectors ----------------------------------------------------------------------------------------------------------------


def test_vectors_of_a_file_are_the_first_weights(data: Path) -> None:
    (data / "v.txt").write_text("good 1 2\nBAD 3 4\nsong 5 6\nqueen 7 8\n")
    modules = {**SCRATCH, "words": {"type": "embedding", "vectors": "v.txt", "freeze": True, "vocabulary": {"vectors": 3}}}
    found = assembled(made({"mood": mood("words", "lstm")}, modules))
    table = found.build().pool["words"]
    assert isinstance(table, Embedding)
    number = found.vocabularies["words"].tokenizer.number
    for word, vector in {"good": [1, 2], "bad": [3, 4], "song": [5, 6]}.items():
        assert table.table.weight[number(word)].tolist() == vector
    assert number("queen") is None
    assert not table.table.weight.requires_grad


def test_each_embedding_that_asks_for_words_of_its_file_gets_them(data: Path) -> None:
    (data / "v.txt").write_text("song 5 6\nqueen 7 8\n")
    (data / "w.txt").write_text("king 1 2\nsong 3 4\n")
    described = {"type": "embedding", "vocabulary": {"vectors": 1}}
    modules = {"one": {**described, "vectors": "v.txt"}, "two": {**described, "vectors": "w.txt"}, "both": {"type": "concat"},
               "lstm": SCRATCH["lstm"]}  # fmt: skip
    path = [{"module": n, "inputs": ["batch.text"]} for n in ("one", "two")] + [{"module": "both", "inputs": ["one", "two"]}]
    number = assembled(made({"mood": mood(*path, "lstm")}, modules)).vocabularies["one"].tokenizer.number
    assert [number(word) is not None for word in ("song", "king", "queen")] == [True, True, False]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("good,up\nbad,down\n", r"override 'modules\.words\.vocabulary\.min_count=9': no word is left .* none comes 9 times"),
        (" ,up\n ,down\n", r"r\.yaml:2:10: no word is left in the vocabulary: the training rows hold none"),
    ],
)
def test_an_empty_vocabulary_is_told_where_its_cause_is(data: Path, rows: str, told: str) -> None:
    (data / "few.csv").write_text("text,label\n" + rows)
    (data / "r.yaml").write_text("""modules:
  words: {type: embedding, width: 2}
  pool: {type: pool}
tasks:
  mood: {type: classification, path: [words, pool], data: {train: few.csv}}
""")
    loaded = load_recipe("r.yaml", ["modules.words.vocabulary.min_count=9"])
    with pytest.raises(RecipeError, match=told):
        assemble(loaded)


def test_files_of_modules_are_among_those_of_a_run(data: Path) -> None:
    (data / "v.txt").write_text("good 1 2\n")
    (data / "w.txt").write_text("rome\n")
    words = {"type": "embedding", "vectors": "v.txt", "vocabulary": {"file": "w.txt"}}
    recipe = made({"mood": mood("words", "lstm")}, {**SCRATCH, "words": words})
    found = assembled(recipe).files
    assert {"v.txt of modules.words", "w.txt of modules.words"} < set(found)
    list(run(recipe_from(recipe)))
    (data / "v.txt").write_text("good 1 3\n")
    assert assembled(recipe).files["v.txt of modules.words"] != found["v.txt of modules.words"]
    with pytest.raises(DataError, match=r"v\.txt of modules\.words: the file has changed since the run began"):
        list(run(recipe_from(recipe)))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"type": "embedding"}, r"modules\.words\.width: an embedding has a `width`, or `vectors`"),
        ({"type": "embedding", "vectors": "v.txt", "width": 3}, r"modules\.words\.width: the vectors of 'v\.txt' have another"),
        ({"type": "embedding", "vectors": "w.txt"}, r"modules\.words\.vectors: no vectors are found"),
        ({"type": "embedding", "width": 2, "vocabulary": {"file": "w.txt"}}, r"modules\.words\.vocabulary\.file"),
        ({"type": "embedding", "width": 2, "vocabulary": {"min_count": 9}}, "no word is left in the vocabulary"),
    ],
)
def test_embeddings_that_cannot_be(data: Path, words: dict[str, Any], told: str) -> None:
    (data / "v.txt").write_text("good 1 2\n")
    with pytest.raises(ManyheadsError, match=told):
        assembled(made({"mood": mood("words", "lstm")}, {**SCRATCH, "words": words}))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (["lstm"], "must begin with one pretrained module, or all with modules of words|reads states of a known width"),
        (["words", "cnn", "lstm"], "reads states of a known width, but its input gives vector of width 3"),
        (["cnn"], "reads states of a known width, but its input gives tokens"),
    ],
)
def test_paths_that_cannot_be(data: Path, path: list[str], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        assembled(made({"mood": mood(*path)}))


# from file to answer ----------------------------------------------------------------------------------------------------

TASKS = {"mood": mood(*READ, "lstm"), "names": names(*READ, "lstm", decoder="crf"), "deep": mood("words", "cnn")}


def test_a_run_from_file_to_answer(data: Path) -> None:
    finished = [event for event in run(recipe_from(made(TASKS))) if isinstance(event, Finished)]
    assert finished[0].why == "steps"
    found = load_artefact("run/artefact")
    assert (Path("run/artefact/words") / "tokenizer.json").is_file()
    assert found.tokenizers["words"].spells
    answers = Predictor(found)(["a Good film in Rome", ["Rome", "zzz"], "", "?"])
    assert [set(answer.predictions) for answer in answers] == [{"mood", "names", "deep"}] * 4
    tags = answers[0].predictions["names"].value
    assert isinstance(tags, tuple)
    assert len(tags) == 5
    alone = [Predictor(found)([text])[0].to_json() for text in ("a Good film in Rome", "?")]
    for one, many in zip(alone, (answers[0], answers[3]), strict=True):
        assert one["tasks"]["names"] == many.to_json()["tasks"]["names"]
        for label, share in one["tasks"]["mood"]["probabilities"].items():
            assert share == pytest.approx(many.to_json()["tasks"]["mood"]["probabilities"][label], abs=1e-6)


def test_a_run_that_was_left_goes_on_bit_for_bit(data: Path) -> None:
    list(run(recipe_from(made(TASKS))))
    whole = load_artefact("run/artefact").model.state_dict()
    again = {**made(TASKS, checkpoint={"every_steps": 1}), "output": "other"}
    for number, _ in enumerate(run(recipe_from(again))):
        if number == 6:
            break
    list(run(recipe_from(again)))
    found = load_artefact("other/artefact").model.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())


def test_every_step_of_a_round_may_be_shared(data: Path) -> None:
    recipe = made({"mood": mood(*READ, "lstm"), "names": names(*READ, "lstm")})
    found = assembled(recipe)
    model = found.build().eval()
    batches = [found.train[name].batch([0, 1]) for name in ("mood", "names")]
    together = model.losses(batches)
    apart = {name: loss for batch in batches for name, loss in model.losses([batch]).items()}
    for name, loss in apart.items():
        torch.testing.assert_close(together[name], loss)


def test_check_counts_the_passes_of_words(data: Path) -> None:
    loaded = recipe_from(made(TASKS))
    found = assemble(loaded)
    assert set(plan(loaded.recipe, found, found.build()).passes) == {"words", "letters"}


def test_readers_are_found_along_the_paths(data: Path) -> None:
    loaded = recipe_from(made(TASKS))
    recipe: Recipe = loaded.recipe
    assert find_vocabularies(recipe, [], Path()) == {}
    from manyheads.prepare import sources

    assert [readers(source, recipe) for source in sources(recipe)] == [["words", "letters"], ["words", "letters"], ["words"]]
