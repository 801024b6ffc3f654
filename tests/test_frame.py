"""Scores as a table."""

import manyheads as mh
from manyheads.frame import to_frame


def test_a_row_a_score_in_order():
    frame = to_frame({"a/x/train/loss": 0.25, "a/x/dev/accuracy": 1.0, "b/y/dev/f1": 0.5})
    assert list(frame.columns) == ["task", "dataset", "split", "metric", "score"]
    assert frame.values.tolist() == [
        ["a", "x", "train", "loss", 0.25],
        ["a", "x", "dev", "accuracy", 1.0],
        ["b", "y", "dev", "f1", 0.5],
    ]


def test_no_scores_give_an_empty_table_with_the_same_columns():
    assert to_frame({}).shape == (0, 5)


def test_it_is_public():
    assert mh.to_frame is to_frame
