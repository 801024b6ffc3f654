"""Tasks of an artefact as folders that plain transformers loads, with equal logits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from manyheads.artefact import Artefact, without_bars
from manyheads.blueprint import ENCODERS
from manyheads.errors import ArtefactError, Problem, RecipeError, listed, nearest, shown
from manyheads.folder import read_json, writing
from manyheads.graph import Step
from manyheads.nn.plain import End, PlainEnd, choice_end, row_end, word_end
from manyheads.nn.trunk import Trunk
from manyheads.task.base import Task
from manyheads.task.binary import Binary
from manyheads.task.question_answering import QuestionAnswering
from manyheads.types import Batch, Tokens

KIND = "export"
_Problem: TypeAlias = Literal["single_label_classification", "multi_label_classification", "regression"]
_SPECIAL = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a type of task is in transformers: its model, its `problem_type`, how the end of a path goes over, its logits."""

    auto: Any
    problem: _Problem | None
    end: Callable[[End, PreTrainedModel], PlainEnd]
    logits: Callable[[PreTrainedModel, Mapping[str, Tensor]], Tensor]


def _of_sequences(plain: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    """(S, C) or (S, T, C)."""
    logits: Tensor = plain(**inputs).logits
    return logits


def _of_one_row(plain: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    """(S, 1), of the sequences as choices of one row."""
    return _of_sequences(plain, {name: tensor[None] for name, tensor in inputs.items()}).T


def _of_ends(plain: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    """(S, T, 2), of first and last pieces."""
    found = plain(**inputs)
    return torch.stack([found.start_logits, found.end_logits], -1)


_KINDS: Mapping[str, _Kind] = {
    "classification": _Kind(AutoModelForSequenceClassification, "single_label_classification", row_end, _of_sequences),
    "binary": _Kind(AutoModelForSequenceClassification, "multi_label_classification", row_end, _of_sequences),
    "multilabel": _Kind(AutoModelForSequenceClassification, "multi_label_classification", row_end, _of_sequences),
    "regression": _Kind(AutoModelForSequenceClassification, "regression", row_end, _of_sequences),
    "tagging": _Kind(AutoModelForTokenClassification, None, word_end, _of_sequences),
    "multiple_choice": _Kind(AutoModelForMultipleChoice, None, choice_end, _of_one_row),
    "question_answering": _Kind(AutoModelForQuestionAnswering, None, word_end, _of_ends),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A task that was written: its folder, the class of the plain model, and what that one does not do as we do."""

    task: str
    folder: Path
    model: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A task, the module that reads its text, and its plain model with all weights but the encoder's."""

    task: Task
    trunk: str
    kind: _Kind
    config: PretrainedConfig
    end: PlainEnd
    notes: tuple[str, ...]


def export(artefact: Artefact, target: Path, tasks: Sequence[str] | None = None) -> list[Exported]:
    """Write a folder a task into `target`, which appears whole or not at all; an earlier export there is replaced.

    `AutoModelFor….from_pretrained(target / task)` gives the logits that our model gives; each model is run once to see that
    it does, on the processor, where `load_artefact` leaves ours. Raises RecipeError for an unknown task and, of all tasks at
    once, for paths that no plain model computes; ResourceError where `target` cannot be written.
    """
    names = _asked(artefact, tasks)
    if target.resolve().is_relative_to(artefact.folder.resolve()):
        raise RecipeError(Problem("an export cannot go into the artefact itself", value=str(target)))
    plans = _planned(artefact, names)
    found = []
    with writing(target, kind=KIND) as folder:
        for plan in plans:
            plain = _built(artefact, plan)
            _require_equal(artefact, plan, plain)
            with without_bars():
                plain.save_pretrained(folder / plan.task.name)
            _write_tokenizer(artefact, plan, folder / plan.task.name)
            found.append(Exported(plan.task.name, target / plan.task.name, type(plain).__name__, plan.notes))
    return found


def _asked(artefact: Artefact, tasks: Sequence[str] | None) -> list[str]:
    known = list(artefact.model.tasks)
    rule = f"the model has no such task (there are: {listed(known)})"
    problems = [Problem(rule, "", name, nearest(name, known)) for name in tasks or () if name not in known]
    if problems:
        raise RecipeError(*problems)
    return known if tasks is None else list(dict.fromkeys(tasks))


def _planned(artefact: Artefact, names: Sequence[str]) -> list[_Plan]:
    """All tasks; RecipeError with the problems of all of them."""
    plans: list[_Plan] = []
    problems: list[Problem] = []
    for name in names:
        try:
            plans.append(_plan(artefact, name))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(*problems)
    return plans


def _plan(artefact: Artefact, name: str) -> _Plan:
    model, task, place = artefact.model, artefact.model.tasks[name], f"tasks.{name}.path"
    kind = _KINDS.get(artefact.blueprint.tasks[name].type)
    if kind is None:
        rule = f"no plain model is known for its type; there is one for {listed(_KINDS)}"
        raise RecipeError(Problem(rule, f"tasks.{name}.type", artefact.blueprint.tasks[name].type))
    _require_chain(task.steps, place)
    first, *rest = (step.module for step in task.steps)
    if (begins := artefact.blueprint.modules[first].type) not in ENCODERS:
        rule = f"a plain model begins with a pretrained encoder, and this path with {first!r} of type {begins!r}"
        raise RecipeError(Problem(rule, place, remedy="serve it with `manyheads predict`, or in Python with `Predictor`"))
    if (trunk := _trunk(artefact, first)).adapted:
        rule = f"a plain model has no adapters, and those of {shown(first)} are beside its weights"
        remedy = "fold them into the weights first: `manyheads merge RUN MERGED`, then export MERGED"
        raise RecipeError(Problem(rule, place, remedy=remedy))
    config = _config(trunk, task, kind)
    try:
        with torch.device("meta"):
            empty = kind.auto.from_config(config)
    except ValueError as error:
        raise RecipeError(
            Problem(f"transformers has no {kind.auto.__name__} for this encoder", place, config.model_type)
        ) from error
    end = kind.end(End([(module, model.pool[module]) for module in rest], place), empty)
    for key, value in end.settings.items():
        setattr(config, key, value)
    return _Plan(task, first, kind, config, end, tuple(_notes(task)))


def _trunk(artefact: Artefact, name: str) -> Trunk:
    """The encoder of a path that was planned: it begins with one."""
    return cast(Trunk, artefact.model.pool[name])


def _require_chain(steps: Sequence[Step], place: str) -> None:
    """RecipeError for a step that reads anything but the one before it."""
    for before, step in pairwise(steps):
        if step.inputs not in ((), (before.result,)):
            rule = "a plain model is a chain, and this step reads more or other than the step before it"
            raise RecipeError(Problem(rule, place, step.result))


def _config(trunk: Trunk, task: Task, kind: _Kind) -> PretrainedConfig:
    config = deepcopy(trunk.encoder.config)
    config.problem_type = kind.problem
    if labels := task.type.labels[-task.type.outputs :]:  # of two labels that one score tells apart the second
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    else:
        config.num_labels = task.type.outputs
    return config


def _notes(task: Task) -> list[str]:
    """What our answers have and plain logits have not."""
    if isinstance(task.type, QuestionAnswering):
        return [_answers(task.type)]
    if isinstance(task.type, Binary):
        return [_of_two(task.type)]
    notes = []
    low, high = getattr(task.type, "low", None), getattr(task.type, "high", None)
    if low is not None or high is not None:
        bounds = " and ".join(
            f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None
        )
        notes.append(f"numbers are not clipped; manyheads answers {bounds}")
    thresholds = sorted({float(t) for t in np.atleast_1d(getattr(task.type, "threshold", 0.5))})
    if thresholds != [0.5]:
        told = " or ".join(f"{threshold:g}" for threshold in thresholds)
        notes.append(f"labels are given from probability {told} on; plain pipelines have to be told")
    if top := getattr(task.type, "top", None):
        notes.append(f"the {top} most probable labels are given; plain pipelines have to be told")
    return notes


def _of_two(kind: Binary) -> str:
    """How one logit becomes one of two labels."""
    other, one = kind.labels or ("0", "1")
    return (
        f"the one score is that of {shown(one)}; manyheads answers {shown(other)} where its sigmoid is below {kind.threshold:g}"
    )


def _answers(kind: QuestionAnswering) -> str:
    """How logits of first and last pieces become an answer."""
    none = f", or none where its score is higher by more than {kind.threshold:g}" if kind.no_answer else ""
    best = f"manyheads answers the best span of at most {kind.longest} pieces over all windows on a text{none}"
    return f"{best}; plain code has to do that with the logits"


def _built(artefact: Artefact, plan: _Plan) -> PreTrainedModel:
    """The plain model with our weights; ArtefactError when these are not all of its weights."""
    encoder = _trunk(artefact, plan.trunk).encoder.state_dict()
    plain: PreTrainedModel = plan.kind.auto.from_config(plan.config, dtype=torch.float32)
    wanted = set(plain.state_dict())
    named = {f"{plain.base_model_prefix}.{key}": value for key, value in encoder.items()}
    read = {key: value for key, value in named.items() if key in wanted}
    unread = [key for key in named if key not in wanted and not key.startswith(f"{plain.base_model_prefix}.pooler.")]
    missing = sorted(wanted - {*read, *plan.end.weights})
    if unread or missing:
        rule = (
            f"the encoder is not the one of a plain {type(plain).__name__}: missing {listed(missing)}, unknown {listed(unread)}"
        )
        raise ArtefactError(Problem(rule, str(artefact.folder / plan.trunk)))
    plain.load_state_dict({**read, **plan.end.weights})
    plain.train(False)
    return plain


@torch.inference_mode()
def _require_equal(artefact: Artefact, plan: _Plan, plain: PreTrainedModel) -> None:
    """ArtefactError where the plain model answers otherwise than ours, as another release of transformers might."""
    trunk = _trunk(artefact, plan.trunk)
    tokens = _probe(plan.config.vocab_size, min(8, trunk.max_length))
    ours = artefact.model.answer(Batch("export", {"text": tokens}, {}, range(len(tokens))), [plan.task.name])
    given = {"token_type_ids": tokens.types} if trunk.takes_types else {}
    theirs = plan.kind.logits(plain, {"input_ids": tokens.ids, "attention_mask": tokens.mask.long(), **given})
    scores: Tensor = ours[plan.task.name].scores
    if scores.dim() == 3:
        scores, theirs = scores[tokens.mask], theirs[tokens.mask]
    if not torch.allclose(scores, theirs, atol=1e-5, rtol=1e-5):
        rule = f"the plain {type(plain).__name__} of this release of transformers answers otherwise; nothing was written"
        raise ArtefactError(Problem(rule, f"tasks.{plan.task.name}", f"a difference of {(scores - theirs).abs().max():g}"))


def _probe(vocabulary: int, length: int) -> Tokens:
    """Two ragged rows of two texts each, every piece a word."""
    at = torch.arange(length).expand(2, length)
    mask = at < torch.tensor([[length], [length // 2 + 1]])
    ids = torch.randint(vocabulary, (2, length), generator=torch.Generator().manual_seed(0)) * mask
    return Tokens(ids, mask, (at >= length // 2).long() * mask, at.masked_fill(~mask, -1))


def _write_tokenizer(artefact: Artefact, plan: _Plan, folder: Path) -> None:
    """Our tokenizer as it is, its limit, and only those inputs that the encoder takes."""
    tokenizer, source, trunk = artefact.tokenizers[plan.trunk], artefact.folder / plan.trunk, _trunk(artefact, plan.trunk)
    types = ["token_type_ids"] if trunk.takes_types else []
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": trunk.max_length,
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "pad_token": tokenizer.piece(plan.config.pad_token_id or 0),
    }
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        found = read_json(source / name) if (source / name).is_file() else {}
        settings |= {key: _content(found[key]) for key in _SPECIAL if found.get(key)}
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _content(token: Any) -> str:
    """A special piece, which files write as a text or with its settings."""
    return str(token["content"] if isinstance(token, dict) else token)
