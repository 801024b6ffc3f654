"""Training without a recipe: a model, data sets, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.config.recipe import MixtureSpec, TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.data.stream import Position, Stream
from manyheads.errors import RecipeError, listed
from manyheads.model import Model
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, evaluate
from manyheads.train.loop import State, train
from manyheads.train.optim import make_optimizer


def fit(
    model: Model,
    datasets: Sequence[Dataset],
    training: TrainingSpec | Mapping[str, Any] | None = None,
    mixture: MixtureSpec | Mapping[str, Any] | None = None,
    *,
    seed: int = 13,
) -> dict[str, float]:
    """Train `model` in place on the data sets whose split is `train`; scores of all data sets, by task/dataset/split/metric.

    `training` and `mixture` have the keys of a recipe's sections, and the same defaults. The loop itself is
    `manyheads.train.loop.train`, for whoever wants to stand between its steps. Raises RecipeError.
    """
    spec = training if isinstance(training, TrainingSpec) else TrainingSpec.model_validate(training or {})
    mixed = mixture if isinstance(mixture, MixtureSpec) else MixtureSpec.model_validate(mixture or {})
    known = {d.name: d for d in datasets if d.split == "train" and any(t in model.tasks for t in d.tasks)}
    if not known:
        splits = listed(f"{d.name}/{d.split} with {', '.join(d.tasks)}" for d in datasets)
        raise RecipeError(f"no data set has the split 'train' and a task of the model; found {splits}")
    engine = Engine(spec)
    model.to(engine.device)
    stream = Stream({name: d.lengths for name, d in known.items()}, mixed, spec.batch, seed)
    state = State(Position.start(list(known)))
    optimizer = make_optimizer(model, spec.optimizer)
    for progress in train(model, known, stream, optimizer, spec, state=state, engine=engine, seed=seed):
        last = progress.step
    return as_dict(evaluate(model, datasets, engine=engine, step=last))
