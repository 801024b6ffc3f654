"""A teacher's answers: what it would say one row at a time, in the student's order; runs with them; what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import manyheads as mh
from manyheads.api import load_recipe
from manyheads.artefact import load_artefact
from manyheads.assemble import Assembly, assemble
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.cache import Cache
from manyheads.errors import ArtefactError, DataError, Interrupted, RecipeError
from manyheads.folder import writing
from manyheads.nn.trunk import Trunk
from manyheads.plan import plan
from manyheads.predict import Predictor
from manyheads.rescore import rescore
from manyheads.run import run
from manyheads.train.engine import Engine
from manyheads.train.events import Answered, Event, Finished, Saved, Started
from manyheads.train.state import Progress
from manyheads.train.taught import Taught, ask
from manyheads.types import IGNORE, States, Tokens

NAN = float("nan")
TASKS = ("mood", "likeness", "names")
TAUGHT = [f"tasks.{task}.teacher.from=teacher" for task in TASKS]
OFTEN = "training.checkpoint.every_steps=1"


@pytest.fixture
def taught(recipe: Path, trained: Path) -> Path:
    """The recipe of three tasks, beside a model that was trained with it."""
    shutil.copytree(trained / "run" / "artefact", recipe.parent / "teacher")
    return recipe


def turn_labels(folder: Path) -> None:
    """The teacher calls its labels the other way round: up down, and down up. Ours are sorted, those of others need not be."""
    config = json.loads((folder / "config.json").read_text())
    for task, labels in (("mood", ["up", "down"]), ("names", ["O", "B-PER", "B-LOC"])):
        assert config["tasks"][task]["options"]["labels"] == sorted(labels, key=lambda name: (name != "O", name))
        config["tasks"][task]["options"]["labels"] = labels
    old = folder.rename(folder.with_name("old"))
    with writing(folder, kind="artefact") as new:
        shutil.copytree(old, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        (new / "config.json").write_text(json.dumps(config))


def answers(recipe: Path, *overrides: str) -> tuple[Assembly, dict[str, Any]]:
    assembly = assemble(load_recipe(recipe, overrides), Cache())
    engine = Engine(TrainingSpec(device="cpu"))
    return assembly, {task: scores for t in assembly.teachers for task, scores in ask(t, assembly.train, engine).items()}


def finish(recipe: Path, *overrides: str) -> Finished:
    *_, last = run(load_recipe(recipe, overrides))
    assert isinstance(last, Finished)
    return last


def leave(recipe: Path, saved: int, *overrides: str) -> list[Event]:
    """Go on until so many checkpoints are written, and no further."""
    events: list[Event] = []
    walk = run(load_recipe(recipe, overrides))
    while sum(isinstance(e, Saved) for e in events) < saved:
        events.append(next(walk))
    walk.close()
    return events


def weights(folder: Path) -> dict[str, str]:
    names = ["records.jsonl", "artefact/model.safetensors", "artefact/encoder/model.safetensors"]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


# what a teacher says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_rows_are_answered_as_the_teachers_predictor_answers_them_one_at_a_time(taught: Path, turned: bool) -> None:
    if turned:
        turn_labels(taught.parent / "teacher")
    assembly, found = answers(taught, *TAUGHT)
    predictor, place = Predictor.load(taught.parent / "teacher"), taught.parent
    with (place / "mood.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    pairs = [json.loads(line) for line in (place / "pairs.jsonl").read_text().splitlines()]
    mood, likeness = assembly.train["mood"], assembly.train["likeness"]
    assert len(mood) == len(found["mood"]) == 24
    for i, scores in enumerate(found["mood"]):
        [answer] = predictor([texts[mood.place(i).line - 2]], ["mood"])
        said = dict(answer.predictions["mood"].probabilities)
        assert scores.softmax(-1).tolist() == pytest.approx([said["down"], said["up"]], abs=1e-6)
    for i, number in enumerate(found["likeness"]):
        row = pairs[likeness.place(i).line - 1]
        [answer] = predictor([(row["one"], row["two"])], ["likeness"])
        assert float(number) == pytest.approx(answer.predictions["likeness"].value, abs=1e-6)


@pytest.mark.parametrize("positive", ["up", "down"])
def test_two_labels_are_answered_as_the_student_has_them(recipe: Path, positive: str) -> None:
    two = "tasks.mood.type=binary"
    teacher = finish(recipe, two, "tasks.mood.positive=up", "output=two").artefact
    settings = [two, f"tasks.mood.positive={positive}", "tasks.mood.teacher.from=two/artefact", "tasks.mood.consistency=1.0"]
    assembly, found = answers(recipe, *settings)
    with (recipe.parent / "mood.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    predictor, names = Predictor.load(teacher), ["down", "up"] if positive == "up" else ["up", "down"]
    for i, scores in enumerate(found["mood"]):
        [answer] = predictor([texts[assembly.train["mood"].place(i).line - 2]], ["mood"])
        said = dict(answer.predictions["mood"].probabilities)
        assert scores.softmax(-1).tolist() == pytest.approx([said[name] for name in names], abs=1e-6)


def test_words_have_answers_where_both_read_them(taught: Path) -> None:
    turn_labels(taught.parent / "teacher")
    long = "".join(f"{word} O\n" for word in ["cat"] * 40)  # the teacher reads 30 words of it, the student 6
    with (taught.parent / "names.conll").open("a") as file:
        file.write("\n" + long)
    for limit, most in (([], 30), (["tasks.names.data.max_length=8"], 6)):
        assembly, found = answers(taught, *TAUGHT, "tasks.names.data.split={}", *limit)
        artefact = load_artefact(taught.parent / "teacher")
        order = [artefact.model.tasks["names"].type.labels.index(label) for label in ("O", "B-LOC", "B-PER")]
        rows = assembly.teachers[0].readings[-1].rows
        for i, scores in enumerate(found["names"]):
            with torch.no_grad():
                slow = artefact.model.answer(rows.batch([i]), ["names"])["names"].scores[0][:, order]
            assert_close(scores.softmax(-1), slow[: len(scores)].softmax(-1))
        lengths = [len(scores) for scores in found["names"]]
        assert max(lengths) == most
        data = Taught(assembly.train["names"], {"names": found["names"]})
        assert (data.items("names") == assembly.train["names"].items("names")).all()


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    passed: list[int] = []
    forward = Trunk.forward

    def counted(self: Trunk, tokens: Tokens) -> States:
        passed.append(len(tokens))
        return forward(self, tokens)

    monkeypatch.setattr(Trunk, "forward", counted)
    return passed


def test_one_pass_for_all_tasks_of_a_data_set_and_one_artefact(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mood, and the same rows under another name: one teacher reads them once. A second teacher is a second pass."""
    text = taught.read_text().replace("tasks:\n", "data:\n  films: {train: mood.csv, split: {dev: 0.2}}\ntasks:\n")
    task = "{type: classification, path: [encoder], data: {from: films}, teacher: {from: teacher, task: mood}}"
    lines = [line for line in text.splitlines() if not line.startswith("  mood:")]
    at = lines.index("tasks:") + 1
    taught.write_text("\n".join([*lines[:at], f"  first: {task}", f"  second: {task}", *lines[at:]]) + "\n")
    passed = count_rows(monkeypatch)
    assembly, found = answers(taught, "tasks.likeness.teacher.from=teacher")
    assert sum(passed) == len(assembly.train["films"]) + len(assembly.train["likeness"])
    assert torch.equal(found["first"], found["second"])
    assert [len(reading.lessons) for reading in assembly.teachers[0].readings] == [2, 1]
    shutil.copytree(taught.parent / "teacher", taught.parent / "other")
    passed.clear()
    assembly, _ = answers(taught, "tasks.second.teacher.from=[other, teacher]")
    assert sum(passed) == 2 * len(assembly.train["films"])


def test_a_step_costs_no_pass_of_the_teacher(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["training.epochs=3", "tasks.mood.teacher.from=teacher"]
    passed, walk = count_rows(monkeypatch), run(load_recipe(taught, settings))
    assert isinstance(next(walk), Started)
    passed.clear()
    event = next(walk)
    assert event == Answered(taught.parent / "teacher", ["mood"], {"mood": 24}) or isinstance(event, Answered)
    assert sum(passed) == 24
    passed.clear()
    step = next(walk)
    assert isinstance(step, Progress)
    assert sum(passed) == sum(step.rows.values())
    walk.close()


# runs -------------------------------------------------------------------------------------------------------------------

NOISE = "tasks.mood.perturbation={noise: 0.01, ascents: 2}"
BOTH = [*TAUGHT, *(f"tasks.{task}.consistency=0.5" for task in TASKS), NOISE, OFTEN]


def test_a_run_with_teachers_and_consistency_goes_on_in_the_same_bits(taught: Path, trained: Path) -> None:
    finish(taught, *BOTH, "output=whole")
    leave(taught, 7, *BOTH)
    resumed = next(iter(run(load_recipe(taught, BOTH))))
    assert isinstance(resumed, Started)
    assert resumed.resumed > 0
    finish(taught, *BOTH)
    found = weights(taught.parent / "run")
    assert found == weights(taught.parent / "whole")
    assert found["artefact/model.safetensors"] != weights(trained / "run")["artefact/model.safetensors"]


def test_a_run_that_is_complete_asks_no_teacher(taught: Path) -> None:
    settings = [*TAUGHT, "training.steps=1"]
    first, second = (list(run(load_recipe(taught, settings))) for _ in range(2))
    assert sum(isinstance(e, Answered) for e in first) == 1
    assert [type(e) for e in second] == [Started, Finished]


def test_another_teacher_does_not_go_on_with_the_run(taught: Path) -> None:
    leave(taught, 2, *TAUGHT, OFTEN)
    finish(taught, "output=other", "training.steps=3")
    shutil.rmtree(taught.parent / "teacher")
    shutil.copytree(taught.parent / "other" / "artefact", taught.parent / "teacher")
    with pytest.raises(DataError, match=r"the teacher teacher: the file has changed since the run began"):
        finish(taught, *TAUGHT, OFTEN)


def test_a_saved_student_is_scored_without_its_teacher(taught: Path) -> None:
    folder = finish(taught, *TAUGHT, "training.steps=2").artefact
    shutil.rmtree(taught.parent / "teacher")
    artefact = load_artefact(folder)
    assert artefact.blueprint.tasks["mood"].teaching == mh.Teaching(0.5, 2.0, "kl")
    assert artefact.blueprint.tasks["likeness"].teaching == mh.Teaching(0.5, 1.0, "mse")
    assert rescore(artefact, load_recipe(folder / "resolved.yaml"))[0]


def test_a_saved_model_knows_its_noise(taught: Path) -> None:
    folder = finish(taught, *BOTH, "training.steps=2").artefact
    artefact = load_artefact(folder)
    assert artefact.blueprint.tasks["mood"].perturbation == mh.Perturbation(noise=0.01, ascents=2)
    assert artefact.blueprint.tasks["likeness"].perturbation is None
    assert artefact.model.tasks["mood"].perturbation == artefact.blueprint.tasks["mood"].perturbation


def test_the_resolved_recipe_names_the_teacher_from_its_own_folder(taught: Path) -> None:
    first = finish(taught, *TAUGHT, "training.steps=2")
    again = load_recipe(first.artefact / "resolved.yaml", ["output=again"])
    *_, second = run(again)
    assert isinstance(second, Finished)
    one, two = weights(first.folder), weights(second.folder)
    assert one == two


def test_a_signal_while_the_teacher_answers_ends_at_once(
    taught: Path, arm: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    def interrupted(self: Trunk, tokens: Tokens) -> States:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal comes first")

    walk = run(load_recipe(taught, TAUGHT))
    assert isinstance(next(walk), Started)
    monkeypatch.setattr(Trunk, "forward", interrupted)
    with pytest.raises(Interrupted, match="stopped by SIGTERM while a teacher answered"):
        next(walk)


def test_rows_without_a_label_learn_from_the_teacher(taught: Path) -> None:
    """All rows of a step count then, and the loss of the rows with labels is no longer alone."""
    lines = (taught.parent / "mood.csv").read_text().splitlines()
    bare = [line if i < 9 else line.rpartition(",")[0] + "," for i, line in enumerate(lines)]
    (taught.parent / "mood.csv").write_text("\n".join(bare) + "\n")
    settings = ["tasks.mood.data.split={}", 'tasks.mood.data.missing=[""]', "tasks.mood.labels=[up, down]"]
    settings += ["mixture.tasks_per_step=all", "training.epochs=1", "output=a"]
    plain = [e.items["mood"] for e in run(load_recipe(taught, settings)) if isinstance(e, Progress)]
    settings[-1] = "output=b"
    told = [e.items["mood"] for e in run(load_recipe(taught, [*settings, *TAUGHT])) if isinstance(e, Progress)]
    assert sum(plain) == 8
    assert sum(told) == 40


def test_the_plan_tells_what_a_teacher_will_answer(taught: Path) -> None:
    loaded = load_recipe(taught, TAUGHT)
    assembly = assemble(loaded)
    found = plan(loaded.recipe, assembly, assembly.build())
    assert found.teachers == {"teacher": sum(data.rows["train"] for data in found.datasets.values())}
    assert found.to_json()["teachers"] == {"teacher": 57}


# refusals ---------------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Sequence[str], str]] = [
    (
        ["tasks.mood.teacher.from=teecher"],
        r"tasks\.mood\.teacher\.from.*no trained model is in this folder; found 'teecher'",
    ),
    (["tasks.mood.teacher.from=run"], r"no trained model is in this folder.*run/artefact"),
    (
        ["tasks.mood.teacher.from=teacher", "tasks.mood.teacher.task=moot"],
        r"the teacher 'teacher' has no such task \(there are: 'mood', 'likeness', 'names'\).*'moot'.*'mood'",
    ),
    (
        ["tasks.mood.teacher.from=teacher", "tasks.mood.teacher.task=likeness"],
        "must have the same type: task 'mood' has classification, the teacher's regression",
    ),
    (
        ["tasks.mood.teacher.from=teacher", "tasks.mood.labels=[up, down, same]"],
        r"same labels, and those of task 'mood' and the teacher's 'mood' differ: only the task has 'same'",
    ),
    (
        ["tasks.likeness.teacher.from=teacher", "tasks.likeness.data.pair=null"],
        "must have the same kind of input: task 'likeness' has single texts, the teacher's pairs of texts",
    ),
    (
        ["tasks.names.teacher.from=teacher", "tasks.names.scheme=none"],
        "must have the same scheme: task 'names' has none, the teacher's BIO",
    ),
    (
        ["tasks.names.teacher.from=teacher", "tasks.names.decoder=crf"],
        r"`teacher` compares the answers to single words, and `decoder: crf` gives paths",
    ),
    (["tasks.names.consistency=1", "tasks.names.decoder=crf"], "`consistency` compares the answers to single words"),
    (
        ["tasks.likeness.teacher.from=teacher", "tasks.likeness.teacher.loss=kl"],
        "numbers have squared differences, and no other comparison with a teacher",
    ),
    (
        ["tasks.mood.teacher.from=teacher", "tasks.mood.teacher.loss=mse", "tasks.mood.teacher.temperature=3"],
        "squared differences have no temperature",
    ),
    (["tasks.mood.teacher.from=[teacher, teacher]"], r"the teacher is given twice"),
    (["tasks.mood.teacher.from=[]"], r"tasks\.mood\.teacher\.from"),
    (["tasks.mood.teacher.from=teacher", "tasks.mood.teacher.weight=0"], r"tasks\.mood\.teacher\.weight"),
    (["tasks.mood.teacher.from=teacher", "tasks.mood.teacher.temprature=2"], r"'temprature'.*'temperature'"),
    (["tasks.mood.consistency=-1"], r"tasks\.mood\.consistency"),
    (["tasks.mood.perturbation={}"], r"`perturbation` sets two answers apart, and `consistency` says what that costs"),
    (["tasks.mood.consistency=1", "tasks.mood.perturbation.noise=0"], r"perturbation\.noise"),
]


@pytest.mark.parametrize(("overrides", "rule"), REFUSED)
def test_what_cannot_teach_is_told_before_training(taught: Path, overrides: Sequence[str], rule: str) -> None:
    shutil.copytree(taught.parent / "teacher", taught.parent / "run" / "artefact")
    with pytest.raises(RecipeError, match=rule):
        assemble(load_recipe(taught, overrides))


def test_a_mistake_has_its_line_in_the_file(taught: Path) -> None:
    text = taught.read_text().replace(
        "    metrics: [mse]\n", "    metrics: [mse]\n    teacher:\n      from: teacher\n      task: mood\n"
    )
    taught.write_text(text)
    line = 1 + text.splitlines().index("    teacher:")
    with pytest.raises(RecipeError, match=rf"recipe\.yaml:{line + 1}:7: .*same type: task 'likeness' has regression"):
        assemble(load_recipe(taught))


def test_a_damaged_teacher_is_refused(taught: Path) -> None:
    file = taught.parent / "teacher" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(RecipeError, match=r"the teacher cannot be used: .*model\.safetensors"):
        assemble(load_recipe(taught, TAUGHT))


def test_scores_that_are_no_numbers_are_refused(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: forward(self, x) * (NAN if self.out_features == 2 else 1))
    with pytest.raises(ArtefactError, match="teacher: the teacher's scores of task 'mood' are not finite"):
        answers(taught, "tasks.mood.teacher.from=teacher")


# in Python --------------------------------------------------------------------------------------------------------------


def points(name: str = "d", weights: list[float] | None = None) -> mh.TensorDataset:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    return mh.TensorDataset({"x": x}, {"a": [0, 1, None, None, 2, 0]}, name, weights=weights and {"a": weights})


def model_of(teaching: mh.Teaching | None = None) -> mh.Model:
    torch.manual_seed(2)
    modules = {"trunk": nn.Linear(4, 8), "head": nn.Linear(8, 3)}
    return mh.Model(modules, [mh.Task("a", ["trunk", "head"], mh.Classification(["x", "y", "z"]), teaching=teaching)])


def test_items_have_a_label_or_an_answer() -> None:
    soft = torch.randn(6, 3)
    soft[[0, 3]] = NAN
    assert Taught(points(), {"a": soft}).items("a").tolist() == [1, 1, 1, 0, 1, 1]
    weighted = Taught(points(weights=[2, 0, 1, 1, 0.5, 1]), {"a": soft})
    assert weighted.items("a").tolist() == [2, 0, 1, 0, 0.5, 1]


def test_an_answer_of_certainty_is_a_label() -> None:
    """At temperature 1, with all the weight, and rows that have no label of their own."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    sure = 1e4 * torch.eye(3)[[0, 1, 2, 2, 2, 0]]
    bare = mh.TensorDataset({"x": x}, {"a": torch.full((6,), IGNORE)}, "d")
    student, labelled = model_of(mh.Teaching(1.0, 1.0)), model_of()
    settings: dict[str, Any] = {"epochs": 3, "optimizer": {"name": "sgd", "lr": 0.5}}
    mh.fit(student, [Taught(bare, {"a": sure})], settings)
    mh.fit(labelled, [mh.TensorDataset({"x": x}, {"a": [0, 1, 2, 2, 2, 0]}, "d")], settings)
    for one, two in zip(student.parameters(), labelled.parameters(), strict=True):
        assert_close(one, two)


def test_a_student_learns_what_a_teacher_knows_of_other_rows() -> None:
    """No label but two; the teacher knows a rule, and the student follows it on rows that neither has seen."""
    draw = torch.Generator().manual_seed(0)
    x, unseen = torch.randn(200, 4, generator=draw), torch.randn(200, 4, generator=draw)
    rule = torch.randn(4, 3, generator=draw)
    bare = mh.TensorDataset({"x": x}, {"a": [0, 1, *[None] * 198]}, "d")
    test = mh.TensorDataset({"x": unseen}, {"a": (unseen @ rule).argmax(1)}, "d", "test")
    settings: dict[str, Any] = {"epochs": 30, "batch": {"rows": 20}, "optimizer": {"lr": 0.01, "head_lr": 0.01}}
    told = mh.fit(model_of(mh.Teaching(0.9)), [Taught(bare, {"a": 3 * x @ rule}), test], settings)
    alone = mh.fit(model_of(), [bare, test], settings)
    assert told["a/d/test/accuracy"] > 0.9 > alone["a/d/test/accuracy"] + 0.1


@pytest.mark.parametrize("times", [[1, 3, 2, 0, 2, 1]])
def test_a_weight_is_a_number_of_rows(times: list[int]) -> None:
    soft = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    soft[1] = NAN
    x, labels = points().batch(range(6)).fields["x"], torch.tensor([0, 1, IGNORE, IGNORE, 2, 0])
    again = torch.arange(6).repeat_interleave(torch.tensor(times))
    one, two = model_of(mh.Teaching(0.3)), model_of(mh.Teaching(0.3))
    settings: dict[str, Any] = {"steps": 3, "batch": {"rows": 100}, "optimizer": {"name": "sgd", "lr": 0.5}}
    mh.fit(one, [Taught(points(weights=[float(n) for n in times]), {"a": soft})], settings)
    repeated = mh.TensorDataset({"x": x[again]}, {"a": labels[again]}, "d")
    mh.fit(two, [Taught(repeated, {"a": soft[again]})], settings)
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert_close(first, second)


@pytest.mark.parametrize(
    ("soft", "rule"),
    [({"b": torch.zeros(6, 3)}, "has no such label set"), ({"a": torch.zeros(5, 3)}, "one a row, and data set 'd' has 6 rows")],
)
def test_answers_that_do_not_fit_the_rows(soft: dict[str, Tensor], rule: str) -> None:
    with pytest.raises(RecipeError, match=rule):
        Taught(points(), soft)


def test_words_of_a_batch_are_as_wide_as_its_target() -> None:
    data = mh.TensorDataset({"x": torch.zeros(3, 4, 2)}, {"a": torch.zeros(3, 4, dtype=torch.long)}, "d")
    scores = [torch.ones(n, 2) for n in (4, 0, 2)]
    batch = Taught(data, {"a": scores}).batch(np.array([2, 1, 0]))
    assert (~batch.soft["a"].isnan().all(-1)).sum(1).tolist() == [2, 0, 4]
    assert batch.to("cpu").soft["a"].shape == (3, 4, 2)
    assert len(Taught(data, {"a": scores})) == 3
