"""Language models from their recipes to their answers: alone, beside a classifier, and in a text that goes on."""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from manyheads import prepare
from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import Artefact, load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.config.load import Loaded
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.data.stream import Position, Stream
from manyheads.errors import ManyheadsError, RecipeError, WiringError
from manyheads.model import Model
from manyheads.nn.language import TiedSoftmax
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.rescore import rescore, rescore_file
from manyheads.run import run
from manyheads.train.engine import Engine
from manyheads.train.evaluate import evaluate
from manyheads.train.events import Finished
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State
from manyheads.types import Batch, Tokens

RECIPE = """\
output: run
modules:
  words: {type: embedding, width: 12}
  reader: {type: recurrent, width: 16, bidirectional: false}
tasks:
  lm:
    type: language_modelling
    path: [words, reader]
    tied: words
    metrics: [bits_per_word]
    data: {train: train.txt, dev: dev.txt, test: test.txt, stream: {rows: 4, words: 5}}
  mood: {type: classification, path: [words, reader], data: {train: mood.csv, split: {dev: 0.2}}}
mixture: {sampling: uniform}
training:
  epochs: 8
  batch: {rows: 8}
  optimizer: {lr: 0.02}
  checkpoint: {every_minutes: null}
  device: cpu
"""
ALONE = {"lm": {"type": "language_modelling", "path": ["words", "reader"], "data": {"train": "train.txt", "dev": "dev.txt"}}}
CHANCE = math.exp((0.325 + 0.9 * math.log(3 * 2)) / 5.5)  # whether a line is empty, who and where, over its words and its end


def sentences(count: int, seed: int) -> list[str]:
    """Words that follow one another by rule: whoever has read the one before knows half of what comes."""
    draw = random.Random(seed)
    verbs = {"cats": "sleep", "dogs": "bark", "birds": "sing"}
    found = []
    for _ in range(count):
        who = draw.choice(list(verbs))
        found.append(f"the {who} {verbs[who]} in {draw.choice(['rome', 'oslo'])}" if draw.random() < 0.9 else "")
    return found


@pytest.fixture
def folder(place: Path) -> Path:
    for name, count, seed in (("train", 60, 1), ("dev", 30, 2), ("test", 12, 3)):
        (place / f"{name}.txt").write_text("\n".join(sentences(count, seed)) + "\n")
    rows = [f"{text},{label}" for text, label in (("the cats sleep", "up"), ("oslo bark", "down")) for _ in range(20)]
    (place / "mood.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (place / "recipe.yaml").write_text(RECIPE)
    return place


def finish(*overrides: str) -> Finished:
    *_, last = run(load_recipe("recipe.yaml", overrides))
    assert isinstance(last, Finished)
    return last


def values(found: Finished) -> dict[str, float]:
    return {r.key: r.value for r in found.records}


def in_one_pass(artefact: Artefact, lines: list[str], task: str = "lm") -> float:
    """The perplexity of a whole text, each line with its mark at the end, as one row of one batch."""
    pieces = artefact.tokenizers["words"].bounded().encode_texts(lines, None, 10**9)
    ids = torch.tensor([pieces[0].ids + tuple(i for p in pieces[1:] for i in p.ids[1:])])
    tokens = Tokens(ids[:, :-1], torch.ones_like(ids[:, :-1], dtype=torch.bool), torch.zeros_like(ids[:, :-1]))
    with torch.inference_mode():
        scores = artefact.model.answer(Batch("d", {"text": tokens}, {}, [0]), [task])[task].scores
        found: Tensor = scores.log_likelihood(ids[:, 1:, None]).double()
    assert len(found) == ids.shape[1] - 1
    return math.exp(-float(found.mean()))


def test_a_text_that_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scored in chunks of 7 words it has the perplexity of one pass; learned far below that of counted words."""
    monkeypatch.setattr(prepare, "_LONG", 7)
    found = finish()
    scores, artefact = values(found), load_artefact(found.artefact)
    for split, count, seed in (("dev", 30, 2), ("test", 12, 3)):
        best = [r.value for r in found.records if r.key == f"lm/lm/{split}/perplexity" and r.step in (found.step, found.best)][
            -1
        ]
        assert best == pytest.approx(in_one_pass(artefact, sentences(count, seed)), rel=1e-6)
        assert 0.9 * CHANCE < best < 0.5 * scores[f"lm/lm/{split}/perplexity@majority"]
    assert scores["lm/lm/test/bits_per_word"] == pytest.approx(math.log2(scores["lm/lm/test/perplexity"]))
    assert scores["lm/lm/test/loss"] == pytest.approx(math.log(scores["lm/lm/test/perplexity"]))
    assert scores["mood/mood/dev/accuracy"] == 1
    again, missed = rescore(artefact, load_recipe(found.artefact / "resolved.yaml"))
    assert not missed
    assert {r.key: r.value for r in again}["lm/lm/test/perplexity"] == scores["lm/lm/test/perplexity"]
    by_file, _ = rescore_file(artefact, load_recipe(found.artefact / "resolved.yaml"), "lm", "test.txt")
    assert {r.metric: r.value for r in by_file}["perplexity"] == scores["lm/lm/test/perplexity"]


def test_the_table_is_one_after_training_and_loading(folder: Path) -> None:
    artefact = load_artefact(finish("training.epochs=1").artefact)
    decoder = artefact.model.pool["lm_head"].decoder
    assert isinstance(decoder, TiedSoftmax)
    assert decoder._of[0] is artefact.model.pool["words"]
    names = load_file(artefact.folder / "model.safetensors").keys()
    assert [name for name in names if "lm_head" in name] == ["pool.lm_head.decoder.bias", "pool.lm_head.decoder.map.weight"]
    assert not [name for name in names if "carried" in name]


def test_an_answer_is_a_perplexity(folder: Path) -> None:
    """That of the text by itself, with marks around it; the classifier beside it reads the same text without any."""
    predictor = Predictor.load(finish().artefact)
    likely, odd, empty = predictor(["the cats sleep in rome", "rome rome bark the the", ""])
    told = [answer.to_json()["tasks"] for answer in (likely, odd, empty)]
    assert list(told[0]["lm"]) == ["perplexity"]
    assert told[0]["lm"]["perplexity"] == pytest.approx(in_one_pass(predictor._artefact, ["the cats sleep in rome"]))
    assert told[0]["lm"]["perplexity"] < told[1]["lm"]["perplexity"] / 5
    assert told[2]["lm"]["perplexity"] >= 1
    assert told[0]["mood"]["label"] == "up"
    by_words = predictor([["the", "cats", "sleep", "in", "rome"]])[0].to_json()["tasks"]
    assert by_words["lm"]["perplexity"] == pytest.approx(told[0]["lm"]["perplexity"])


def kept(folder: Path) -> dict[str, bytes]:
    """The artefact's weights, the records, and the states that were carried last."""
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    files = [folder / "artefact/model.safetensors", folder / "records.jsonl", newest / "extra.safetensors"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("more", [[], ["training.accumulate=3", "training.average={type: ema, decay: 0.9}"]])
def test_a_run_that_was_stopped_carries_on(folder: Path, arm: Callable[[str], None], more: list[str]) -> None:
    """In the middle of a pass: bit for bit what an unbroken run gives, so the states are those of the stop."""
    finish(*more)
    whole = kept(folder / "run")
    arm("train.step:9=term,train.step:21=term")
    for _ in range(2):
        with pytest.raises(ManyheadsError, match="stopped by"):
            finish("output=again", *more)
        newest = sorted((folder / "again" / "checkpoints").iterdir())[-1]
        carried = load_file(newest / "extra.safetensors")
        assert carried["carried:reader/hidden"].shape[1] in (4, 5)  # four streams, and the dev rows once they were judged
        assert carried["carried:reader/cell"].abs().sum() > 0
    finish("output=again", *more)
    assert kept(folder / "again") == whole


def assembled(loaded: Loaded) -> Assembly:
    return assemble(loaded)


def test_joined_rounds_equal_separate_ones(folder: Path) -> None:
    """Rows of the classifier and chunks of the text through one embedding and one reader: losses, gradients, states."""
    found = assembled(
        load_recipe("recipe.yaml", ["tasks.lm.dropout=0", "tasks.mood.dropout=0", "mixture={tasks_per_step: all}"])
    )
    joined = found.build().train()
    apart = copy.deepcopy(joined)
    rounds = found.stream().rounds(Position.start(["lm", "mood"]))
    for _ in range(3):
        draws, _ = next(rounds)
        batches = [found.train[draw.dataset].batch(draw.rows) for draw in draws]
        assert len(batches) == 2
        one = joined.losses(batches)
        other = {**apart.losses(batches[1:]), **apart.losses(batches[:1])}
        for model, losses in ((joined, one), (apart, other)):
            model.zero_grad()
            (losses["lm"] + losses["mood"]).backward()
        for task in ("lm", "mood"):
            torch.testing.assert_close(one[task], other[task])
        for (name, p), q in zip(joined.named_parameters(), apart.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, msg=name)
        for part, state in joined.pool["reader"].carried.items():
            torch.testing.assert_close(state, apart.pool["reader"].carried[part])


def test_the_text_goes_through_in_order_whatever_comes_between(folder: Path) -> None:
    found = assembled(load_recipe("recipe.yaml"))
    text = found.train["lm"]
    drawn = [
        draw
        for draws, _ in zip(found.stream().rounds(Position.start(["lm", "mood"])), range(60), strict=False)
        for draw in draws[0]
    ]
    rows = [draw.rows.tolist() for draw in drawn if draw.dataset == "lm"]
    one_pass = found.stream().batches("lm", 0)
    assert rows[:one_pass] == [list(range(i, min(i + 4, len(text)))) for i in range(0, len(text), 4)]
    assert rows[one_pass] == rows[0]
    assert {draw.dataset for draw in drawn} == {"lm", "mood"}
    slots = [abs(int(c)) - 1 for data in (text, found.dev["lm"], found.test["lm"]) for c in data.table["carry"].to_pylist()]
    assert sorted(set(slots)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("direction", "width"), [("both", 16), ("forward", 16), ("backward", 16)])
def test_two_directions_without_a_mask(folder: Path, direction: str, width: int) -> None:
    """One bidirectional layer, rows by themselves: what it cannot know it does not know."""
    modules = {"words": {"type": "embedding", "width": 12}, "reader": {"type": "recurrent", "width": width}}
    tasks = {"lm": {**ALONE["lm"], "direction": direction, "softmax": "adaptive", "cutoffs": [8]}}
    loaded = recipe_from(
        {
            "modules": modules,
            "tasks": tasks,
            "output": "run",
            "training": {"epochs": 25, "batch": {"rows": 8}, "device": "cpu", "optimizer": {"lr": 0.02}},
        }
    )
    *_, last = run(loaded)
    assert isinstance(last, Finished)
    score = min(r.value for r in last.records if r.key == "lm/lm/dev/perplexity")
    assert 0.9 * CHANCE < score < 2 * CHANCE
    answer = Predictor.load(last.artefact)(["the dogs bark in oslo"])[0].to_json()
    assert answer["tasks"]["lm"]["perplexity"] == pytest.approx(score, rel=0.5)


@pytest.mark.parametrize(
    ("change", "error", "rule"),
    [
        ("modules.reader.bidirectional=true", WiringError, "cannot go on from chunk to chunk"),
        ("modules.reader={type: transformer, heads: 2, causal: true}", WiringError, "cannot go on from chunk to chunk"),
        (
            "modules.reader.layers=2 modules.reader.bidirectional=true tasks.lm.data.stream=null",
            WiringError,
            "wants states that have seen no word behind",
        ),
        (
            "tasks.lm.direction=backward tasks.lm.data.stream=null",
            WiringError,
            "wants states that have seen their own word alone",
        ),
        ("tasks.lm.direction=both tasks.lm.data.stream=null", WiringError, "no word behind their own in the first half"),
        (
            "tasks.lm.tied=null tasks.lm.softmax=adaptive tasks.lm.cutoffs=[3,99]",
            RecipeError,
            "less than the 15 words of the vocabulary",
        ),
        ("tasks.lm.tied=null tasks.lm.softmax=adaptive tasks.lm.cutoffs=[3,5,7]", RecipeError, "nothing is left of 16"),
        ("tasks.lm.metric=accuracy", RecipeError, "which this task does not give"),
        (
            "tasks.lm.path=[words, reader, {module: reader, name: again}] modules.reader.width=12",
            WiringError,
            "stands twice on the path",
        ),
    ],
)
def test_what_cannot_be_is_told_before_training(folder: Path, change: str, error: type[RecipeError], rule: str) -> None:
    with pytest.raises(error) as caught:
        assembled(load_recipe("recipe.yaml", re.split(r" (?=tasks\.|modules\.)", change)))
    assert rule in str(caught.value)


def test_the_place_of_what_cannot_be(folder: Path) -> None:
    text = RECIPE.replace("bidirectional: false", "bidirectional: true")
    (folder / "recipe.yaml").write_text(text)
    with pytest.raises(WiringError, match=r"recipe.yaml:8:11.*'reader' cannot go on"):
        assembled(load_recipe("recipe.yaml"))


def test_texts_without_a_word_have_no_vocabulary(folder: Path) -> None:
    (folder / "train.csv").write_text('text,n\n"",1\n" ",2\n')
    data = {"train": "train.csv"}
    with pytest.raises(RecipeError, match="no word is left in the vocabulary"):
        assembled(
            recipe_from(
                {
                    "modules": {"words": {"type": "embedding", "width": 4}},
                    "tasks": {"lm": {**ALONE["lm"], "path": ["words"], "data": data}},
                }
            )
        )


def test_gradients_at_the_trunks_output_do_not_see_a_tied_table(folder: Path) -> None:
    change = ["mixture={tasks_per_step: all}", "balance={aggregation: {type: upgrad, level: trunk}}"]
    with pytest.raises(RecipeError, match="tied to the trunk's embedding"):
        list(run(load_recipe("recipe.yaml", change)))
    assert finish(*change, "tasks.lm.tied=null", "training.epochs=1")
    assert finish(
        "mixture={tasks_per_step: all}",
        "balance={aggregation: {type: upgrad, level: rows}}",
        "training.epochs=1",
        "output=other",
    )


def test_several_chunks_in_a_round(folder: Path) -> None:
    """Two draws a round are often two chunks of the text: losses are those of a round a draw, where nothing is learned."""
    still = ["training.optimizer.lr=1e-30", "tasks.lm.dropout=0", "tasks.mood.dropout=0", "training.epochs=1"]
    one = values(finish(*still, "training.accumulate=2", "mixture={sampling: proportional}", "output=one"))
    two = values(finish(*still, "mixture={sampling: proportional, tasks_per_step: 2}", "output=two"))
    assert two["lm/lm/train/loss"] == pytest.approx(one["lm/lm/train/loss"], rel=1e-6)


def test_letters_and_an_adaptive_softmax_in_half_precision(folder: Path) -> None:
    modules = {
        "words": {"type": "embedding", "width": 12},
        "letters": {"type": "characters", "filters": 12},
        "joined": {"type": "concat"},
        "top": {"type": "feedforward", "width": 16},
        "reader": {"type": "recurrent", "width": 16, "bidirectional": False, "cell": "gru"},
    }
    beside = [{"module": "letters", "inputs": ["batch.text"]}, {"module": "joined", "inputs": ["words", "letters"]}]
    data = {"train": "train.txt", "dev": "dev.txt", "stream": {"rows": 4, "words": 5}}
    task = {"type": "language_modelling", "path": ["words", *beside, "top", "reader"], "data": data}
    training = {"epochs": 6, "precision": "bf16", "device": "cpu", "optimizer": {"lr": 0.02}}
    tasks = {"lm": {**task, "softmax": "adaptive", "cutoffs": [8]}}
    *_, last = run(recipe_from({"modules": modules, "tasks": tasks, "training": training, "output": "run"}))
    assert isinstance(last, Finished)
    scores = values(last)
    assert 0.9 * CHANCE < scores["lm/lm/dev/perplexity"] < 0.5 * scores["lm/lm/dev/perplexity@majority"]


def test_one_process_reads_a_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = assembled(load_recipe("recipe.yaml"))
    engine = Engine(found.recipe.training)
    engine.world = 2
    with pytest.raises(RecipeError, match="data set 'lm' is one text"):
        evaluate(found.build(), found.dev.values(), engine=engine)
    with pytest.raises(RecipeError, match="data set 'lm' is one text"):
        next(train(*trained_by(found), state=State(Position.start(["lm", "mood"])), engine=engine, seed=1))


def trained_by(found: Assembly) -> tuple[Model, Mapping[str, Dataset], Stream, Optimizer, TrainingSpec]:
    model = found.build()
    spec = found.recipe.training
    return model, found.train, found.stream(), make_optimizer(model, spec.optimizer), spec


def test_scores_of_training_rows_leave_the_states_alone(folder: Path) -> None:
    plain = finish("training.epochs=1")
    watched = finish("training.epochs=1", "training.evaluate_train=7", "training.evaluate_first=true", "output=watched")
    one, other = (load_file(f.artefact / "model.safetensors") for f in (plain, watched))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert values(watched)["lm/lm/train/perplexity"] > 1


def test_a_plan_of_a_text(folder: Path) -> None:
    found = assembled(load_recipe("recipe.yaml"))
    told = plan(found.recipe, found, found.build())
    words = sum(len(line.split()) + 1 for line in sentences(60, 1))
    assert int(found.train["lm"].lengths.sum()) == words
    assert told.unlabelled["lm"] == 0


def test_real_text_in_chunks_and_in_one_pass(shared_data: Path, place: Path) -> None:
    lines = (shared_data / "wikitext-2" / "valid.txt").read_text(encoding="utf-8").splitlines()
    parts = {"train": lines[:120], "dev": lines[120:170]}
    for name, part in parts.items():
        (place / f"{name}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")
    modules = {
        "words": {"type": "embedding", "width": 16},
        "reader": {"type": "recurrent", "width": 16, "bidirectional": False, "layers": 2, "cell": "gru"},
    }
    data = {"train": "train.txt", "dev": "dev.txt", "stream": {"rows": 16, "words": 20}}
    tasks = {"lm": {"type": "language_modelling", "path": ["words", "reader"], "tied": "words", "data": data}}
    training = {"epochs": 1, "device": "cpu", "optimizer": {"lr": 0.01}}
    *_, last = run(recipe_from({"modules": modules, "tasks": tasks, "training": training, "output": "run"}))
    assert isinstance(last, Finished)
    scores = values(last)
    artefact = load_artefact(last.artefact)
    assert len(artefact.tokenizers["words"]) > 1000
    assert scores["lm/lm/dev/perplexity"] == pytest.approx(in_one_pass(artefact, parts["dev"]), rel=1e-6)
