"""Answers that stand in a text, at an offset in characters."""

from __future__ import annotations

from manyheads.errors import shown
from manyheads.text.graphemes import splits_grapheme


def misplaced(answer: str, start: int, context: str) -> str:
    """What is wrong with an answer at this offset; empty where it stands there, in whole characters.

    >>> misplaced("sky", 5, "the blue sky")
    "the answer 'sky' does not stand at offset 5: 'lue' stands there; it stands at 9"
    """
    if not answer:
        return "an answer is empty"
    if start < 0:
        return f"the offset of the answer {shown(answer)} is {start}"
    stop = start + len(answer)
    if (found := context[start:stop]) != answer:
        there = f"{shown(found)} stands there" if found else f"the context has {len(context)} characters"
        there += _elsewhere(answer, start, context)
        return f"the answer {shown(answer)} does not stand at offset {start}: {there}"
    for offset in (start, stop):
        if splits_grapheme(context, offset):
            return f"the answer {shown(answer)} at offset {start}: offset {offset} lies inside a character"
    return ""


def _elsewhere(answer: str, start: int, context: str) -> str:
    """Where the answer stands that is nearest to `start`, or what to do where it stands nowhere."""
    offsets = [at for at in (context.rfind(answer, 0, start + len(answer)), context.find(answer, start)) if at >= 0]
    if not offsets:
        return ", and it stands nowhere in the context: correct one of them, or leave such rows out by `bad_rows: skip`"
    return f"; it stands at {min(offsets, key=lambda at: abs(at - start))}"
