"""The Python API beside classes: a recipe with what plug-ins bring, and training without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from manyheads.config import load as config
from manyheads.config.check_mixture import check_learning, check_mixture, settled
from manyheads.config.check_rates import check_training
from manyheads.config.explain import explain
from manyheads.config.load import Loaded
from manyheads.config.node import from_python
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.data.read import READERS
from manyheads.data.stream import Position, Stream
from manyheads.errors import DataError, Problem, RecipeError, listed
from manyheads.metrics import METRICS
from manyheads.model import Model
from manyheads.nn.build import MODULES
from manyheads.task.base import TASKS
from manyheads.train.advice import long_warmup
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, evaluate, rehearse
from manyheads.train.loop import steps_in, train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import State
from manyheads.train.taught import Taught

Spec = TypeVar("Spec", bound=BaseModel)
FITTED = (
    "epochs",
    "steps",
    "batch",
    "accumulate",
    "optimizer",
    "schedule",
    "clip",
    "clip_value",
    "precision",
    "threads",
    "device",
)
"""What `fit` takes of a recipe's section `training`."""
_NAMES = "give each a `name` of its own"


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a recipe and resolve it; `overrides` are `key.path=value`.

    Knows the metrics and the types of modules, tasks and file formats that are registered, by a decorator or by an installed
    package. Raises RecipeError with every mistake.
    """
    return config.load_recipe(path, overrides, _names())


def recipe_from(data: Mapping[str, Any]) -> Loaded:
    """The recipe that plain Python values describe; as `load_recipe`."""
    return config.recipe_from(data, _names())


def plugins() -> dict[str, set[str]]:
    """Names of the components that are not our own, by kind. Those of installed packages are not imported for that."""
    found, points = {}, entry_points()
    for registry in (MODULES, TASKS, READERS):
        ours = {name for name in registry if registry[name].__module__.startswith("manyheads.")}
        installed = {point.name for point in points.select(group=f"manyheads.{registry.kind}")}
        found[registry.kind] = set(registry) - ours | installed
    return found


def _names() -> dict[str, set[str]]:
    """What a recipe may name: beside `plugins` all metrics, of which the schema knows none."""
    installed = {point.name for point in entry_points().select(group=f"manyheads.{METRICS.kind}")}
    return {**plugins(), METRICS.kind: {*METRICS, *installed}}


def fit(
    model: Model,
    datasets: Sequence[Dataset],
    training: TrainingSpec | Mapping[str, Any] | None = None,
    mixture: MixtureSpec | Mapping[str, Any] | None = None,
    balance: BalanceSpec | Mapping[str, Any] | None = None,
    *,
    seed: int = 13,
) -> dict[str, float]:
    """Train `model` in place on the data sets whose split is `train`; scores of all data sets, by task/dataset/split/metric.

    `training`, `mixture` and `balance` have the keys of a recipe's sections, and the same defaults; of `training` those in
    `FITTED`, since nothing is evaluated or saved on the way, which is also why a task may have no `patience`. The loop itself
    is `manyheads.train.loop.train`, for whoever wants to stand between its steps. Before it begins RecipeError is raised for
    settings, data sets and metrics that cannot be used, and DataError for labels.
    """
    spec = training if isinstance(training, TrainingSpec) else _settings(TrainingSpec, "training", training or {})
    mixed = mixture if isinstance(mixture, MixtureSpec) else _settings(MixtureSpec, "mixture", mixture or {})
    balanced = balance if isinstance(balance, BalanceSpec) else _settings(BalanceSpec, "balance", balance or {})
    known = _training_sets(model, datasets)
    mixed = settled(mixed, spec)
    wrong = [*check_training(spec), *check_mixture(mixed, list(known)), *check_learning(mixed, spec)]
    _refuse([*_unfit_settings(spec, model), *(finding.problem() for finding in wrong), *_weightless(model, known)])
    engine = Engine(spec)
    model.to(engine.device)
    stream = Stream({name: d.lengths for name, d in known.items()}, mixed, spec.batch, seed)
    _refuse(long_warmup(spec.schedule, steps_in(stream, spec)))
    scored = [d.data if isinstance(d, Taught) else d for d in datasets]  # by labels alone
    rehearse(model, scored, engine)
    state = State(Position.start(list(known)))
    optimizer = make_optimizer(model, spec.optimizer)
    for progress in train(model, known, stream, optimizer, spec, state=state, engine=engine, seed=seed, balance=balanced):
        last = progress.step
    return as_dict(evaluate(model, scored, engine=engine, step=last))


def _training_sets(model: Model, datasets: Sequence[Dataset]) -> dict[str, Dataset]:
    """The data sets to train on, by name. RecipeError for two that could not be told apart, DataError for labels that lack."""
    used = [d for d in datasets if any(t in model.tasks for t in d.tasks)]
    known = {d.name: d for d in used if d.split == "train"}
    if not known:
        raise RecipeError(f"no data set has the split 'train' and a task of the model; found {listed(map(_told, datasets))}")
    groups: dict[tuple[str, str], list[Dataset]] = {}
    for d in used:
        groups.setdefault((d.name, d.split), []).append(d)
    rule = "data sets are told apart by name and split, and {} are called alike"
    same = [Problem(rule.format(listed(map(_told, g))), value=n, remedy=_NAMES) for (n, _), g in groups.items() if len(g) > 1]
    _refuse(same)
    bare = [(d, t) for d in known.values() for t in d.tasks if t in model.tasks and not d.items(t).any()]
    if bare:
        raise DataError(*(Problem(f"task {t}: no row has a label", f"{d.name}/{d.split}") for d, t in bare))
    return known


def _told(dataset: Dataset) -> str:
    return f"{dataset.name}/{dataset.split} with {', '.join(dataset.tasks)}"


def _unfit_settings(spec: TrainingSpec, model: Model) -> list[Problem]:
    """Settings of what `fit` does not do."""
    usual = TrainingSpec()
    keys = [key for key in TrainingSpec.model_fields if key not in FITTED and getattr(spec, key) != getattr(usual, key)]
    rule = "`fit` evaluates and saves nothing on the way, so this has no effect"
    remedy = "train a recipe, or evaluate between the steps of `manyheads.train.loop.train`"
    places = [f"training.{key}" for key in keys]
    places += [f"tasks.{task.name}.patience" for task in model.tasks.values() if task.patience is not None]
    return [Problem(rule, place, remedy=remedy) for place in places]


def _weightless(model: Model, known: Mapping[str, Dataset]) -> list[Problem]:
    tasks = [t for d in known.values() for t in d.tasks if t in model.tasks]
    if any(model.tasks[task].weight for task in tasks):
        return []
    return [Problem("all tasks have the weight 0, so nothing would be learned", f"tasks.{tasks[0]}.weight", "0")]


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise RecipeError(*problems)


def _settings(spec: type[Spec], section: str, values: Mapping[str, Any]) -> Spec:
    """A section of a recipe from plain values. RecipeError with every mistake, each at its dotted key."""
    try:
        return TypeAdapter(dict[str, spec]).validate_python({section: values})[section]  # type: ignore[valid-type]  # known here
    except ValidationError as error:
        root = from_python(to_jsonable_python({section: values}, fallback=repr))
        raise RecipeError(*(finding.problem(root) for finding in explain(error, root))) from error
