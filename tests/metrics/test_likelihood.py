from __future__ import annotations

import math
import random

import pytest

from manyheads.errors import RecipeError
from manyheads.metrics import METRICS, Counted, Score


def test_perplexity_is_that_of_all_words_and_not_a_mean_over_rows() -> None:
    score = Score(["perplexity", "bits_per_word"])
    score.add([Counted(1)], [math.log(0.5)])
    score.add([Counted(3)], [3 * math.log(0.125)])
    assert score.compute() == pytest.approx({"perplexity": 2**2.5, "bits_per_word": 2.5})
    assert not METRICS["perplexity"].higher
    assert not METRICS["bits_per_word"].higher


def test_no_batching_changes_a_bit() -> None:
    draw = random.Random(3)
    items = [(Counted(draw.randint(1, 9)), -draw.random() * 10 ** draw.randint(-3, 3)) for _ in range(200)]
    whole = Score(["perplexity"])
    whole.add([g for g, _ in items], [p for _, p in items])
    draw.shuffle(items)
    first, other = Score(["perplexity"]), Score(["perplexity"])
    for i, (gold, predicted) in enumerate(items):
        (first if i % 3 else other).add([gold], [predicted])
    first.merge(other)
    assert first.compute() == whole.compute()


def test_what_is_no_likelihood_has_no_perplexity() -> None:
    with pytest.raises(RecipeError, match="needs likelihoods"):
        Score(["perplexity"], labels=["a", "b"])
    score = Score(["accuracy"])
    score.add([Counted(1)], [-1.0])
    with pytest.raises(RecipeError, match="metrics that fit: 'bits_per_word', 'perplexity'"):
        score.check()


def test_what_cannot_be_is_undefined() -> None:
    score = Score(["perplexity"])
    score.add([Counted(1)], [-1e6])
    assert math.isnan(score.compute()["perplexity"])
    assert score.undefined == {"perplexity": "its value is not finite"}
