"""docs/mixture.md: a section for every sampling, with an example that holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from manyheads.config.spec.mixture import SAMPLING_KEYS, SAMPLING_NEEDS, MixtureSpec
from manyheads.data import mixture
from manyheads.data.mixture import SAMPLINGS

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


@pytest.mark.parametrize("sampling", [n for n in sorted(SAMPLINGS) if SAMPLING_KEYS[n]])
def test_its_options_are_told(sampling: str) -> None:
    for option in SAMPLING_KEYS[sampling]:
        assert option in SECTIONS[sampling]
