"""Two texts, each read by itself, from the recipe to the served answer and to vectors of single texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.stories.test_processes import train as launched

from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.cli.app import run as command
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.cache import Cache
from manyheads.data.stream import Position
from manyheads.errors import DataError, RecipeError
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.engine import Engine
from manyheads.train.events import Finished, Saved
from manyheads.train.taught import ask

RECIPE = """\
seed: 5
output: run
modules:
  encoder: {{type: pretrained, name: {encoder}, max_length: 24}}
  small: {{type: feedforward, width: 6, activation: tanh}}
defaults: {{path: [encoder]}}
tasks:
  like:
    type: matching
    data: {{train: train.jsonl, dev: dev.jsonl}}
    low: 1
    high: 5
    metrics: [pearson, mse]
  mood: {{type: classification, data: {{train: mood.csv}}}}
training: {{epochs: 6, batch: {{rows: 6}}, optimizer: {{lr: 2.0e-3}}, checkpoint: {{every_minutes: null}}, device: cpu}}
mixture: {{tasks_per_step: all}}
"""
CONTRASTIVE = ["tasks.like.loss=contrastive", "tasks.like.positive=4"]
TEXTS = ["rome", "a good film by anna", "the bad song", "a dog at the cat", "omar in oslo"]


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Equal texts are alike, others are not, and of some it is not known."""
    found = []
    for i in range(first, first + count):
        one, other = TEXTS[i % 5], TEXTS[(i + i % 3) % 5]
        label = None if i % 7 == 6 else 5 if one == other else 1 + i % 2
        found.append({"text": one, "pair": f"{other} !", "label": label})
    return found


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


@pytest.fixture
def recipe(place: Path, tiny: Path) -> Path:
    write(place / "train.jsonl", rows(24))
    write(place / "dev.jsonl", rows(13, 24))
    (place / "mood.csv").write_text("text,label\n" + "".join(f"{('good', 'bad')[i % 2]} film,{i % 2}\n" for i in range(12)))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny))
    return place / "recipe.yaml"


def finished(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize(
    "overrides",
    [[], CONTRASTIVE, ["tasks.like.path=[encoder, pooled, small]", "modules.pooled={type: pool, how: cls}"]],
    ids=["cosine", "contrastive", "projection"],
)
def test_what_is_served_is_what_was_scored(recipe: Path, overrides: list[str]) -> None:
    last = finished(recipe, *overrides)
    losses = [r.value for r in last.records if r.key == "like/like/train/loss"]
    assert min(losses[1:]) < losses[0]
    found = {r.key: r.value for r in last.records if r.step == last.best and r.task == "like" and r.split == "dev"}
    known = [row for row in rows(13, 24) if row["label"] is not None]
    predictor = Predictor.load(last.artefact)
    answers = [predictor([(row["text"], row["pair"])])[0].to_json()["tasks"]["like"]["value"] for row in known]
    gold = [(row["label"] - 1) / 4 for row in known]
    assert found["like/like/dev/pearson"] == pytest.approx(stats.pearsonr(gold, answers).statistic, abs=1e-5)
    assert found["like/like/dev/mse"] == pytest.approx(np.square(np.subtract(gold, answers)).mean(), abs=1e-6)
    if not overrides:
        assert found["like/like/dev/loss"] == pytest.approx(found["like/like/dev/mse"], abs=1e-6)
    again = {r.key: r.value for r in rescore(load_artefact(last.artefact), load_recipe(last.artefact / "resolved.yaml"))[0]}
    assert again["like/like/dev/pearson"] == pytest.approx(found["like/like/dev/pearson"], abs=1e-6)
    first, second = predictor.embed([row["text"] for row in known]), predictor.embed([row["pair"] for row in known], "like")
    assert first.shape == (len(known), 6 if "small" in str(overrides) else 16)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    assert (first * second).sum(1) / lengths == pytest.approx(np.array(answers), abs=1e-5)


def test_both_towers_are_one_pass_that_other_tasks_share(recipe: Path) -> None:
    """Joined with other rows or apart, losses and gradients are the same."""
    found = assemble(load_recipe(recipe, CONTRASTIVE))
    model = found.build().eval()
    batches = [found.train["mood"].batch([0, 1]), found.train["like"].batch([2, 3, 0, 9])]
    assert batches[1].sequences == 8
    passes: list[int] = []
    hook = model.pool["encoder"].register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    together = model.losses(batches)
    hook.remove()
    assert passes == [10]
    (gradients,) = (torch.autograd.grad(sum(together.values()), [*model.pool["encoder"].parameters()], allow_unused=True),)
    apart = {**model.losses(batches[:1]), **model.losses(batches[1:])}
    for name, loss in together.items():
        torch.testing.assert_close(loss, apart[name])
    others = torch.autograd.grad(sum(apart.values()), [*model.pool["encoder"].parameters()], allow_unused=True)
    for ours, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_cosines_are_learned_from_a_teacher(recipe: Path) -> None:
    """It says of each row what its predictor says, also where the file says nothing; a student without labels comes near."""
    teacher = finished(recipe, "training.epochs=12", "output=teacher")
    asked = ["tasks.like.teacher={from: teacher/artefact, weight: 1.0}", "tasks.like.consistency=0.5"]
    assembly = assemble(load_recipe(recipe, asked))
    [[task, told]] = ask(assembly.teachers[0], assembly.train, Engine(TrainingSpec(device="cpu"))).items()
    places = [assembly.train["like"].place(i).line - 1 for i in range(24)]
    answers = Predictor.load(teacher.artefact)([(rows(24)[i]["text"], rows(24)[i]["pair"]) for i in places], ["like"])
    assert task == "like"
    assert list(told) == pytest.approx([answer.predictions["like"].value for answer in answers], abs=1e-5)
    student = finished(recipe, *asked, "training.epochs=12", "output=student")
    losses = [r.value for r in student.records if r.key == "like/like/train/loss"]
    assert 0 <= losses[-1] < losses[0] / 2
    with pytest.raises(RecipeError, match="numbers have squared differences, and no other comparison with a teacher"):
        load_recipe(recipe, ["tasks.like.teacher={from: teacher/artefact, loss: kl}"])


def test_labels_are_cosines_from_the_bottom_to_one(recipe: Path) -> None:
    data = assemble(load_recipe(recipe, ["tasks.like.bottom=-1"])).train["like"]
    labels = [row["label"] for row in rows(24)]
    wanted = [float("nan") if label is None else (label - 3) / 2 for label in labels]
    torch.testing.assert_close(data.batch(range(24)).targets["like"], torch.tensor(wanted), equal_nan=True)
    assert data.items("like").tolist() == [int(label is not None) for label in labels]


def test_rows_without_a_column_of_labels_belong_together(recipe: Path) -> None:
    bare = [{"text": row["text"], "pair": row["text"]} for row in rows(12)]
    write(recipe.parent / "train.jsonl", bare)
    found = assemble(load_recipe(recipe, CONTRASTIVE))
    assert found.train["like"].batch(range(12)).targets["like"].tolist() == [1.0] * 12
    assert found.dev["like"].items("like").tolist() == [int(row["label"] is not None) for row in rows(13, 24)]
    write(recipe.parent / "train.jsonl", [*bare, *rows(7)])
    mixed = assemble(load_recipe(recipe, CONTRASTIVE)).train["like"]
    assert mixed.items("like").tolist() == [1] * 18 + [0]
    weighed = [{**row, "worth": 1 + i % 2} for i, row in enumerate([*bare, *rows(7)])]
    write(recipe.parent / "train.jsonl", weighed)
    counted = assemble(load_recipe(recipe, [*CONTRASTIVE, "tasks.like.data.weight=worth"])).train["like"]
    assert counted.items("like").tolist() == [row["worth"] for row in weighed[:-1]] + [0]


@pytest.mark.parametrize("overrides", [[], [*CONTRASTIVE, "tasks.like.data.label=label"]], ids=["cosine", "named"])
def test_a_column_that_must_be_there_is_missed(recipe: Path, overrides: list[str]) -> None:
    write(recipe.parent / "train.jsonl", [{"text": "rome", "pair": "oslo"}])
    with pytest.raises(DataError, match="task like: no such column"):
        assemble(load_recipe(recipe, overrides))


def test_the_cache_tells_a_null_from_a_column_that_is_not_there(recipe: Path) -> None:
    cache = Cache(recipe.parent / "cache")
    changes: list[tuple[dict[str, Any], int]] = [({}, 1), ({"label": None}, 0)]
    for change, items in changes:
        write(recipe.parent / "train.jsonl", [*rows(3), {"text": "rome", "pair": "oslo", **change}])
        assert assemble(load_recipe(recipe, CONTRASTIVE), cache).train["like"].items("like").tolist() == [1, 1, 1, items]


def test_accumulated_rounds_have_the_rows_of_their_own_batch_to_find(recipe: Path) -> None:
    """The loss of a step is the sum over batches of what each of them has by itself, divided by the rows of all."""
    alone = ["modules.encoder.dropout=0.0", "training.steps=1", "training.accumulate=2", "mixture.tasks_per_step=1"]
    text = recipe.read_text()
    recipe.write_text(text[: text.index("  mood:")] + text[text.index("training:") :])
    loaded = load_recipe(recipe, [*CONTRASTIVE, *alone])
    found = assemble(loaded)
    model, data, stream = found.build(), found.train["like"], found.stream()
    rounds = [draws for (draws, _), _ in zip(stream.rounds(Position.start(stream.names)), range(2), strict=False)]
    drawn = [draw.rows for draws in rounds for draw in draws]
    wanted = sum(model.losses([data.batch(r)])["like"].item() for r in drawn) / sum(data.items("like")[r].sum() for r in drawn)
    *_, last = run(loaded)
    assert isinstance(last, Finished)
    [loss] = [r.value for r in last.records if r.key == "like/like/train/loss"]
    assert loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("loss", ["cosine", "contrastive"])
def test_a_run_that_was_left_goes_on_bit_for_bit(recipe: Path, loss: str) -> None:
    change = CONTRASTIVE if loss == "contrastive" else []
    whole = finished(recipe, *change, "output=whole")
    for event in run(load_recipe(recipe, [*change, "output=left"])):
        if isinstance(event, Saved) and event.step >= 8:
            break
    *_, last = run(load_recipe(recipe, [*change, "output=left"]))
    assert isinstance(last, Finished)
    for name in ("records.jsonl", "artefact/model.safetensors"):
        assert (recipe.parent / "left" / name).read_bytes() == (recipe.parent / "whole" / name).read_bytes(), name
    assert whole.best == last.best


def test_the_command_line_asks_and_answers(recipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["train", str(recipe)]) == 0
    assert "majority" not in json.dumps([line for line in capfd.readouterr().out.splitlines() if "like" in line])
    asked = '{"id": 7, "text": "rome", "pair": "rome"}\n{"text": "rome"}\n'
    (recipe.parent / "asked.jsonl").write_text(asked)
    assert command(["predict", str(recipe.parent / "run"), "--input", str(recipe.parent / "asked.jsonl")]) == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert first["id"] == 7
    assert first["tasks"]["like"]["value"] == pytest.approx(1)
    assert set(second["tasks"]) == {"mood"}
    card = (recipe.parent / "run/artefact/README.md").read_text()
    assert '("A text", "and another")' in card


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("tasks.like.low=5", "`low` must be less than `high`, which is 5"),
        ("tasks.like.scale=30", "`scale` is for `loss: contrastive`"),
        ("tasks.like.positive=4", "`positive` is for `loss: contrastive`"),
        ("tasks.like.bottom=1", "bottom"),
        ("tasks.like.data.words=words", "two texts are compared, and the rows come as words"),
        ("tasks.like.data.choices=label", "rows of choices are learned by"),
        ("tasks.like.loss=contrastve", "did you mean 'contrastive'"),
    ],
)
def test_what_does_not_fit_is_told_with_the_recipe(recipe: Path, override: str, rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert rule in str(caught.value)


@pytest.mark.parametrize("positive", [1, 5.5])
def test_a_label_that_tells_no_rows_apart(recipe: Path, positive: float) -> None:
    with pytest.raises(RecipeError, match="no label from `low`, 1, to `high`, 5, would be told apart by `positive`"):
        load_recipe(recipe, ["tasks.like.loss=contrastive", f"tasks.like.positive={positive}"])


def test_other_tasks_cannot_share_its_rows(recipe: Path) -> None:
    shared = ["data={both: {train: train.jsonl}}", "tasks.like.data={from: both}", "tasks.mood.data={from: both}"]
    with pytest.raises(RecipeError, match="read each by itself for 'like', and only matching learns from that"):
        load_recipe(recipe, shared)


def test_what_assembling_finds_is_told(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="needs label sets, which this task does not give"):
        assemble(load_recipe(recipe, ["tasks.like.metric=accuracy"]))
    write(recipe.parent / "train.jsonl", [*rows(3), {"text": "rome", "pair": "oslo", "label": 6}])
    with pytest.raises(DataError, match=r"train\.jsonl:4.*a number must be at most 5"):
        assemble(load_recipe(recipe))
    write(recipe.parent / "train.jsonl", [{"text": "rome", "label": 1}])
    with pytest.raises(DataError, match="no such column"):
        assemble(load_recipe(recipe))


def test_vectors_are_those_of_texts_and_of_a_matching_task(recipe: Path) -> None:
    predictor = Predictor.load(finished(recipe, "training.epochs=1").artefact)
    texts = [*TEXTS, "", "the good film by the dog in rome by anna"] * 3
    alone = np.concatenate([predictor.embed([text]) for text in texts])
    assert predictor.embed(texts, tokens=40) == pytest.approx(alone, abs=1e-5)
    assert predictor.embed(texts).dtype == np.float32
    assert predictor.embed([]).shape[0] == 0
    with pytest.raises(RecipeError, match=r"vectors come from a task of type matching.*'like'.*'mood'"):
        predictor.embed(texts, "mood")
    with pytest.raises(RecipeError, match="did you mean 'like'"):
        predictor.embed(texts, "lke")
    with pytest.raises(RecipeError, match="input 1 must be a text; vectors are those of single texts"):
        predictor.embed(["rome", ("rome", "oslo")])  # type: ignore[list-item]  # what a user may try
    with pytest.raises(RecipeError, match="put a text by itself into a list"):
        predictor.embed("rome")


@pytest.mark.slow
def test_two_processes_have_the_rows_of_each_to_find(recipe: Path) -> None:
    alone = ["modules.encoder.dropout=0.0", "training.steps=1", "training.batch.rows=8", "mixture.tasks_per_step=1"]
    text = recipe.read_text()
    recipe.write_text(text[: text.index("  mood:")] + text[text.index("training:") :])
    found = assemble(load_recipe(recipe, [*CONTRASTIVE, *alone]))
    model, data, stream = found.build(), found.train["like"], found.stream()
    [draw] = next(iter(stream.rounds(Position.start(stream.names))))[0]
    shares = [draw.rows[rank::2] for rank in (0, 1)]
    wanted = sum(model.losses([data.batch(r)])["like"].item() for r in shares) / data.items("like")[draw.rows].sum()
    ended = launched(recipe.parent, "two", *CONTRASTIVE, *alone, processes=2)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (recipe.parent / "two/records.jsonl").read_text().splitlines()]
    [loss] = [r["value"] for r in lines if (r["split"], r["metric"]) == ("train", "loss")]
    assert loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [[], CONTRASTIVE], ids=["cosine", "contrastive"])
def test_likeness_of_sentences(place: Path, bert_tiny: Path, shared_data: Path, overrides: list[str]) -> None:
    """STS-B's dev rows, after one pass over those to train on."""
    files = {part: str(shared_data / f"glue/STS-B/{part}.tsv") for part in ("train", "dev")}
    recipe = {
        "seed": 3,
        "output": "run",
        "modules": {"encoder": {"type": "pretrained", "name": str(bert_tiny), "max_length": 64}},
        "tasks": {"like": {"type": "matching", "path": ["encoder"], "high": 5, "data": {"format": "glue", **files}}},
        "training": {"epochs": 1, "batch": {"rows": 64}, "optimizer": {"lr": 1e-4}, "device": "cpu"},
    }
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    last = finished(place / "recipe.yaml", *overrides)
    [spearman] = [r.value for r in last.records if r.key == "like/like/dev/spearman" and r.step == last.best]
    assert spearman > 0.7
