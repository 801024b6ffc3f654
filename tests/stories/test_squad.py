"""Our scores of answers beside the rule of the official scorers of SQuAD, written down again here from their description.

A prediction is compared with each accepted answer, both in lower case, without ASCII punctuation, without the words a, an and
the, and with single spaces; the best comparison counts. Exact match is equality; F1 is that of the words that both have. The
scorer of 2.0 leaves out accepted answers of which nothing is left, a question without any is answered by the empty text, and
two texts of which one is empty have F1 1 if both are, else 0. The scorer of 1.1 leaves out nothing, and texts without a word
in common have F1 0.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from manyheads.api import load_recipe
from manyheads.cli.app import run as command
from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.metrics.reading import Accepted, answer_f1, exact_match
from manyheads.run import run
from manyheads.train.events import Finished

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@cache
def words(text: str) -> list[str]:
    """By hand, letter by letter: an article goes where no letter, digit or underscore stands beside it."""
    left = "".join(c for c in text.lower() if c not in PUNCTUATION)
    runs: list[str] = []
    for i, c in enumerate(left):
        inner = c.isalnum() or c == "_"
        if i and inner == (left[i - 1].isalnum() or left[i - 1] == "_"):
            runs[-1] += c
        else:
            runs.append(c)
    return "".join(" " if part in ("a", "an", "the") else part for part in runs).split()


def f1_of(gold: Sequence[str], found: Sequence[str], version: str) -> float:
    if version == "2.0" and not (gold and found):
        return float(gold == found)
    rest, same = list(gold), 0
    for word in found:
        if word in rest:
            rest.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def official(accepted: Sequence[str], found: str, version: str) -> tuple[float, float]:
    """Exact match and F1 of one answer."""
    golds = [words(text) for text in accepted]
    if version == "2.0":
        golds = [gold for gold in golds if gold] or [[]]
    return max(float(gold == words(found)) for gold in golds), max(f1_of(gold, words(found), version) for gold in golds)


def ours(accepted: Sequence[str], found: str) -> tuple[float, float]:
    gold = [Accepted(tuple(accepted))]
    return exact_match(gold, [found], ()), answer_f1(gold, [found], ())


SPOILS: Sequence[Callable[[str, str, random.Random], str]] = (
    lambda gold, text, draw: gold,
    lambda gold, text, draw: f"The {gold}.",
    lambda gold, text, draw: gold.upper(),
    lambda gold, text, draw: "".join(f"{c}-" if draw.random() < 0.1 else c for c in gold),
    lambda gold, text, draw: "  ".join(f"an {word}," for word in gold.split()),
    lambda gold, text, draw: gold[: draw.randint(0, len(gold))],
    lambda gold, text, draw: gold[draw.randint(0, len(gold)) :],
    lambda gold, text, draw: f"{gold} {gold.split()[0] if gold.split() else ''}",
    lambda gold, text, draw: " ".join(draw.sample(gold.split(), len(gold.split()))),
    lambda gold, text, draw: text[(at := draw.randrange(len(text))) : at + draw.randint(1, 60)],
    lambda gold, text, draw: draw.choice(["", "the", ".", "a. An, THE", " ", "‘’", "—"]),
)
"""What a model may get wrong: of an accepted answer and the text that it stands in."""


def hard(rows: Sequence[Mapping[str, Any]], seed: int) -> list[tuple[list[str], str]]:
    """Accepted answers and a prediction, of every question one for each way to spoil an answer."""
    draw = random.Random(seed)
    return [
        (list(row["answers"]), spoil(draw.choice(list(row["answers"]) or [""]), row["context"], draw))
        for row in rows
        for spoil in SPOILS
    ]


def rows_of(path: Path) -> list[Mapping[str, Any]]:
    return [row.values for row in read_rows(DataSpec(test=path.name, format="squad"), "test", path.parent).rows]


def require_equal(found: Sequence[tuple[list[str], str]], version: str) -> None:
    """Answer by answer, and as the mean of all."""
    theirs = [official(accepted, answer, version) for accepted, answer in found]
    for (accepted, answer), wanted in zip(found, theirs, strict=True):
        apart = [abs(one - other) for one, other in zip(ours(accepted, answer), wanted, strict=True)]
        assert max(apart) < 1e-12, (accepted, answer)
    golds, answers = [Accepted(tuple(accepted)) for accepted, _ in found], [answer for _, answer in found]
    means = [sum(column) / len(found) for column in zip(*theirs, strict=True)]
    assert [exact_match(golds, answers, ()), answer_f1(golds, answers, ())] == pytest.approx(means, abs=1e-9)
    assert 0.2 < means[0] < means[1] < 0.9  # neither all right nor all wrong


SECOND = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rome",
            "paragraphs": [
                {
                    "context": "The A.S. Roma of the 1990s played at the Stadio Olimpico; an anthem, \"Roma, Roma\", was sung.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "the Stadio Olimpico", "answer_start": 37}]},
                        {"id": "2", "question": "Coach?", "answers": [], "is_impossible": True},
                        {
                            "id": "3",
                            "question": "What was sung?",
                            "answers": [{"text": "Roma, Roma", "answer_start": 70}, {"text": "an anthem", "answer_start": 58}],
                        },
                        {"id": "4", "question": "Odd?", "answers": [{"text": "The", "answer_start": 0}]},
                        {"id": "5", "question": "When?", "answers": [{"text": "1990s", "answer_start": 21}]},
                    ],
                }
            ],
        }
    ],
}  # fmt: skip


def test_the_rule_of_version_2_where_some_have_no_answer(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps(SECOND))
    rows = rows_of(tmp_path / "dev.json")
    assert [len(row["answers"]) for row in rows] == [1, 0, 2, 1, 1]
    require_equal([pair for seed in range(30) for pair in hard(rows, seed)], "2.0")


def test_the_rules_of_both_versions_on_the_published_dev_set(shared_data: Path) -> None:
    every = rows_of(shared_data / "squad" / "dev-v1.1.json")
    assert len(every) == 10570
    rows = [row for i, row in enumerate(every) if i % 8 == 0 or not all(map(words, row["answers"]))]
    found = [pair for seed in (5, 6) for pair in hard(rows, seed)]
    require_equal(found, "2.0")
    odd = [pair for pair in found if not words(pair[1]) and not all(map(words, pair[0]))]
    require_equal([pair for pair in found if pair not in odd], "1.1")
    assert odd  # "." is accepted by three questions, so that 1.1 takes the empty text for right, and its words for wrong
    assert all((official(*pair, "1.1"), ours(*pair)) == ((1.0, 0.0), (0.0, 0.0)) for pair in odd)


RECIPE = """\
seed: 5
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 64}}}}
defaults: {{path: [encoder]}}
tasks:
  who:
    type: question_answering
    data: {{train: who.json, dev: who.json, format: squad, stride: 4, max_length: 24}}
    metrics: [exact_match]
  where: {{type: multiple_choice, data: {{train: where.jsonl, dev: where.jsonl, pair: asked, choices: choices}}}}
  mood: {{type: classification, data: {{train: mood.csv, dev: mood.csv, max_length: 8}}}}
  bare: {{type: question_answering, data: {{train: bare.jsonl, dev: asked.jsonl, max_length: 12}}}}
training: {{epochs: 6, batch: {{rows: 6}}, optimizer: {{lr: 5.0e-3}}, checkpoint: {{every_minutes: null}}, device: cpu}}
"""


def long_ones(count: int) -> Iterator[dict[str, Any]]:
    """Texts of several windows, each with two answers to choose from."""
    draw = random.Random(3)
    for i in range(count):
        before, between = (" ".join(draw.choices(["a", "cat", "dog", "in", "rome", "the", "film"], k=12)) for _ in range(2))
        text = f"{before} by {draw.choice(['anna', 'omar'])} {between} by anna"
        yield {"id": f"n{i}", "question": "by ?", "context": text, "answers": ["anna"], "starts": [len(text) - 4]}


def test_the_official_rule_gives_the_written_predictions_our_scores(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate --predictions` writes choices and answers, and {id: answer} where questions have ids.

    Data sets have limits below that of their encoder, within which they are answered as they are scored.
    """
    (place / "who.json").write_text(json.dumps(SECOND))
    choices = [
        {"text": "anna in", "asked": "by omar", "choices": ["rome", "oslo", "a cat"][: 2 + i % 2], "label": i % 2}
        for i in range(12)
    ]
    (place / "where.jsonl").write_text("".join(json.dumps(row) + "\n" for row in choices))
    beyond = ["by anna at rome the dog", "in oslo a cat by omar"]  # what two labels on the same pieces might be told apart by
    moods = [(f"a {word} film in the song {beyond[i % 2]}", word) for i in range(12) for word in ("good", "bad")]
    (place / "mood.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in moods))
    bare = [{"question": "by ?", "context": "a cat by anna", "answers": ["anna"], "starts": [9]}] * 3
    asked = list(long_ones(24))
    for name, rows in (("bare", bare), ("asked", asked)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "recipe.yaml").write_text(RECIPE.format(encoder=tiny))
    assert command(["train", "recipe.yaml"]) == 0
    capsys.readouterr()
    assert command(["evaluate", "run", "--predictions", "answers", "--json"]) == 0
    told = capsys.readouterr()
    assert "wrote answers/who.dev.json: 5 rows" in told.err
    scores = json.loads(told.out)["scores"]
    assert {p.name for p in Path("answers").iterdir()} == {
        "who.dev.jsonl", "who.dev.json", "where.dev.jsonl", "mood.dev.jsonl", "bare.dev.jsonl", "bare.dev.json",
    }  # fmt: skip
    given = json.loads(Path("answers/who.dev.json").read_text())
    wanted = {row["id"]: row["answers"] for row in rows_of(place / "who.json")}
    assert given.keys() == wanted.keys()
    both = [official(wanted[name], answer, "2.0") for name, answer in given.items()]
    assert scores["who/who/dev/exact_match"] == pytest.approx(sum(e for e, _ in both) / 5)
    assert scores["who/who/dev/answer_f1"] == pytest.approx(sum(f for _, f in both) / 5)
    assert scores["who/who/dev/answer_f1"] > 0
    given = json.loads(Path("answers/bare.dev.json").read_text())
    means = [official(row["answers"], given[row["id"]], "2.0")[1] for row in asked]
    assert scores["bare/bare/dev/answer_f1"] == pytest.approx(sum(means) / 24)
    assert 0 < sum(means) < 24
    lines = [json.loads(line) for line in Path("answers/where.dev.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(12))
    assert [line["text"] for line in lines] == [
        row["choices"][line["choice"]] for row, line in zip(choices, lines, strict=True)
    ]
    right = [line["choice"] == row["label"] for row, line in zip(choices, lines, strict=True)]
    assert scores["where/where/dev/accuracy"] == pytest.approx(sum(right) / 12)
    lines = [json.loads(line) for line in Path("answers/mood.dev.jsonl").read_text().splitlines()]
    same = [line["probabilities"] for line in lines[:2]]
    assert all(line["probabilities"] == pytest.approx(same[i % 2], abs=1e-6) for i, line in enumerate(lines))
    losses = [-math.log(line["probabilities"][label]) for line, (_, label) in zip(lines, moods, strict=True)]
    records = [json.loads(line) for line in Path("run/records.jsonl").read_text().splitlines()]
    told = [r["value"] for r in records if (r["task"], r["split"], r["metric"]) == ("mood", "dev", "loss")]
    assert min(abs(sum(losses) / len(losses) - value) for value in told) < 1e-6


REAL = """\
seed: 13
output: run
modules: {{encoder: {{type: pretrained, name: {encoder}, max_length: 128}}}}
tasks:
  read:
    type: question_answering
    path: [encoder]
    data: {{train: train.json, dev: dev.json, format: squad, stride: 32, limit: 640}}
    metrics: [exact_match]
training:
  epochs: 2
  batch: {{rows: 8}}
  optimizer: {{lr: 2.0e-4, head_lr: 1.0e-3}}
  schedule: {{name: linear, warmup: 0.1}}
  evaluate_first: true
  checkpoint: {{every_minutes: null}}
  device: cpu
"""


def short(article: Mapping[str, Any], words: int = 70) -> dict[str, Any]:
    """The article with its short paragraphs alone, which are read sooner."""
    return {**article, "paragraphs": [p for p in article["paragraphs"] if len(p["context"].split()) <= words]}


@pytest.mark.slow
def test_a_small_encoder_learns_to_answer_questions(place: Path, shared_data: Path, minilm: Path) -> None:
    """Other articles than those it learned from; without training a span is right by luck alone."""
    for name, source in (("train", "train-17articles"), ("dev", "xquad.en")):
        file = json.loads((shared_data / "squad" / f"{source}.json").read_text(encoding="utf-8"))
        (place / f"{name}.json").write_text(json.dumps({**file, "data": [short(article) for article in file["data"]]}))
    (place / "recipe.yaml").write_text(REAL.format(encoder=minilm))
    *_, last = run(load_recipe(place / "recipe.yaml"))
    assert isinstance(last, Finished)
    found = {(r.step, r.metric): r.value for r in last.records if r.split == "dev"}
    first, best = found[0, "answer_f1"], found[last.best, "answer_f1"]
    assert first < 0.1
    assert best > first + 0.15
    assert found[last.best, "exact_match"] > found[0, "exact_match"] + 0.05
