"""README.md of an artefact: the model card, in the form that model hubs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from manyheads.blueprint import Blueprint
from manyheads.nn.stitch import Shares
from manyheads.types import Record
from manyheads.vocabularies import VocabularyFacts

_EXAMPLES = {
    "text": '"A text of your own"',
    "words": '"A text of your own"',
    "pair": '("A text", "and another")',
    "towers": '("A text", "and another")',
    "choices": '("A text", ["one choice", "another"])',
    "windows": '("A question?", "The text that holds the answer.")',
}


def card(
    name: str,
    blueprint: Blueprint,
    records: Sequence[Record],
    rows: Mapping[str, Mapping[str, int]],
    facts: Mapping[str, str],
    shares: Mapping[str, Shares] | None = None,
    vocabularies: Sequence[VocabularyFacts] = (),
) -> str:
    """Markdown with a YAML head: tasks, data, scores, what units of learned sharing learned, how to use it, how it was made.

    `rows` is data set to split to count; `facts` are lines such as versions and the seed.
    """
    parts = [
        _head(name, records),
        f"# {_plain(name)}\n",
        f"{_kind(blueprint)}\n",
        "## Tasks\n",
        _table(("task", "type", "reads", "path"), _tasks(blueprint)),
        "## Data\n",
        _table(
            ("data set", "rows"), ((_plain(d), ", ".join(f"{s} {n}" for s, n in splits.items())) for d, splits in rows.items())
        ),
        *_words(vocabularies),
        "## Scores\n",
        _table(("task", "data", "split", "metric", "value"), _scores(records)),
        *_sharing(shares or {}),
        "## Use\n",
        '```python\nfrom manyheads import Predictor\n\npredictor = Predictor.load("path/to/this/folder")\n'
        f"for answer in predictor([{_examples(blueprint)}]):\n    print(answer.to_json())\n```\n",
        "## How it was made\n",
        "\n".join(f"- {_plain(k)}: {_plain(v)}" for k, v in facts.items()),
        "\nThe recipe stands beside this file: `recipe.yaml` as given, `resolved.yaml` with every default.\n",
        "## Limits\n\nScores hold for data like those above. Labels, languages and lengths that were not trained are not\n"
        "covered; texts longer than the encoder's limit are cut, and the answer says by how many pieces.\n",
    ]
    return "\n".join(parts)


def _kind(blueprint: Blueprint) -> str:
    """A sentence: what reads for the tasks, where it was trained before, and how many there are."""
    read = {
        "encoder": sum(plan.type == "pretrained" for plan in blueprint.modules.values()),
        "ELMo": sum(plan.type == "elmo" for plan in blueprint.modules.values()),
    }
    parts = [f"{count} {what}{'s' * (count > 1)}" for what, count in (*read.items(), ("task", len(blueprint.tasks))) if count]
    return f"{', '.join(parts)}, trained {'together ' * (len(blueprint.tasks) > 1)}with manyheads."


def _words(vocabularies: Sequence[VocabularyFacts]) -> Iterable[str]:
    """What each vocabulary has of the words of its data sets, and the vectors it began with."""
    if vocabularies:
        yield "## Words\n"
        head = ("data set", "different words", "known words", "unknown")
        yield _table(head, (row for facts in vocabularies for row in _of_words(facts)))
    for facts in vocabularies:
        for module, share in facts.vectors.items():
            yield f"The file of vectors of {_plain(module)} has {share:.1%} of the known words.\n"


def _of_words(facts: VocabularyFacts) -> Iterable[Sequence[str]]:
    for name, shares in facts.unknown.items():
        unknown = ", ".join(f"{split} {share:.1%}" for split, share in shares.items())
        yield _plain(name), f"{facts.words:,}", f"{facts.known:,}", unknown


def _examples(blueprint: Blueprint) -> str:
    """An input for each way in which tasks read."""
    return ", ".join(dict.fromkeys(_EXAMPLES[plan.reads] for plan in blueprint.tasks.values()))


def _head(name: str, records: Sequence[Record]) -> str:
    """The metadata block: JSON in which letters that YAML would not show are escaped, so no name can break out of it."""
    results = [
        {
            "task": {"type": "other", "name": r.task},
            "dataset": {"type": r.dataset, "name": r.dataset, "split": r.split},
            "metrics": [{"type": r.metric, "value": r.value}],
        }
        for r in records
        if r.value == r.value
    ]
    index = json.dumps([{"name": name, "results": results}], ensure_ascii=False, allow_nan=False)
    safe = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in index)
    return f"---\nlibrary_name: manyheads\ntags: [multi-task]\nmodel-index: {safe}\n---\n"


def _tasks(blueprint: Blueprint) -> Iterable[Sequence[str]]:
    for name, plan in blueprint.tasks.items():
        yield _plain(name), plan.type, plan.reads, _plain(" → ".join(s.result for s in plan.path))


def _scores(records: Sequence[Record]) -> Iterable[Sequence[str]]:
    for r in records:
        yield (
            _plain(r.task),
            _plain(r.dataset),
            r.split,
            _plain(r.metric),
            f"{r.value:.4f}" if r.value == r.value else "undefined",
        )


def _sharing(shares: Mapping[str, Shares]) -> Iterable[str]:
    """A table for each unit: from the row, to the column."""
    if shares:
        yield "## Sharing\n\nThe learned weights of each unit: what flows from a row to a column.\n"
    for name, found in shares.items():
        head = [f"{_plain(name)}: from, to", *map(_plain, found.results)]
        rows = zip(map(_plain, found.sources), found.weights, strict=True)
        yield _table(head, ([source, *(f"{w:.4f}" for w in weights)] for source, weights in rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean.translate({ord(sign): f"&#{ord(sign)};" for sign in "\\`*_{}[]<>#|&"})
