"""Models of words as a user meets them: what `check` says of vocabularies, bad input, and what comes of a trained one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Command

RECIPE = """\
version: 1
seed: 1
output: run
modules:
  words: {type: embedding, width: 3, max_length: 20}
  lstm: {type: recurrent, width: 4}
tasks:
  mood: {type: classification, path: [words, lstm], data: {train: mood.csv, dev: dev.csv}}
  pos: {type: tagging, scheme: none, path: [words, lstm], data: {train: tags.jsonl, dev: tags.jsonl}}
training: {epochs: 2, batch: {rows: 2}, threads: 1, device: cpu}
"""
TAGGED = [(["the", "film"], ["DET", "NOUN"]), (["a", "song"], ["DET", "NOUN"])]


@pytest.fixture
def words(place: Path) -> Path:
    """The recipe; a quarter of the words of its dev rows are unknown, one row has no other."""
    (place / "mood.csv").write_text("text,label\na good film,up\na bad film,down\nso good,up\nso bad,down\n")
    (place / "dev.csv").write_text("text,label\na good film,up\nthe film zag,down\nzig,down\n,up\n" + "film " * 30 + ",up\n")
    (place / "tags.jsonl").write_text("".join(json.dumps({"words": w, "tags": t}) + "\n" for w, t in TAGGED))
    (place / "r.yaml").write_text(RECIPE)
    return place / "r.yaml"


def joined(name: str, kind: str) -> str:
    """The recipe, its paths beginning with the words and another module that reads them."""
    text = RECIPE.replace("  lstm:", f"  {name}: {{type: {kind}}}\n  both: {{type: concat}}\n  lstm:")
    reads = [f"{{module: {module}, inputs: [batch.text]}}" for module in ("words", name)]
    return text.replace("[words, lstm]", f"[{', '.join(reads)}, {{module: both, inputs: [words, {name}]}}, lstm]")


# what is told of vocabularies -------------------------------------------------------------------------------------------


def test_check_tells_what_vocabularies_know(command: Command, words: Path) -> None:
    (words.parent / "v.txt").write_text("good 1 2 3\nbad 4 5 6\nother 7 8 9\n")
    code, out, err = command("check", words, "modules.words.vectors=v.txt")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["mood", "7", "7", "0.0%", "5.4%", "–"] in rows
    assert ["pos", "7", "7", "0.0%", "0.0%", "–"] in rows
    assert "words: the file of vectors has 28.6% of the known words" in out
    assert "mood: 1 dev rows have unknown words alone, so that all of one length read alike" in err
    assert "mood: 1 dev rows (20%) are longer than the limit and are cut" in err
    assert "mood: 1 rows have no text in column 'text'" in err
    told = json.loads(command("check", words, "modules.words.vectors=v.txt", "--json")[1])["vocabularies"]
    assert told == [
        {
            "modules": ["words"],
            "words": 7,
            "known": 7,
            "vectors": {"words": pytest.approx(2 / 7)},
            "unknown": {"mood": {"train": 0, "dev": pytest.approx(2 / 37)}, "pos": {"train": 0, "dev": 0}},
            "strangers": {"mood": {"train": 0, "dev": 1}, "pos": {"train": 0, "dev": 0}},
            "letters": False,
        }
    ]


def test_many_unknown_words_are_warned_of_unless_letters_are_read(command: Command, words: Path) -> None:
    assert "unknown to" not in command("check", words)[2]
    rare = "modules.words.vocabulary={min_count: 3}"
    err = command("check", words, rare)[2]
    assert "pos: 50.0% of the words in dev rows are unknown to 'words'; widen the `vocabulary`, or read `characters`" in err
    assert "mood: 10.8% of the words" not in err
    words.write_text(joined("letters", "characters"))
    code, _, err = command("check", words, rare)
    assert (code, "unknown" in err) == (0, False)


def test_models_of_pieces_have_no_table_of_words(command: Command, recipe: Path) -> None:
    out = command("check", recipe)[1]
    assert "known" not in out
    assert json.loads(command("check", recipe, "--json")[1])["vocabularies"] == []


# bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("width: 3", "vectors: ragged.txt", "ragged.txt:2: each line is a word and its vector of 3 numbers, as the first one"),
        ("width: 3", "vectors: odd.txt", "odd.txt:1: a vector is of numbers; found 'x'"),
        ("width: 3", "width: 3, vectors: wide.txt", "r.yaml:5:35: the vectors of 'wide.txt' have another width, 4; found '3'"),
        ("width: 3", "vectors: no.txt", "r.yaml:5:37: no vectors are found: there is neither such a file nor a package"),
        ("width: 3", "width: 3, vocabulary: {file: no.txt}", "r.yaml:5:57: the list of words cannot be read: No such file"),
        ("width: 3", "width: 3, vocabulary: {file: empty.txt}", "r.yaml:5:57: the list of words is empty; found"),
        ("width: 3", "width: 3, vocabulary: {min_count: 9}", "r.yaml:5:62: no word is left in the vocabulary: of 7 different"),
        ("mood.csv", "blank.csv, max_length: 9", "r.yaml:5:10: no word is left in the vocabulary: the training rows hold none"),
        ("tags.jsonl, dev", "none.jsonl, dev", "none.jsonl:1: column 'words' holds no word"),
        ("dev: dev.csv", "dev: dev.csv, max_length: 21", "r.yaml:8:103: the data set's limit is above that of the module"),
        ("lstm: {type: recurrent, width: 4}", "lstm: {type: transformer, heads: 1, max_length: 19}",
         "r.yaml:6:51: the transformer has fewer positions than 'words' before it reads, which is up to 20; found '19'"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_place(command: Command, words: Path, old: str, new: str, told: str) -> None:
    files = {
        "ragged.txt": "good 1 2 3\nbad 4 5\n",
        "odd.txt": "good 1 x 3\n",
        "wide.txt": "good 1 2 3 4\n",
        "empty.txt": "\n",
        "blank.csv": 'text,label\n"",up\n" ",down\n',
        "none.jsonl": '{"words": [], "tags": []}\n',
    }
    for name, text in files.items():
        (words.parent / name).write_text(text)
    text = RECIPE.replace(old, new)
    if "blank" in new:  # the other task would bring words of its own
        text = text.replace("path: [words, lstm], data: {train: tags", "path: [more, lstm], data: {train: tags")
        text = text.replace("  lstm:", "  more: {type: embedding, width: 3}\n  lstm:")
    words.write_text(text)
    code, _, err = command("check", words)
    assert code > 1
    assert told in err


def test_two_descriptions_of_one_vocabulary(command: Command, words: Path) -> None:
    text = joined("more", "embedding, width: 3, vocabulary: {lower: false}")
    words.write_text(text.replace("max_length: 20", "vocabulary: {min_count: 2}"))
    code, _, err = command("check", words)
    assert code == 2
    assert "r.yaml:6:49: modules that read the same data sets read by one vocabulary, and 'words' describes another" in err
    assert "describe it at one of the two, here or at modules.words.vocabulary" in err


# a trained one ----------------------------------------------------------------------------------------------------------


def test_a_trained_model_of_words(command: Command, words: Path) -> None:
    assert command("train", words)[0] == 0
    code, out, err = command("predict", "run", "the good film", "", "zig zag", "film " * 30)
    assert code == 0
    assert "20 pieces" not in out
    assert "10 pieces at its end are not read" in err
    tags = [line.split(": ")[1] for line in out.splitlines() if line.startswith("  pos")]
    assert [part.split("/")[0] for part in tags[0].split()] == ["the", "good", "film"]
    assert {part.split("/")[1] for part in tags[0].split()} <= {"DET", "NOUN"}
    assert tags[1] == "none"
    Path("in.jsonl").write_text('{"words": ["a", "song"]}\n{"words": []}\n')
    code, out, _ = command("predict", "run", "--json", "-i", "in.jsonl")
    assert code == 0
    assert [len(json.loads(line)["tasks"]["pos"]["tags"]) for line in out.splitlines()] == [2, 0]

    code, out, err = command("export", "run", "out")
    assert (code, out) == (2, "")
    for task in ("mood", "pos"):
        assert f"tasks.{task}.path: a plain model begins with a pretrained encoder, and this path with 'words'" in err
    assert not Path("out").exists()
    code, _, err = command("merge", "run", "merged")
    assert code == 2
    assert "the model has no adapters, so there is nothing to merge" in err

    card = Path("run/artefact/README.md").read_text()
    assert "\n2 tasks, trained together with manyheads.\n" in card
    assert "| mood | 7 | 7 | train 0.0%, dev 5.4% |" in card
