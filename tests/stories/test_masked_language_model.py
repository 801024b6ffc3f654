"""Masked language models from their recipes to their answers, beside a classifier on the same rows."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.data.stream import Position
from manyheads.errors import ManyheadsError, RecipeError
from manyheads.nn.masked import HiddenWords, Mask, MaskedHead
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.rescore import rescore, rescore_file
from manyheads.run import run
from manyheads.train.evaluate import as_dict, evaluate
from manyheads.train.events import Finished
from manyheads.types import IGNORE, Tokens

RECIPE = """\
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 40}}}}
data:
  said: {{train: said.csv, split: {{dev: 0.25}}}}
tasks:
  mlm: {{type: masked_language_modelling, path: [encoder], metrics: [bits_per_word], data: {{from: said}}}}
  mood: {{type: classification, path: [encoder], data: {{from: said, label: label}}}}
  other: {{type: masked_language_modelling, share: 0.3, path: [encoder], data: {{train: more.txt, format: lines}}}}
training:
  epochs: 4
  batch: {{rows: 8}}
  optimizer: {{lr: 0.01}}
  checkpoint: {{every_minutes: null}}
  device: cpu
"""
ALONE = """\
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 40}}}}
tasks: {{mlm: {{type: masked_language_modelling, path: [encoder], data: {{train: said.csv, split: {{dev: 0.25}}}}}}}}
training: {{epochs: 12, batch: {{rows: 8}}, optimizer: {{lr: 0.01}}, checkpoint: {{every_minutes: null}}, device: cpu}}
"""


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        kind, label = draw.choice([("good", "up"), ("fine", "up"), ("bad", "down"), ("poor", "down")])
        found.append((f"the {kind} {draw.choice(['film', 'song'])} by {draw.choice(['anna', 'omar'])} in rome", label))
    return found


@pytest.fixture
def folder(place: Path, masked_tiny: Path) -> Path:
    rows = sentences(96, 1)
    (place / "said.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    (place / "more.txt").write_text("\n".join(text for text, _ in sentences(40, 2)) + "\n")
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=masked_tiny))
    (place / "alone.yaml").write_text(ALONE.format(encoder=masked_tiny))
    return place


def finish(*overrides: str, recipe: str = "recipe.yaml") -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def assembled(*overrides: str, recipe: str = "recipe.yaml") -> Assembly:
    return assemble(load_recipe(recipe, overrides))


def test_it_learns_and_answers(folder: Path) -> None:
    """Far below the untrained encoder; what stands at a place that is determined is told, with others behind it."""
    before = as_dict(evaluate(assembled(recipe="alone.yaml").build(), assembled(recipe="alone.yaml").dev.values()))
    found = finish(recipe="alone.yaml")
    scores = {r.key: r.value for r in found.records if r.step == found.best}
    assert scores["mlm/mlm/dev/perplexity"] < min(4.0, before["mlm/mlm/dev/perplexity"] / 10)
    assert scores["mlm/mlm/dev/loss"] == pytest.approx(math.log(scores["mlm/mlm/dev/perplexity"]))
    predictor = Predictor.load(found.artefact)
    one, none, words = predictor(["the good song [MASK] anna in [MASK]", "the good song", ["the", "bad", "[MASK]"]])
    told = one.to_json()["tasks"]["mlm"]["words"]
    assert [next(iter(place)) for place in told] == ["by", "rome"]
    assert [len(place) for place in told] == [5, 5]
    for place in told:
        assert list(place.values()) == sorted(place.values(), reverse=True)
        assert 0.5 < sum(place.values()) <= 1
    assert one.predictions["mlm"].value == ("by", "rome")
    assert none.to_json()["tasks"] == {"mlm": {"words": []}}
    assert len(words.to_json()["tasks"]["mlm"]["words"]) == 1


def test_beside_a_classifier_and_scored_again(folder: Path) -> None:
    """Tasks of one data set and of another; the artefact has the first weights of no head, and scores as the run did."""
    found = finish("tasks.mlm.weight=0.1", "tasks.other.weight=0.1", "training.epochs=8", "training.optimizer.head_lr=0.02")
    kept = {r.key: r.value for r in found.records if r.step == found.best and r.split == "dev"}
    assert kept["mood/said/dev/accuracy"] > 0.9
    assert kept["mlm/said/dev/bits_per_word"] == pytest.approx(math.log2(kept["mlm/said/dev/perplexity"]))
    assert kept["mlm/said/dev/perplexity"] < 10
    artefact = load_artefact(found.artefact)
    again, missed = rescore(artefact, load_recipe(found.artefact / "resolved.yaml"))
    assert not missed
    assert {r.key: r.value for r in again if r.split == "dev"} == {k: v for k, v in kept.items() if "@" not in k}
    by_file, _ = rescore_file(artefact, load_recipe(found.artefact / "resolved.yaml"), "other", "more.txt")
    assert {r.metric: r.value for r in by_file}["perplexity"] < 10
    saved = load_file(found.artefact / "model.safetensors")
    assert [name for name in saved if "mlm" in name] == [
        f"pool.mlm_head.{name}" for name in ("bias", "dense.bias", "dense.weight", "norm.bias", "norm.weight")
    ]
    head = artefact.model.pool["mlm_head"]
    assert isinstance(head, MaskedHead)
    assert head.table is artefact.model.pool["encoder"].encoder.get_input_embeddings().weight


def test_the_first_weights_are_the_files(folder: Path, masked_tiny: Path) -> None:
    head = assembled().build().pool["mlm_head"].state_dict()
    saved = load_file(masked_tiny / "model.safetensors")
    assert torch.equal(head["dense.weight"], saved["cls.predictions.transform.dense.weight"])
    assert torch.equal(head["norm.bias"], saved["cls.predictions.transform.LayerNorm.bias"])
    assert torch.equal(head["bias"], saved["cls.predictions.bias"])


def test_items_are_what_the_model_hides(folder: Path) -> None:
    """In every row and for each share, in training and in evaluation, rows of nothing but mask pieces too."""
    lines = ["the cat", "", "a", "the [MASK] in rome", " ".join(["film"] * 50), *(text for text, _ in sentences(20, 3))]
    (folder / "more.txt").write_text("\n".join(lines) + "\n")
    found = assembled()
    model = found.build()
    for mode in (True, False):
        model.train(mode)
        for task, data in (("mlm", found.train["said"]), ("mlm", found.dev["said"]), ("other", found.train["other"])):
            rows = np.arange(len(data))
            batch = data.batch(rows)
            scores = model.answer(batch, [task])[task].scores
            assert isinstance(scores, HiddenWords)
            assert (scores.told != IGNORE).sum(1).tolist() == data.items(task).tolist()
            assert (batch.targets[task] != IGNORE).sum(1).tolist() == data.items(task).tolist()
    assert found.train["other"].items("other").tolist()[:4] == [1, 1, 0, 11]  # of 2, 1, none and 38 pieces


def test_other_tasks_read_the_text_as_it_is(folder: Path) -> None:
    """The classifier's scores are those of a model without the other task; the other's encoder sees what is hidden."""
    found = assembled()
    model, seen = found.build().eval(), list[Tokens]()
    model.pool["encoder"].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    batch = found.train["said"].batch(range(8))
    both = model.answer(batch, ["mlm", "mood"])
    assert len(seen) == 2
    assert sorted(int((tokens.ids != batch.fields["text"].ids).sum()) > 0 for tokens in seen) == [False, True]
    torch.testing.assert_close(both["mood"].scores, model.answer(batch, ["mood"])["mood"].scores)


def test_a_step_that_reads_the_batch_reads_what_is_left_of_it(folder: Path) -> None:
    """No way around what is hidden: two encoders on one path, the second of which names the batch as its input."""
    second = "{module: encoder, inputs: [batch.text], name: again}"
    path = f"[encoder, {second}, {{module: mix, inputs: [encoder, again]}}]"
    change = [f"tasks.mlm.path={path}", "modules.mix={type: concat}"]
    steps = assembled(*change).blueprint.tasks["mlm"].path
    assert [(step.module, step.inputs) for step in steps] == [
        ("mlm_mask", ()),
        ("encoder", ()),
        ("encoder", ("mlm_mask",)),
        ("mix", ("encoder", "again")),
        ("mlm_head", ("mix", "mlm_mask")),
    ]
    model = assembled(*change).build()
    head = model.pool["mlm_head"]
    assert isinstance(head, MaskedHead)
    assert head.dense.weight.shape == (16, 32)  # of other states than those that the file's head reads, so it is a fresh one


def test_evaluation_is_the_same_twice_and_in_any_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = assembled()
    model = found.build()
    first = as_dict(evaluate(model, found.dev.values()))
    torch.rand(7)
    assert as_dict(evaluate(model, found.dev.values())) == first
    monkeypatch.setattr("manyheads.train.evaluate._PADDED", 40)
    assert as_dict(evaluate(model, found.dev.values())) == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("more", [[], ["training.accumulate=3"], ["mixture={tasks_per_step: 2}"]])
def test_a_run_that_was_stopped_carries_on(folder: Path, arm: Callable[[str], None], more: list[str]) -> None:
    """Bit for bit what an unbroken run gives: what is hidden in a step hangs on its number alone."""
    files = ("artefact/model.safetensors", "artefact/encoder/model.safetensors", "records.jsonl")
    finish("training.epochs=2", *more)
    arm("train.step:3=term,train.step:7=term")
    for _ in range(2):
        with pytest.raises(ManyheadsError, match="stopped by"):
            finish("training.epochs=2", "output=again", *more)
    finish("training.epochs=2", "output=again", *more)
    for file in files:
        assert (folder / "again" / file).read_bytes() == (folder / "run" / file).read_bytes(), file


def test_joined_rounds_equal_separate_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With draws that follow from the rows themselves: two batches of one round, losses and gradients."""
    still = ["tasks.mlm.dropout=0", "tasks.mood.dropout=0", "tasks.other.dropout=0", "modules.encoder.dropout=0"]
    found = assembled(*still, "mixture={tasks_per_step: all}")
    joined = found.build().train()
    for module in joined.modules():
        if isinstance(module, Mask):
            monkeypatch.setattr(module, "training", False)
    apart = copy.deepcopy(joined)
    draws, _ = next(found.stream().rounds(Position.start(["said", "other"])))
    batches = [found.train[draw.dataset].batch(draw.rows) for draw in draws]
    assert {batch.dataset for batch in batches} == {"said", "other"}
    one, other = joined.losses(batches), {**apart.losses(batches[:1]), **apart.losses(batches[1:])}
    for losses in (one, other):
        torch.stack([losses[task] for task in ("mlm", "mood", "other")]).sum().backward()
    for task, loss in one.items():
        torch.testing.assert_close(loss, other[task])
    for (name, p), q in zip(joined.named_parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name, rtol=1e-4, atol=1e-5)


def test_a_task_twice_in_a_round_counts_by_its_items(folder: Path) -> None:
    """Two batches of one data set in a round: the mean loss is that of the same rows in one batch."""
    found = assembled("tasks.mlm.dropout=0", "modules.encoder.dropout=0")
    model = found.build().eval()
    data = found.train["said"]
    whole = model.losses([data.batch(range(16))])["mlm"]
    torch.testing.assert_close(model.losses([data.batch(range(9)), data.batch(range(9, 16))])["mlm"], whole)


@pytest.mark.parametrize(
    ("change", "learns"),
    [
        (["modules.encoder.freeze=true"], {"mlm_head"}),
        (["modules.encoder.lora={rank: 2}"], {"mlm_head", "encoder"}),
        (["modules.lent={type: adapter, of: encoder, rank: 2}", "tasks.mlm.path=[lent]"], {"mlm_head", "lent"}),
    ],
)
def test_encoders_that_stand_still(folder: Path, change: list[str], learns: set[str]) -> None:
    """Frozen, with adapters in it, and under an adapter: the embeddings, and the output that they are, stay as they were."""
    found = finish(*change, recipe="alone.yaml")
    first = assembled(*change, recipe="alone.yaml").build().state_dict()
    artefact = load_artefact(found.artefact)
    last = artefact.model.state_dict()
    moved = {name.split(".")[1] for name, tensor in last.items() if not torch.equal(tensor, first[name])}
    assert moved == learns
    head = artefact.model.pool["mlm_head"]
    assert isinstance(head, MaskedHead)
    table = next(t for name, t in first.items() if name.endswith("word_embeddings.weight"))
    assert torch.equal(head.table, table)
    scores = {r.key: r.value for r in found.records if r.step == found.best}
    before = as_dict(evaluate(assembled(*change, recipe="alone.yaml").build(), assembled(recipe="alone.yaml").dev.values()))
    assert scores["mlm/mlm/dev/perplexity"] < before["mlm/mlm/dev/perplexity"] / 2
    assert Predictor.load(found.artefact)(["the good [MASK] in rome"])[0].predictions["mlm"].guesses


def test_pairs_and_words(folder: Path) -> None:
    (folder / "pairs.csv").write_text("one,two,label\n" + "the good film,by anna,a\nthe bad song,by omar,b\n" * 8)
    (folder / "words.jsonl").write_text('{"words": ["the", "good", "film", "in", "rome"]}\n' * 16)
    for data in ("{train: pairs.csv, text: one, pair: two}", "{train: words.jsonl, words: words}"):
        found = finish(f"tasks.mlm.data={data}", "training.epochs=1", f"output={data[8:13]}", recipe="alone.yaml")
        assert found.step == 2
    answers = Predictor.load(folder / "pairs/artefact")([("the [MASK] film", "by [MASK]")])
    assert [len(place) for place in answers[0].to_json()["tasks"]["mlm"]["words"]] == [5, 5]


def test_rows_that_weigh(folder: Path) -> None:
    rows = "".join(f"{text},{i % 3}\n" for i, (text, _) in enumerate(sentences(24, 4)))
    (folder / "said.csv").write_text("text,w\n" + rows)
    found = assembled("tasks.mlm.data={train: said.csv, weight: w}", recipe="alone.yaml")
    data, model = found.train["mlm"], found.build().eval()
    assert data.items("mlm").tolist() == [1.0 * (i % 3) for i in range(24)]
    each = [model.losses([data.batch([i])])["mlm"].item() for i in range(24)]
    assert model.losses([data.batch(range(24))])["mlm"].item() == pytest.approx(sum(each), rel=1e-5)
    assert each[0] == 0 < each[1]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("modules.encoder.name={tiny}", "the vocabulary of 'encoder' has none"),
        ("tasks.mlm.metric=accuracy", "accuracy"),
        ("tasks.mlm.path=[encoder, {{module: top, name: mlm_mask}}]", "mlm_mask"),
        ("balance={{aggregation: {{type: upgrad, level: trunk}}}}", "no trunk at whose output"),
    ],
)
def test_what_cannot_be_is_told_before_training(folder: Path, tiny: Path, change: str, rule: str) -> None:
    with pytest.raises(RecipeError) as raised:
        finish(change.format(tiny=tiny), "modules.top={type: feedforward, width: 8}")
    assert rule in str(raised.value)


def test_gradients_at_the_output_of_a_tied_encoder(folder: Path) -> None:
    """Two tasks behind what hides pieces for one of them have no trunk in common; with rows of gradients they learn."""
    change = "balance={aggregation: {type: upgrad, level: rows}}"
    assert finish(change, "training.epochs=1", "mixture={tasks_per_step: all}").step > 0


def test_a_plan_tells_each_pass(folder: Path) -> None:
    found = plan(load_recipe("recipe.yaml").recipe, assembled(), assembled().build())
    assert found.passes == {
        "encoder behind mlm_mask": ("mlm",),
        "encoder": ("mood",),
        "encoder behind other_mask": ("other",),
    }
