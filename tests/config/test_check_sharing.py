"""What cannot be stitched is told where it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded

SHARING = """\
modules:
  words: {type: embedding, width: 12}
  one: {type: recurrent, width: 8}
  two: {type: recurrent, width: 8}
  stitch: {type: cross_stitch, columns: [pos, ner]}
  layers: {type: layer_stitch}
tasks:
  pos:
    type: tagging
    path:
      - words
      - one
      - {module: two, inputs: [words]}
      - {module: stitch, inputs: [one, two]}
      - {module: layers, inputs: [one, stitch.pos]}
    data: {train: pos.conll}
"""

LAST = "      - {module: layers, inputs: [one, stitch.pos]}\n"


def test_it_holds(load: Callable[..., Loaded]) -> None:
    assert load(SHARING).warnings == ()
    taken = SHARING.replace(LAST, "").replace("inputs: [one, two]}", "inputs: [one, two], take: ner}")
    assert load(taken.replace("  layers: {type: layer_stitch}\n", "")).warnings == ()


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("[pos, ner]", "[pos]", "5:41: `modules.stitch.columns` must be of length at least 2; found '[\"pos\"]'"),
        ("[pos, ner]", "[pos, ner, pos]", "5:52: two columns have the same name; found 'pos'"),
        ("[pos, ner]", "[pos, n.r]", "5:47: `modules.stitch.columns.1` must be at most 64 letters"),
        ("[pos, ner]", "[pos, ner], own: 1.5", "5:58: `modules.stitch.own` must be at most 1 or 'balanced'; found '1.5'"),
        ("[one, two]", "[one]", "14:34: module 'stitch' takes an input for each column, 'pos', 'ner', and the step has 1"),
        (", inputs: [one, two]", "", "14:9: module 'stitch' takes an input for each column, 'pos', 'ner', and the step has 1"),
        ("[one, stitch.pos]", "[stitch.pos]", "15:34: module 'layers' mixes layers, two or more, and the step has one input"),
        ("stitch.pos", "stitch.nr", "15:40: 'stitch' gives no such result; there are 'stitch.pos', 'stitch.ner'"),
        ("stitch.pos", "stitch", "15:40: 'stitch' gives 2 results, and an input is one of them; there are"),
        (LAST, "", "14:9: the path ends in 'stitch', which gives 2 results, and the head reads one"),
        (LAST.strip(" -\n"), "{module: two, name: again}", "15:9: the step reads the one before, 'stitch'"),
        ("two]}", "two], take: nr}", "14:52: 'stitch' gives no such result; there are 'pos', 'ner'; found 'nr'"),
        ("[words]}", "[words], take: pos}", "13:40: module 'two' gives one result, so there is nothing to choose from"),
    ],
)
def test_what_cannot_be_is_told_where_it_stands(refused: Callable[..., str], old: str, new: str, wanted: str) -> None:
    assert SHARING.count(old) == 1
    text = refused(SHARING.replace(old, new))
    assert any(line.startswith(f"recipe.yaml:{wanted}") for line in text.splitlines()), text


def test_what_has_no_effect_is_a_warning(load: Callable[..., Loaded]) -> None:
    text = SHARING.replace("inputs: [one, two]}", "inputs: [one, two], take: pos}").replace("8}", "8, freeze: true}", 1)
    warnings = load(f"{text}training:\n  orthogonality: {{modules: [two, one], strength: 1}}\n").warnings
    assert warnings == (
        "recipe.yaml:14:46: the next step names its inputs, so this choice has no effect; found 'pos'",
        "recipe.yaml:18:34: the module is frozen, so nothing moves its subspaces apart; found 'one'",
    )


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("{modules: [one, too], strength: 1}", "only recurrent modules have matrices of subspaces"),
        ("{modules: [words], strength: 1}", "only recurrent modules have matrices of subspaces"),
        ("{modules: [one], strength: 1, subspaces: 3}", "the subspaces must divide the width of the states"),
        ("{modules: [one], strength: 0}", "`training.orthogonality.strength` must be greater than 0; found '0'"),
        ("{modules: [one], strength: 1, matrices: [imput]}", "must be one of 'input', 'state'"),
    ],
)
def test_subspaces_that_cannot_be_kept_apart(refused: Callable[..., str], value: str, rule: str) -> None:
    text = refused(f"{SHARING}training:\n  orthogonality: {value}\n")
    assert text.startswith("recipe.yaml:18:")
    assert rule in text
