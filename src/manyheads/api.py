"""The Python API beside classes: a recipe with what plug-ins bring, and training without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from manyheads.config import load as config
from manyheads.config.load import Loaded
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.data.read import READERS
from manyheads.data.stream import Position, Stream
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.model import Model
from manyheads.nn.build import MODULES
from manyheads.task.base import TASKS
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, evaluate
from manyheads.train.loop import State, train
from manyheads.train.optim import make_optimizer

Spec = TypeVar("Spec", bound=BaseModel)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a recipe and resolve it; `overrides` are `key.path=value`.

    Knows the types of modules, tasks and file formats that are registered, by a decorator or by an installed package.
    Raises RecipeError with every mistake.
    """
    return config.load_recipe(path, overrides, plugins())


def recipe_from(data: Mapping[str, Any]) -> Loaded:
    """The recipe that plain Python values describe; as `load_recipe`."""
    return config.recipe_from(data, plugins())


def plugins() -> dict[str, set[str]]:
    """Names of the components that are not our own, by kind. Those of installed packages are not imported for that."""
    found, points = {}, entry_points()
    for registry in (MODULES, TASKS, READERS):
        ours = {name for name in registry if registry[name].__module__.startswith("manyheads.")}
        installed = {point.name for point in points.select(group=f"manyheads.{registry.kind}")}
        found[registry.kind] = set(registry) - ours | installed
    return found


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
    spec = training if isinstance(training, TrainingSpec) else _settings(TrainingSpec, "training", training or {})
    mixed = mixture if isinstance(mixture, MixtureSpec) else _settings(MixtureSpec, "mixture", mixture or {})
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


def _settings(spec: type[Spec], section: str, values: Mapping[str, Any]) -> Spec:
    """A section of a recipe from plain values. RecipeError with every mistake, each at its dotted key."""
    try:
        return spec.model_validate(values)
    except ValidationError as error:
        known = list(spec.model_fields)
        problems = []
        for e in error.errors():
            name = str(e["loc"][-1])
            close = nearest(name, known) if e["type"] == "extra_forbidden" else None
            problems.append(Problem(e["msg"], ".".join(map(str, (section, *e["loc"]))), repr(e["input"]), close))
        raise RecipeError(*problems) from error
