"""Paths on which pieces are hidden: what stands in front of their modules, and with which weights their heads begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from manyheads.blueprint import Blueprint, ModulePlan
from manyheads.config.spec.tasks import MaskedLanguageModellingTask
from manyheads.errors import Problem, RecipeError
from manyheads.graph import BATCH, Step
from manyheads.model import Model
from manyheads.nn.masked import MaskedHead, read_head
from manyheads.text.masking import marks_of
from manyheads.text.tokenize import Tokenizer


def mask_plan(name: str, task: MaskedLanguageModellingTask, tokenizer: Tokenizer, encoder: str) -> ModulePlan:
    """What hides pieces in front of an encoder; RecipeError where its vocabulary has none to put in their place."""
    marks = marks_of(tokenizer)
    if marks is None:
        rule = f"hidden pieces are told in place of a mask piece, and the vocabulary of {encoder!r} has none"
        remedy = "take an encoder that was trained with one, such as BERT or RoBERTa"
        raise RecipeError(Problem(rule, f"tasks.{name}.path", encoder, remedy=remedy))
    options = {"piece": marks.mask, "special": sorted(marks.special), "words": len(tokenizer), "share": task.share}
    return ModulePlan("mask", options)


def behind(mask: str, steps: Sequence[Step], head: Step) -> list[Step]:
    """A path from the step `mask`, which stands between all others and the batch, to the head, which reads its result too."""
    read = [replace(step, inputs=tuple(_hidden(name, mask) for name in step.inputs)) for step in steps]
    return [Step(mask), *read, replace(head, inputs=(*(head.inputs or (steps[-1].result,)), mask))]


def _hidden(name: str, mask: str) -> str:
    """What a step reads in place of an input: of the batch what the step `mask` leaves of it."""
    source, *rest = name.split(".", 2)
    return name if source != BATCH else ".".join((mask, *rest[1:]))


def first_heads(model: Model, blueprint: Blueprint) -> None:
    """Weights of heads for hidden words from the files of their encoders, where these have some."""
    for name, module in model.pool.items():
        if isinstance(module, MaskedHead):
            of = blueprint.modules[name].options["of"]
            encoder = blueprint.modules[of].options.get("of", of)  # that which an adapter is of
            read_head(module, Path(blueprint.modules[encoder].options["source"]))
