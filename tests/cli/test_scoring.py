"""`manyheads evaluate`: the scores of training again, and scores on other files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from manyheads.folder import writing
from manyheads.metrics import Score
from manyheads.predict import Predictor

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def moved(trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained folder, in which the test runs."""
    copy = Path(shutil.copytree(trained, place / "moved"))
    monkeypatch.chdir(copy)
    return copy


def saved(folder: Path, step: int = 20) -> dict[str, float | None]:
    records = [json.loads(line) for line in (folder / "run" / "records.jsonl").read_text().splitlines()]
    kept = [r for r in records if r["split"] != "train" and r["metric"] != "loss"]
    last = max(r["step"] for r in kept if r["split"] == "test")
    return {f"{r['task']}/{r['dataset']}/{r['split']}/{r['metric']}": r["value"] for r in kept if r["step"] == last}


@pytest.mark.parametrize("path", ["run", "run/artefact"])
def test_the_scores_of_training_again(command: Command, moved: Path, path: str) -> None:
    code, out, err = command("evaluate", path, "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert found["scores"].keys() == saved(moved).keys()
    for key, value in saved(moved).items():
        assert found["scores"][key] == (None if value is None else pytest.approx(value, abs=1e-5))


def test_the_table_is_that_of_training(command: Command, moved: Path) -> None:
    _, trained, _ = command("train", "recipe.yaml")
    code, out, _ = command("evaluate", "run")
    assert code == 0
    assert sorted(out.splitlines()[1:]) == sorted(trained.splitlines()[1:])


def test_from_another_folder(command: Command, moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe in the artefact names its files from where it lies."""
    monkeypatch.chdir(moved.parent)
    code, out, _ = command("evaluate", "moved/run", "--json")
    assert code == 0
    assert json.loads(out)["scores"].keys() == saved(moved).keys()


def test_a_file_that_is_gone_leaves_its_task_out(command: Command, moved: Path) -> None:
    (moved / "mood.csv").unlink()
    code, out, err = command("evaluate", "run", "--json")
    assert code == 0
    assert "warning: left out: " in err
    assert "mood.csv" in err
    assert {key.split("/")[0] for key in json.loads(out)["scores"]} == {"likeness", "names"}


def test_rows_that_were_added_since_leave_the_task_out(command: Command, moved: Path) -> None:
    """They would draw the split anew, and rows that the model was trained on would be scored."""
    with (moved / "mood.csv").open("a") as file:
        file.write("the film at rome good,up\n")
    code, out, err = command("evaluate", "run", "--json")
    assert code == 0
    assert {key.split("/")[0] for key in json.loads(out)["scores"]} == {"likeness", "names"}
    assert "left out: data set mood: the train files have changed since the training" in err


def test_no_file_at_all(command: Command, moved: Path) -> None:
    for name in ("mood.csv", "pairs.jsonl", "names.conll"):
        (moved / name).unlink()
    code, out, err = command("evaluate", "run")
    assert (code, out) == (3, "")
    assert "--data task=file" in err


def test_a_file_for_one_task(command: Command, moved: Path) -> None:
    (moved / "new.csv").write_text("text,label\nthe film at rome good,up\nthe song at oslo bad,down\n")
    code, out, _ = command("evaluate", "run", "--data", "mood=new.csv", "--json")
    assert code == 0
    assert list(json.loads(out)["scores"]) == ["mood/mood/new.csv/accuracy"]


def test_files_for_several_tasks_in_other_formats(command: Command, moved: Path) -> None:
    (moved / "new.jsonl").write_text('{"text": "good", "label": "up"}\n')
    (moved / "new.conll").write_text("anna B-PER\nin O\n\nrome B-LOC\n")
    code, out, _ = command("evaluate", "run", "-d", "mood=new.jsonl", "-d", "names=new.conll")
    assert code == 0
    assert "new.jsonl" in out
    assert "new.conll" in out


def test_files_of_one_name_are_told_apart_by_their_folders(command: Command, moved: Path) -> None:
    """The moods of the second file are the wrong way round."""
    for folder, moods in (("x", "up,down"), ("y", "down,up")):
        (moved / folder).mkdir()
        one, two = moods.split(",")
        (moved / folder / "d.csv").write_text(f"text,label\nthe film at rome good,{one}\nthe song at oslo bad,{two}\n")
    data = [word for folder in "xy" for word in ("-d", f"mood={folder}/d.csv")]
    scores = json.loads(command("evaluate", "run", *data, "--json")[1])["scores"]
    one, two = scores["mood/mood/x/d.csv/accuracy"], scores["mood/mood/y/d.csv/accuracy"]
    assert one == pytest.approx(1 - two)
    table = command("evaluate", "run", *data)[1]
    assert ("x/d.csv" in table, "y/d.csv" in table) == (True, True)


def test_a_file_named_twice(command: Command, moved: Path) -> None:
    (moved / "new.csv").write_text("text,label\ngood,up\n")
    code, out, err = command("evaluate", "run", "-d", "mood=new.csv", "-d", "mood=new.csv")
    assert (code, out) == (2, "")
    assert err == "error: --data: the same task and file are named twice; found 'mood=new.csv'\n"


def test_the_labels_are_the_saved_ones(command: Command, moved: Path) -> None:
    (moved / "new.csv").write_text("text,label\ngood,upp\n")
    code, _, err = command("evaluate", "run", "-d", "mood=new.csv")
    assert code == 3
    assert "new.csv:2" in err
    assert "did you mean 'up'" in err


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        ("moood=new.csv", 2, "did you mean 'mood'"),
        ("mood", 2, "task=file"),
        ("mood=", 2, "task=file"),
        ("mood=absent.csv", 3, "absent.csv"),
        ("mood=pairs.jsonl", 3, "text"),
        (
            "mood=bare.csv",
            3,
            "bare.csv: task mood: no such column (there are: 'text', 'lable'); found 'label'; did you mean 'lable'?",
        ),
        ("mood=null.jsonl", 3, "null.jsonl: task mood: no row has a label in column 'label'"),
    ],
)
def test_data_that_cannot_be_used(command: Command, moved: Path, data: str, code: int, told: str) -> None:
    (moved / "new.csv").write_text("text,label\ngood,up\n")
    (moved / "bare.csv").write_text("text,lable\ngood,up\n")
    (moved / "null.jsonl").write_text('{"text": "good", "label": null}\n')
    found, out, err = command("evaluate", "run", "-d", data)
    assert (found, out) == (code, "")
    assert told in err


def test_one_task_of_a_shared_data_set(command: Command, place: Path, tiny: Path) -> None:
    rows = [{"text": f"good {i}", "a": "xy"[i % 2], "b": float(i)} for i in range(12)]
    (place / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "recipe.yaml").write_text(
        f"output: run\nmodules: {{encoder: {{type: pretrained, name: {tiny}}}}}\n"
        "data: {both: {train: both.jsonl, text: text, split: {dev: 0.2}}}\n"
        "tasks:\n  one: {type: classification, path: [encoder], data: {from: both, label: a}}\n"
        "  two: {type: regression, path: [encoder], metric: mse, data: {from: both, label: b}}\n"
        "training: {epochs: 1, device: cpu}\n"
    )
    assert command("train", "recipe.yaml")[0] == 0
    code, out, _ = command("evaluate", "run", "-d", "two=both.jsonl", "--json")
    assert code == 0
    assert list(json.loads(out)["scores"]) == ["two/both/both.jsonl/mse"]


def test_a_grid_of_tasks_and_domains_from_one_command(command: Command, moved: Path) -> None:
    """Trained on one domain, scored on files of others; each cell is what the answers say."""
    texts = ["the film at rome good", "bad", "the song at oslo poor"]  # three, so that right and wrong are never as many
    moods = {domain: [(text, mood) for text in texts] for domain, mood in (("news", "up"), ("talk", "down"))}
    tags = {"news": [("anna", "B-PER"), ("in", "O"), ("rome", "B-LOC")], "talk": [("anna", "B-LOC"), ("in", "O")]}
    for domain in moods:
        (moved / domain).mkdir()
        rows = [f"{text},{mood}\n" for text, mood in moods[domain]]
        (moved / domain / "mood.csv").write_text("text,label\n" + "".join(rows))
        (moved / domain / "names.conll").write_text("".join(f"{word} {tag}\n" for word, tag in tags[domain]))
    files = {"mood": "mood.csv", "names": "names.conll"}
    data = [word for domain in moods for task, file in files.items() for word in ("-d", f"{task}={domain}/{file}")]
    code, out, err = command("evaluate", "run", *data, "--json")
    assert code == 0, err
    found = json.loads(out)["scores"]
    assert list(found) == [
        f"{task}/{task}/{domain}/{file}/{metric}"
        for domain in moods
        for (task, file), metric in zip(files.items(), ("accuracy", "span_f1"), strict=True)
    ]
    assert found["mood/mood/news/mood.csv/accuracy"] != found["mood/mood/talk/mood.csv/accuracy"]
    predictor = Predictor.load("run/artefact")
    for domain in moods:
        said = [answer.predictions["mood"].value for answer in predictor([text for text, _ in moods[domain]])]
        right = [one == mood for one, (_, mood) in zip(said, moods[domain], strict=True)]
        assert found[f"mood/mood/{domain}/mood.csv/accuracy"] == pytest.approx(sum(right) / len(right))
        words, gold = zip(*tags[domain], strict=True)
        score = Score(["span_f1"], predictor.model.tasks["names"].type.labels, "BIO")
        score.add([list(gold)], [list(predictor([list(words)])[0].predictions["names"].value)])
        assert found[f"names/names/{domain}/names.conll/span_f1"] == pytest.approx(score.compute()["span_f1"])


# rows without labels ------------------------------------------------------------------------------------------------------


def train_on(command: Command, place: Path, tiny: Path, data: str) -> None:
    """Train one task on mood.jsonl, whose further files `data` names."""
    rows = [{"text": f"good {i}", "label": "xy"[i % 2]} for i in range(12)]
    (place / "mood.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "null.jsonl").write_text('{"text": "good", "label": null}\n')
    (place / "bare.jsonl").write_text('{"text": "good"}\n')
    (place / "mine.yaml").write_text(
        f"output: run\nmodules: {{encoder: {{type: pretrained, name: {tiny}}}}}\n"
        f"tasks: {{mood: {{type: classification, path: [encoder], data: {{train: mood.jsonl{data}}}}}}}\n"
        "training: {epochs: 1, device: cpu}\n"
    )
    assert command("train", "mine.yaml")[0] == 0


@pytest.mark.parametrize("file", ["null.jsonl", "bare.jsonl"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_split_without_labels_is_left_out_with_a_warning(
    command: Command, place: Path, tiny: Path, split: str, file: str
) -> None:
    other = "test" if split == "dev" else "dev"
    train_on(command, place, tiny, f", {split}: {file}, split: {{{other}: 0.25}}")
    code, out, err = command("evaluate", "run", "--json")
    assert (code, err) == (0, f"warning: left out: task mood: no {split} row has a label\n")
    assert {key.split("/")[2] for key in json.loads(out)["scores"]} == {other}


@pytest.mark.parametrize("data", ["", ", test: bare.jsonl", ", dev: null.jsonl"])
def test_nothing_to_score_is_an_error(command: Command, place: Path, tiny: Path, data: str) -> None:
    train_on(command, place, tiny, data)
    code, out, err = command("evaluate", "run")
    assert (code, out) == (3, "")
    assert "no data set of the recipe has dev or test rows with labels" in err
    assert "--data task=file" in err


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        ("names=new.testb", 0, ""),
        ("names=new.txt", 0, ""),
        ("names:conll=new.csv", 0, ""),
        ("names:conl=new.testb", 2, "no file format is called this"),
        ("names:=new.testb", 2, "task:format=file"),
        ("mood=blank.csv", 0, "warning: blank.csv: mood: 1 rows have no text in column 'text'\n"),
    ],
)  # fmt: skip
def test_a_file_is_read_as_the_recipe_says_and_its_rows_are_told_of(
    command: Command, moved: Path, data: str, code: int, told: str
) -> None:
    for name in ("new.testb", "new.txt", "new.csv"):
        (moved / name).write_text("anna B-PER\nin O\n\nrome B-LOC\n")
    (moved / "blank.csv").write_text('text,label\n" ",up\ngood,down\n')
    found, _, err = command("evaluate", "run", "-d", data)
    assert found == code, err
    assert (err == told) if code == 0 else (told in err)


def test_no_row_to_answer_and_none_to_score_is_an_error(command: Command, moved: Path) -> None:
    for name in ("mood.csv", "pairs.jsonl", "names.conll"):
        (moved / name).unlink()
    code, out, err = command("evaluate", "run", "--predictions", "answers")
    assert (code, out, Path("answers").exists()) == (3, "", False)
    assert "there is no such file" in err


# artefacts that were written anew ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("resolved.yaml", None, "resolved.yaml: "),
        ("resolved.yaml", "tasks: 3\n", "resolved.yaml:"),
        (
            "records.jsonl",
            '{"step": 20, "task": "mood", "dataset": "mood", "split": "dev", "metric": "loss"}\n',
            "jsonl:1: is no",
        ),
        ("labels.json", "{}", "labels.json: has no entry"),
        ("data.json", "{}", "data.json: has no entry"),
        ("model.safetensors", None, "model.safetensors: the file is missing"),
    ],
)
def test_what_does_not_fit_together_ends_in_5(command: Command, moved: Path, name: str, content: str | None, rule: str) -> None:
    old, target = moved / "run" / "artefact", moved / "run" / "anew"
    with writing(target, kind="artefact") as folder:
        shutil.copytree(old, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json", name))
        if content is not None:
            (folder / name).write_text(content)
        if name == "model.safetensors":  # the encoder's file of the same name stays
            shutil.copy(old / "encoder" / name, folder / "encoder" / name)
    code, out, err = command("evaluate", target)
    assert (code, out) == (5, "")
    assert rule in err
    assert "bug" not in err
