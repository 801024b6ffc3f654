"""docs/mixture.md: a section for every sampling, with an example that holds."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from manyheads.config.spec.mixture import SAMPLING_KEYS, SAMPLING_NEEDS, TOGETHER, MixtureSpec
from manyheads.config.spec.training import BatchSpec
from manyheads.data import mixture
from manyheads.data.mixture import SAMPLINGS
from manyheads.data.stream import Position, Stream

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mixture.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^###? (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_sampling_has_a_section() -> None:
    assert set(SECTIONS) == set(SAMPLINGS) == set(SAMPLING_KEYS)


@pytest.mark.parametrize("sampling", sorted(SAMPLINGS))
def test_its_example_is_of_that_sampling_and_holds(sampling: str) -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```$", SECTIONS[sampling], re.MULTILINE | re.DOTALL)
    assert examples
    for text in examples:
        spec = MixtureSpec.model_validate(YAML(typ="safe").load(text)["mixture"])
        assert spec.sampling == sampling
        order = mixture.order(spec, ["news", "mood", "tags"], [50, 20, 8], 13, 0)
        assert set(order.tolist()) >= {0, 1} or sampling == "shares"
        for option in SAMPLING_NEEDS.get(sampling, ()):
            assert f"{option}:" in text


def test_replay_is_phases_with_small_shares_of_what_came_before() -> None:
    [text] = re.findall(r"^## Replay.*?^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    sizes = {"mood": 20, "news": 50, "tags": 40}
    rows = {name: np.full(4 * batches, 7) for name, batches in sizes.items()}
    stream = Stream(rows, MixtureSpec.model_validate(YAML(typ="safe").load(text)["mixture"]), BatchSpec(rows=4), 13)
    draws = [draw.dataset for [draw], _ in islice(stream.rounds(Position.start(list(rows))), stream.rounds_in(0))]
    first, second = 2 * 20, -(-2 * 50 * 10 // 9)  # draws, the second rounded up
    parts = [Counter(draws[:first]), Counter(draws[first : first + second]), Counter(draws[first + second :])]
    assert parts[0] == {"mood": 40}
    assert parts[1]["news"] == pytest.approx(100, abs=1)
    assert parts[1]["mood"] == pytest.approx(11, abs=1)
    assert parts[2]["tags"] == pytest.approx(80, abs=1)
    assert parts[2]["mood"] == pytest.approx(4, abs=1) == parts[2]["news"]
    assert set(draws[first + second - 20 :]) == set(sizes)


def test_the_samplings_of_rounds_of_all_are_told() -> None:
    [(told, refused)] = re.findall(
        r"^## Rounds of all.*?who takes part(.*?)With the others(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r"`(\w+)`", told)) == TOGETHER
    assert set(re.findall(r"`(\w+)`", refused)) == set(SAMPLINGS) - TOGETHER


@pytest.mark.parametrize("sampling", [n for n in sorted(SAMPLINGS) if SAMPLING_KEYS[n]])
def test_its_options_are_told(sampling: str) -> None:
    for option in SAMPLING_KEYS[sampling]:
        assert option in SECTIONS[sampling]
