from __future__ import annotations

from collections import Counter

from manyheads.balance.aggregation.order import others
from manyheads.balance.weighting import Moment


def named(step: int, tasks: str, task: str, purpose: str = "x") -> list[str]:
    moment = Moment(3, step, 0, tuple(tasks))
    return [tasks[i] for i in others(moment, tasks.index(task), purpose)]


def test_all_others_come_once_in_an_order_of_names() -> None:
    assert sorted(named(1, "abcd", "b")) == ["a", "c", "d"]
    assert named(1, "abcd", "b") == named(1, "dcab", "b")
    assert others(Moment(3, 1, 0, ("a",)), 0, "x") == []


def test_orders_differ_by_step_task_and_purpose_and_come_equally_often() -> None:
    counts = Counter("".join(named(step, "abcd", "a")) for step in range(3000))
    assert len(counts) == 6
    assert all(400 < n < 600 for n in counts.values())
    assert [named(s, "abcd", "a") for s in range(9)] != [named(s, "abcd", "a", "y") for s in range(9)]
