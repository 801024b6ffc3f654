from __future__ import annotations

from collections.abc import Callable

import pytest

from manyheads.config.load import Loaded

Load = Callable[..., Loaded]
TEXT = """\
modules:
  encoder: {type: pretrained, name: minilm, max_length: 64}
defaults: {path: [encoder], pool: cls}
data:
  both: {format: squad, train: train.json, stride: 16}
tasks:
  mood: {type: classification, data: {train: mood.csv}}
  names: {type: tagging, data: {train: names.conll}}
  read: {type: question_answering, data: {from: both}}
  more: {type: question_answering, data: {format: squad, train: train.json, max_length: 32}}
"""


def test_what_all_tasks_are_given_and_what_fits_is_no_warning(load: Load) -> None:
    """A stride that the recipe does not give is cut in silence."""
    assert load(TEXT).warnings == ()
    assert load(TEXT, "data.both.stride=32", "tasks.more.data.stride=16", "tasks.mood.pool=max").warnings == ()


@pytest.mark.parametrize("task", ["names", "read"])
def test_a_pool_of_a_task_that_reads_states(load: Load, task: str) -> None:
    [told] = load(TEXT, f"tasks.{task}.pool=cls").warnings
    kind = {"names": "tagging", "read": "question_answering"}[task]
    assert told.startswith(f"override 'tasks.{task}.pool=cls': a task of type '{kind}' reads every word's state, so no pool")


@pytest.mark.parametrize(
    ("override", "most"), [("data.both.stride=33", 32), ("tasks.more.data.stride=17", 16), ("tasks.more.data.stride=500", 16)]
)
def test_a_stride_that_windows_cannot_share(load: Load, override: str, most: int) -> None:
    [told] = load(TEXT, override).warnings
    assert f"windows share at most half of the text they hold; of {2 * most} pieces" in told
    assert f"less than {most}, whatever is asked" in told
    assert override in told
