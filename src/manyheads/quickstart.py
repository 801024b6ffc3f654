"""`make quickstart`: three disjoint real data sets, one encoder, from files to answers in a few minutes.

Everything happens in the folder `quickstart`: the data as plain files to look at, the recipe, the run. Each step is the
command that a user would type; its line is printed before it runs.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from manyheads.cli.app import run
from manyheads.cli.console import note
from manyheads.packages import package_path, verify

FOLDER = Path("quickstart")
TEXTS = (
    "Adele plays three nights at Wembley Stadium in July and I can't wait!!",
    "Shares in Sony fell 4% in Tokyo after a weak forecast.",
)
RECIPE = """\
# Three tasks whose data sets have no row in common, on one pretrained encoder.
# Every key and its default: docs/recipe.md, or `manyheads schema`.
version: 1
seed: 13
output: quickstart/run

modules:
  encoder: {type: pretrained, name: minilm, max_length: 64}

tasks:
  sentiment:                     # tweets: negative, neutral, positive
    type: classification
    path: [encoder]
    data:
      {train: data/tweets.csv, encoding: latin-1, text: text, label: sentiment, split: {dev: 0.02, test: 0.03}, limit: 6000}
    metrics: [f1_macro]
  topic:                         # news articles in folders, a folder a topic
    type: classification
    path: [encoder]
    data: {format: folders, train: data/news, text: text, label: label, split: {dev: 0.1, test: 0.2}, limit: 800}
    metrics: [f1_macro]
  entities:                      # tweets, a word and its tag a line
    type: tagging
    path: [encoder]
    data: {format: conll, train: data/entities.txt, split: {dev: 0.1, test: 0.2}}
    metrics: [accuracy]

mixture: {sampling: shares, shares: {sentiment: 0.42, topic: 0.2, entities: 0.38}, epoch: 90}  # shares of the batches

training:
  epochs: 3
  batch: {tokens: 1024}          # padded pieces in a batch
  optimizer: {name: adamw, lr: 2.0e-4, head_lr: 1.0e-3}
"""


def main() -> int:
    """Run the steps; the exit code of the first that fails, else 0."""
    prepare(FOLDER)
    recipe, artefact = str(FOLDER / "recipe.yaml"), str(FOLDER / "run" / "artefact")
    for arguments in (["check", recipe], ["train", recipe], ["predict", artefact, *TEXTS]):
        print(f"\n$ manyheads {' '.join(a if ' ' not in a else repr(a) for a in arguments)}", flush=True)
        code = run(arguments)
        if code:
            return code
    command = os.path.relpath(Path(sys.executable).with_name("manyheads"))
    note("\nNext, try:")
    for line, meaning in (
        (f"inspect {recipe}", "tasks, paths, what they share"),
        (f"predict {artefact} 'A text of your own'", "all tasks, one pass"),
        (f"evaluate {artefact}", "the scores again, from the saved model"),
        (f"train {recipe} seed=14 output=runs/seed-14", "any key can be set like this"),
        ("init my.csv my.conll", "a recipe from your own files"),
    ):
        note(f"  {command} {line:<55}  # {meaning}")
    return 0


def prepare(folder: Path) -> None:
    """The data sets as files and the recipe, in `folder`; packages are checked against their sha256 first."""
    for name in ("minilm", "tweets", "bbc-news", "tweet-entities"):
        verify(name)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(package_path("tweets"), data / "tweets.csv")
    shutil.copyfile(package_path("tweet-entities"), data / "entities.txt")
    for article in sorted(package_path("bbc-news").glob("*/*.txt")):
        copy = data / "news" / article.parent.name / article.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(_utf8(article.read_bytes()))
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    note(f"data and recipe are in {folder}")


def _utf8(raw: bytes) -> bytes:
    """One of the 2,225 articles is in Latin-1, the others are UTF-8."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1").encode("utf-8")
    return raw


if __name__ == "__main__":
    sys.exit(main())
