"""A tagging task whose head scores paths, from its recipe to its answers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from manyheads.api import load_recipe, recipe_from
from manyheads.artefact import load_artefact
from manyheads.assemble import assemble
from manyheads.inputs import Input
from manyheads.model import Model
from manyheads.nn.crf import Lattice
from manyheads.nn.heads import CrfHead
from manyheads.predict import Predictor
from manyheads.run import run
from manyheads.task.base import Reading
from manyheads.text.tags import invalid_moves
from manyheads.train.events import Evaluated, Event, Finished, Saved
from manyheads.types import Batch, States

CRF = "tasks.names.decoder=crf"
SCHEMES = {"BIO": "B-{} I-{}", "IOB1": "I-{} B-{}", "BIOUL": "B-{} L-{}", "IOBES": "B-{} E-{}"}


@pytest.fixture
def chained(recipe: Path) -> Path:
    """The recipe with names of two words, in sentences of unequal length of which the longest are cut."""
    draw = random.Random(4)
    lines = []
    for _ in range(30):
        for _ in range(draw.choice([1, 2, 3, 9])):
            lines += draw.choice([["anna B-PER", "omar I-PER"], ["in O"], ["rome B-LOC", "oslo I-LOC"], ["the O", "cat O"]])
        lines.append("")
    (recipe.parent / "names.conll").write_text("\n".join(lines))
    recipe.write_text(recipe.read_text().replace("max_length: 32", "max_length: 16"))
    return recipe


def head_of(model: Model) -> CrfHead:
    head = model.pool["names_head"]
    assert isinstance(head, CrfHead)
    return head


def inputs(words: Sequence[str], number: int = 60) -> Iterator[Input]:
    """Sentences, as words and as text; some are longer than the encoder reads, some have words without a piece."""
    draw = random.Random(5)
    for length in islice(iter(lambda: draw.randint(1, 30), None), number):
        sentence = draw.choices([*words, "\u200d", "zz"], k=length)
        yield sentence
        yield " ".join(sentence)


def tags_of(predictor: Predictor, given: Sequence[Input]) -> list[tuple[str, ...]]:
    values = [answer.predictions["names"].value for answer in predictor(given, ["names"])]
    return [value for value in values if isinstance(value, tuple)]


def test_a_chain_is_learned_kept_and_never_breaks_the_scheme(chained: Path) -> None:
    *events, last = run(load_recipe(chained, [CRF]))
    assert isinstance(last, Finished)
    losses = [{r.key: r.value for r in e.records}["names/names/dev/loss"] for e in events if isinstance(e, Evaluated)]
    assert losses[-1] < losses[0]
    artefact = load_artefact(last.artefact)
    head = head_of(artefact.model)
    assert artefact.blueprint.modules["names_head"].type == "crf_head"
    assert all(weights.any() for weights in (head.transitions, head.start, head.end))
    predictor = Predictor(artefact)
    given = list(inputs(["anna", "omar", "in", "rome", "oslo"]))
    found = tags_of(predictor, given)
    assert [len(tags) for tags, words in zip(found, given, strict=True) if isinstance(words, list)] == [
        len(words) for words in given if isinstance(words, list)
    ]
    assert len({tag for tags in found for tag in tags}) > 2
    assert [tags for tags in found if invalid_moves(tags, "BIO")] == []


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_weights_that_mean_nothing_keep_to_the_scheme_too(chained: Path, scheme: str) -> None:
    first, second = SCHEMES[scheme].split()
    (chained.parent / "names.conll").write_text(
        "".join(f"anna {first}\nomar {second}\nin O\n\n".format(name, name) for name in ["PER", "LOC"] * 15)
    )
    model = assemble(load_recipe(chained, [CRF, f"tasks.names.scheme={scheme}"])).build().eval()
    kind = model.tasks["names"].type
    lattice = head_of(model)(_states(40, 30, 16))
    found = [p.value for p in kind.predict("names", lattice, [Reading(words=30)] * 40) if isinstance(p.value, tuple)]
    assert [invalid_moves(tags, kind.scheme) for tags in found] == [[]] * 40  # type: ignore[arg-type]
    assert len({tag for tags in found for tag in tags}) > 2


def _states(rows: int, words: int, width: int) -> States:
    random = torch.Generator().manual_seed(2)
    at = torch.arange(words).expand(rows, words)
    return States(30 * torch.randn(rows, words, width, generator=random), at >= 0, at)


def test_a_run_that_was_left_ends_in_the_same_bits(chained: Path) -> None:
    often = [CRF, "training.checkpoint.every_steps=1", "training.steps=6"]

    def events(*overrides: str) -> Iterator[Event]:
        return run(load_recipe(chained, [*often, *overrides]))

    walk = events()
    for _ in range(3):
        next(event for event in walk if isinstance(event, Saved))
    walk.close()
    *_, resumed = events()
    *_, whole = events("output=whole")
    assert isinstance(resumed, Finished)
    assert isinstance(whole, Finished)
    one, other = (hashlib.sha256((e.artefact / "model.safetensors").read_bytes()).digest() for e in (resumed, whole))
    assert one == other


def test_batches_of_a_round_are_what_they_are_alone(chained: Path) -> None:
    assembly = assemble(load_recipe(chained, [CRF]))
    model, data = assembly.build().eval(), assembly.train["names"]
    for weights in (head_of(model).transitions, head_of(model).start, head_of(model).end):
        torch.nn.init.normal_(weights)
    order = data.lengths.argsort()
    short, long = data.batch(order[:4]), data.batch(order[-5:])
    assert short.width < long.width
    joined = model.losses([short, long])["names"]
    alone = [model.losses([batch])["names"] for batch in (short, long)]
    assert_close(joined, torch.stack(alone).sum())
    rows = [model.losses([data.batch([row])])["names"] for row in order[-5:]]
    assert_close(alone[1], torch.stack(rows).sum())


def test_another_tasks_loss_reaches_the_encoder_and_not_the_chain(chained: Path) -> None:
    assembly = assemble(load_recipe(chained, [CRF]))
    model = assembly.build()

    def moved(batch: Batch, task: str) -> dict[str, bool]:
        model.zero_grad()
        model.losses([batch])[task].backward()
        return {name: any(p.grad is not None and bool(p.grad.any()) for p in m.parameters()) for name, m in model.pool.items()}

    mood = moved(assembly.train["mood"].batch(range(4)), "mood")
    assert (mood["encoder"], mood["mood_head"], mood["names_head"]) == (True, True, False)
    names = moved(assembly.train["names"].batch(range(4)), "names")
    assert (names["encoder"], names["mood_head"], names["names_head"]) == (True, False, True)


def test_real_names_of_a_real_encoder(shared_data: Path, bert_tiny: Path, place: Path) -> None:
    lines = (shared_data / "wnut17" / "wnut17train.conll").read_text(encoding="utf-8").splitlines()
    (place / "names.conll").write_text("\n".join(lines[:6000]), encoding="utf-8")
    data = {"train": "names.conll", "split": {"dev": 0.3}}
    task = {"type": "tagging", "path": ["encoder"], "data": data, "decoder": "crf"}
    training = {"steps": 12, "batch": {"rows": 16}, "optimizer": {"lr": 1e-3}, "checkpoint": {"every_minutes": None}}
    encoder = {"type": "pretrained", "name": str(bert_tiny), "max_length": 48}
    loaded = recipe_from({"output": "run", "modules": {"encoder": encoder}, "tasks": {"names": task}, "training": training})
    fresh = assemble(loaded)
    *_, last = run(loaded)
    assert isinstance(last, Finished)
    model, dev = load_artefact(last.artefact).model.eval(), fresh.dev["names"]
    batch, kind = dev.batch(range(len(dev))), model.tasks["names"].type
    with torch.no_grad():
        before, after = (m.losses([batch])["names"] for m in (fresh.build().eval(), model))
        lattice = model.answer(batch)["names"].scores
    assert isinstance(lattice, Lattice)
    assert after < before / 2
    assert all(not invalid_moves(p.value, "BIO") for p in kind.predict("names", lattice, None) if isinstance(p.value, tuple))
    assert kind.judge(lattice, dev.gold("names", range(len(dev)))).predicted
