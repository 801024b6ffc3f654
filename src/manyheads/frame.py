"""Scores as a table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def to_frame(scores: Mapping[str, float]) -> pd.DataFrame:
    """One row a score, with the columns task, dataset, split, metric and score; `scores` as `fit` gives them.

    >>> to_frame({"circle/points/train/accuracy": 0.5}).to_dict("records")
    [{'task': 'circle', 'dataset': 'points', 'split': 'train', 'metric': 'accuracy', 'score': 0.5}]
    """
    rows = [(*key.split("/", 3), value) for key, value in scores.items()]
    return pd.DataFrame(rows, columns=["task", "dataset", "split", "metric", "score"])
