"""ELMo as it is published: options.json, and the weights of its language models in HDF5, as allennlp reads them.

Of the weights every name is known beforehand, with its shape. Gates of a cell stand there as input, new, forget, output, where
ours are input, forget, new, output; a forget gate is meant to have 1 more than its bias says, and a highway's gate tells how
much is changed, where ours tells how much stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from manyheads.errors import ArtefactError, MissingExtraError, Problem, ResourceError
from manyheads.nn.elmo import CHARACTERS, Elmo, Shape

_LARGEST = 2**20  # bytes of an options.json; a hundred times the largest published one

Size = Annotated[int, Field(ge=1, le=2**16)]
Clip = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    """A section of options.json; keys of the training alone are passed over."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class _Letters(_Part):
    dim: Size


class _Cnn(_Part):
    embedding: _Letters
    filters: Annotated[list[Annotated[list[Size], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    n_highway: Annotated[int, Field(ge=0, le=64)]
    max_characters_per_token: Annotated[int, Field(ge=3, le=50)] = 50
    activation: Literal["relu", "tanh"]


class _Lstm(_Part):
    projection_dim: Size
    dim: Size
    n_layers: Annotated[int, Field(ge=1, le=64)]
    use_skip_connections: bool = False
    cell_clip: Clip | None = None
    proj_clip: Clip | None = None


class _Options(_Part):
    char_cnn: _Cnn
    lstm: _Lstm


def require_h5py(place: str = "") -> Any:
    """The module h5py, imported when first needed. Raises MissingExtraError where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        rule = "the weights of an ELMo are read with the package h5py, which is not installed"
        remedy = "pip install 'manyheads[elmo]'; a trained model does without"
        raise MissingExtraError(Problem(rule, place, remedy=remedy)) from error
    return h5py


def read_shape(path: Path, place: str) -> Shape:
    """The dimensions in an options.json. Raises ResourceError where it cannot be read, ArtefactError for another content."""
    if not path.is_file():
        remedy = "name the options.json that is published beside the weights, relative to the recipe"
        raise ResourceError(Problem("no options of an ELMo are found", place, str(path), remedy=remedy))
    try:
        if path.stat().st_size > _LARGEST:
            raise ArtefactError(Problem(f"an options.json has at most {_LARGEST:,} bytes", str(path)))
        found = _Options.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ArtefactError(*_wrong(error, path)) from None
    except OSError as error:
        raise ResourceError(Problem(f"the options cannot be read: {error.strerror}", place, str(path))) from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(Problem(f"is not the options.json of an ELMo: {error}", str(path))) from error
    cnn, lstm = found.char_cnn, found.lstm
    if wide := [kernel for kernel, _ in cnn.filters if kernel > cnn.max_characters_per_token]:
        rule = f"`char_cnn.filters` are at most as wide as a word, {cnn.max_characters_per_token} characters"
        raise ArtefactError(Problem(rule, str(path), str(wide[0])))
    return Shape(
        kernels=cnn.filters,
        letter=cnn.embedding.dim,
        longest=cnn.max_characters_per_token,
        highways=cnn.n_highway,
        activation=cnn.activation,
        width=lstm.projection_dim,
        cells=lstm.dim,
        depth=lstm.n_layers,
        skips=lstm.use_skip_connections,
        cell_clip=lstm.cell_clip,
        state_clip=lstm.proj_clip,
    )


def shape_options(shape: Shape) -> dict[str, Any]:
    """A shape as keyword arguments of `Elmo`."""
    return asdict(shape)


def _wrong(error: ValidationError, path: Path) -> Iterator[Problem]:
    for found in error.errors():
        key, given = ".".join(map(str, found["loc"])), found["input"]
        value = None if found["type"] == "missing" else json.dumps(given)
        wanted = "an object is wanted" if found["type"] == "model_type" else found["msg"][:1].lower() + found["msg"][1:]
        rule = f"`{key}`: {wanted}" if key else wanted
        yield Problem(rule, str(path), value, remedy="options.json must be the one that is published beside the weights")


def load_elmo(elmo: Elmo, path: Path, place: str) -> None:
    """Put the weights of a file into a module of the same dimensions, all of them.

    Raises MissingExtraError, ResourceError for a file that is not there, ArtefactError for one that is damaged, or is not of
    these dimensions.
    """
    h5py = require_h5py(place)
    if not path.is_file():
        remedy = "name the .hdf5 file that is published beside the options, relative to the recipe"
        raise ResourceError(Problem("no weights of an ELMo are found", place, str(path), remedy=remedy))
    try:
        with h5py.File(path, "r") as file:
            state = _state(elmo.shape, lambda name, *shape: _array(h5py, file, name, shape, path))
    except OSError as error:
        first = (str(error).splitlines() or ["it cannot be read"])[0]
        raise ArtefactError(Problem(f"is not a whole HDF5 file: {first}", str(path))) from error
    elmo.load_state_dict(state)


def _array(h5py: Any, file: Any, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """(shape) float32 of one name; links to other files are not followed."""
    group = file
    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ArtefactError(Problem(f"the weights of an ELMo have {name!r}, and this file has not", str(path)))
        group = group[part]
    if not isinstance(group, h5py.Dataset) or group.external or group.is_virtual:
        raise ArtefactError(Problem(f"{name!r} must be an array of numbers in the file itself", str(path)))
    if group.shape != shape or group.dtype.kind != "f":
        rule = f"by its options.json {name!r} is an array of numbers {shape}"
        remedy = "options and weights must be of one ELMo"
        raise ArtefactError(Problem(rule, str(path), f"{group.dtype} {group.shape}", remedy=remedy))
    found = np.asarray(group[...], np.float32)
    if not np.isfinite(found).all():
        raise ArtefactError(Problem(f"{name!r} has a number that is not finite", str(path)))
    return found


def _state(shape: Shape, read: Callable[..., np.ndarray]) -> Mapping[str, Tensor]:
    """The state of a module of this shape; `read` gives the array of a name that has a shape."""
    filters = sum(count for _, count in shape.kernels)
    found = {"words.table.weight": read("char_embed", CHARACTERS, shape.letter)}
    for i, (kernel, count) in enumerate(shape.kernels):
        found[f"words.convolutions.{i}.weight"] = read(f"CNN/W_cnn_{i}", 1, kernel, shape.letter, count)[0].transpose(2, 1, 0)
        found[f"words.convolutions.{i}.bias"] = read(f"CNN/b_cnn_{i}", count)
    for i in range(shape.highways):
        new, carry = (read(f"CNN_high_{i}/W_{part}", filters, filters).T for part in ("transform", "carry"))
        found[f"words.highways.{i}.weight"] = np.concatenate([new, -carry])
        new, carry = (read(f"CNN_high_{i}/b_{part}", filters) for part in ("transform", "carry"))
        found[f"words.highways.{i}.bias"] = np.concatenate([new, -carry])
    found["words.project.weight"] = read("CNN_proj/W_proj", filters, shape.width).T
    found["words.project.bias"] = read("CNN_proj/b_proj", shape.width)
    for number, name in enumerate(("ahead", "back")):
        for i in range(shape.depth):
            cell = _cell(read, f"RNN_{number}/RNN/MultiRNNCell/Cell{i}/LSTMCell", shape.width, shape.cells)
            found |= {f"{name}.layers.{i}.{key}": array for key, array in cell.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}


def _cell(read: Callable[..., np.ndarray], name: str, width: int, cells: int) -> dict[str, np.ndarray]:
    gates = _in_our_order(read(f"{name}/W_0", 2 * width, 4 * cells).T)
    bias = _in_our_order(read(f"{name}/B", 4 * cells))
    bias[cells : 2 * cells] += 1
    project = read(f"{name}/W_P_0", cells, width).T
    return {"input.weight": gates[:, :width], "state.weight": gates[:, width:], "state.bias": bias, "project.weight": project}


def _in_our_order(gates: np.ndarray) -> np.ndarray:
    into, new, keep, out = np.split(gates, 4)
    return np.concatenate([into, keep, new, out])
