"""ELMo: against the activations that its makers published, and against a slow twin over files that a test writes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from manyheads.errors import ArtefactError, ManyheadsError, MissingExtraError, ResourceError
from manyheads.nn.elmo import CHARACTERS, Elmo
from manyheads.nn.elmo_files import load_elmo, read_shape, require_h5py, shape_options
from manyheads.nn.layers import Layer, ScalarMix
from manyheads.types import LETTERS, States, Tokens

SENTENCES = [["The", "naïve", "cat"], ["a"], ["", "x" * 70, "so", "good", "!"]]


def written(folder: Path, *, activation: str = "relu", skips: bool = True, clip: float | None = 0.5) -> Path:
    """A small random ELMo in the published form; clips are low, so that they act."""
    folder.mkdir(parents=True, exist_ok=True)
    letter, width, cells, kernels = 3, 4, 5, [[1, 2], [3, 4]]
    filters, random = 6, np.random.default_rng(7)
    cnn = {"embedding": {"dim": letter}, "filters": kernels, "n_highway": 2, "n_characters": 262}
    lstm = {"projection_dim": width, "dim": cells, "n_layers": 2, "use_skip_connections": skips}
    lstm |= {"cell_clip": clip, "proj_clip": clip}
    told = {"char_cnn": {**cnn, "activation": activation, "max_characters_per_token": 50}, "lstm": lstm, "n_epochs": 10}
    (folder / "options.json").write_text(json.dumps(told))
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (CHARACTERS, letter)}
    for i, (kernel, count) in enumerate(kernels):
        shapes |= {f"CNN/W_cnn_{i}": (1, kernel, letter, count), f"CNN/b_cnn_{i}": (count,)}
    for i in range(2):
        for part in ("transform", "carry"):
            shapes |= {f"CNN_high_{i}/W_{part}": (filters, filters), f"CNN_high_{i}/b_{part}": (filters,)}
    shapes |= {"CNN_proj/W_proj": (filters, width), "CNN_proj/b_proj": (width,)}
    for cell in (f"RNN_{d}/RNN/MultiRNNCell/Cell{i}/LSTMCell" for d in range(2) for i in range(2)):
        shapes |= {f"{cell}/W_0": (2 * width, 4 * cells), f"{cell}/B": (4 * cells,), f"{cell}/W_P_0": (cells, width)}
    with h5py.File(folder / "weights.hdf5", "w") as file:
        for name, shape in shapes.items():
            file[name] = random.normal(size=shape).astype(np.float32)
    return folder


def loaded(folder: Path, weights: str = "weights.hdf5", **more: Any) -> Elmo:
    elmo = Elmo(**shape_options(read_shape(folder / "options.json", "modules.elmo.options")), **more)
    load_elmo(elmo, folder / weights, "modules.elmo.weights")
    return elmo.eval()


def tokens(rows: Sequence[Sequence[str]]) -> Tokens:
    longest = max(map(len, rows))
    letters = torch.zeros(len(rows), longest, LETTERS, dtype=torch.uint8)
    for i, row in enumerate(rows):
        for j, word in enumerate(row):
            spelled = list(word.encode()[:LETTERS])
            letters[i, j, : len(spelled)] = torch.tensor(spelled, dtype=torch.uint8)
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    return Tokens(mask.long(), mask, torch.zeros_like(mask).long(), None, letters)


# the slow twin, one word and one step at a time, by the formulas of the paper's own code ----------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def twin(folder: Path, words: Sequence[str]) -> list[np.ndarray]:
    """(T, D) of each layer."""
    told = json.loads((folder / "options.json").read_text())
    with h5py.File(folder / "weights.hdf5") as file:
        read = {}
        file.visititems(lambda name, held: read.update({name: held[...]} if isinstance(held, h5py.Dataset) else {}))
    spelled = [[256], *([*word.encode()[:48]] for word in words), [257]]
    vectors = [_twin_word([258, *word, 259, *[260] * 50][:50], told["char_cnn"], read) for word in spelled]
    ahead = _twin_direction(vectors, told["lstm"], read, 0)
    back = [layer[::-1] for layer in _twin_direction(vectors[::-1], told["lstm"], read, 1)]
    pairs = [(vectors, vectors), *zip(ahead, back, strict=True)]
    return [np.concatenate([np.stack(a), np.stack(b)], -1)[1:-1] for a, b in pairs]


def _twin_word(characters: list[int], told: Mapping[str, Any], read: Mapping[str, np.ndarray]) -> np.ndarray:
    found = []
    for i, (kernel, count) in enumerate(told["filters"]):
        best = np.full(count, -math.inf)
        for begin in range(50 - kernel + 1):
            answer = read[f"CNN/b_cnn_{i}"].astype(float)
            for j in range(kernel):
                answer = answer + read["char_embed"][characters[begin + j]] @ read[f"CNN/W_cnn_{i}"][0, j]
            best = np.maximum(best, answer)
        found.append(np.maximum(best, 0) if told["activation"] == "relu" else np.tanh(best))
    x = np.concatenate(found)
    for i in range(told["n_highway"]):
        high = f"CNN_high_{i}"
        carry = sigmoid(x @ read[f"{high}/W_carry"] + read[f"{high}/b_carry"])
        changed = np.maximum(x @ read[f"{high}/W_transform"] + read[f"{high}/b_transform"], 0)
        x = carry * changed + (1 - carry) * x
    found_word: np.ndarray = x @ read["CNN_proj/W_proj"] + read["CNN_proj/b_proj"]
    return found_word


def _twin_direction(
    vectors: list[np.ndarray], told: Mapping[str, Any], read: Mapping[str, np.ndarray], number: int
) -> list[list[np.ndarray]]:
    layers, given = [], vectors
    for i in range(told["n_layers"]):
        cell = f"RNN_{number}/RNN/MultiRNNCell/Cell{i}/LSTMCell"
        state, memory, states = np.zeros(told["projection_dim"]), np.zeros(told["dim"]), []
        for x in given:
            gates = np.concatenate([x, state]) @ read[f"{cell}/W_0"] + read[f"{cell}/B"]
            into, new, keep, out = np.split(gates, 4)
            memory = sigmoid(keep + 1) * memory + sigmoid(into) * np.tanh(new)
            memory = memory if told["cell_clip"] is None else np.clip(memory, -told["cell_clip"], told["cell_clip"])
            state = (sigmoid(out) * np.tanh(memory)) @ read[f"{cell}/W_P_0"]
            state = state if told["proj_clip"] is None else np.clip(state, -told["proj_clip"], told["proj_clip"])
            states.append(state)
        given = [s + x for s, x in zip(states, given, strict=True)] if i and told["use_skip_connections"] else states
        layers.append(given)
    return layers


@pytest.mark.parametrize("form", [{}, {"activation": "tanh"}, {"skips": False}, {"clip": None}], ids=str)
def test_every_layer_is_what_the_slow_twin_says(tmp_path: Path, form: dict[str, Any]) -> None:
    elmo = loaded(written(tmp_path, **form), layers=True)
    given = elmo(tokens(SENTENCES))
    assert len(given.below) == 3
    for i, words in enumerate(SENTENCES):
        for layer, wanted in zip(given.below, twin(tmp_path, words), strict=True):
            assert_close(layer[i, : len(words)], torch.tensor(wanted, dtype=torch.float32), atol=2e-5, rtol=1e-4)
            assert not layer[i, len(words) :].any()


def test_the_published_activations(shared_data: Path) -> None:
    """Of 30 sentences; state goes on from each sentence to the next there, as one long text does here."""
    folder = shared_data / "elmo-fixture"
    elmo = loaded(folder, "lm_weights.hdf5", layers=True)
    for column, sentences in enumerate(json.loads((folder / "sentences.json").read_text())):
        given = [tokens([sentence.split()]) for sentence in sentences]
        rows = [elmo._between_marks(one.letters, one.mask)[0] for one in given]
        ahead = elmo.ahead(torch.cat(rows, 1))[-1][0].split([row.shape[1] for row in rows])
        back = elmo.back(torch.cat([row.flip(1) for row in rows], 1))[-1][0].split([row.shape[1] for row in rows])
        with h5py.File(folder / f"lm_embeddings_{column}.hdf5") as file:
            for number, (one, other) in enumerate(zip(ahead, back, strict=True)):
                wanted = torch.from_numpy(file[str(number)][...])
                assert_close(torch.stack([one, other.flip(0)])[:, 1:-1], wanted, atol=1e-5, rtol=0)
            first = elmo(tokens([sentences[0].split()]))
            assert_close(first.below[-1][0], torch.from_numpy(np.concatenate(file["0"][...], -1)), atol=1e-5, rtol=0)


# what it gives ----------------------------------------------------------------------------------------------------------


def test_a_row_does_not_depend_on_its_company(tmp_path: Path) -> None:
    elmo = loaded(written(tmp_path))
    together = elmo(tokens(SENTENCES)).states
    for i, words in enumerate(SENTENCES):
        assert_close(together[i, : len(words)], elmo(tokens([words])).states[0])


def test_read_as_states_it_is_what_a_new_mix_gives(tmp_path: Path) -> None:
    elmo, apart = loaded(written(tmp_path)), loaded(tmp_path, layers=True)
    mean, layers = elmo(tokens(SENTENCES)), apart(tokens(SENTENCES))
    assert mean.below == ()
    assert_close(layers.states, mean.states)
    assert_close(ScalarMix([0, 1, 2])(layers).states, mean.states)
    for index in (0, 1, 2, -1):
        assert torch.equal(Layer(index)(layers).states, layers.below[index])
    again = States.cat([layers, layers])
    assert torch.equal(Layer(-1)(again).states[3:], layers.below[-1])


def test_the_gradient_of_each_layer_is_its_own_readers_alone(tmp_path: Path) -> None:
    layers = loaded(written(tmp_path), layers=True).train()(tokens(SENTENCES))
    for layer in layers.below:
        layer.retain_grad()
    layers.below[2].sum().backward()
    assert layers.below[0].grad is None
    assert layers.below[1].grad is None


def test_each_half_sees_one_side(tmp_path: Path) -> None:
    elmo = loaded(written(tmp_path))
    assert elmo.ports.looks == "halves"
    one, other = (elmo(tokens([["so", word, "it", "is"]])).states[0] for word in ("good", "bad"))
    same = (one - other).abs() < 1e-7
    assert same[0, :4].all()  # before the word, forward
    assert same[2:, 4:].all()  # behind it, backward
    assert not same[2:, :4].all()
    assert not same[0, 4:].all()


def test_dropout_is_of_the_training_alone(tmp_path: Path) -> None:
    elmo = loaded(written(tmp_path), dropout=0.5)
    torch.manual_seed(0)
    assert torch.equal(elmo(tokens(SENTENCES)).states, elmo(tokens(SENTENCES)).states)
    elmo.train()
    assert not torch.equal(elmo(tokens(SENTENCES)).states, elmo(tokens(SENTENCES)).states)


def test_tokens_without_a_spelling_are_refused(tmp_path: Path) -> None:
    given: Tensor = torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="carry no spelling"):
        loaded(written(tmp_path))(Tokens(given, given.bool(), given))


# files that cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("lstm.dim", "64", "options.json: `lstm.dim`: input should be a valid integer; found '\"64\"'"),
        ("lstm.projection_dim", 0, "`lstm.projection_dim`: input should be greater than or equal to 1"),
        ("char_cnn.activation", "gelu", "`char_cnn.activation`: input should be 'relu' or 'tanh'; found '\"gelu\"'"),
        ("char_cnn.max_characters_per_token", 2, "`char_cnn.max_characters_per_token`: input should be greater"),
        ("char_cnn.filters", [[60, 2]], "`char_cnn.filters` are at most as wide as a word, 50 characters; found '60'"),
        ("lstm", None, "`lstm`: an object is wanted; found 'null'"),
        ("char_cnn", ..., "`char_cnn`: field required"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, key: str, value: Any, told: str) -> None:
    file = written(tmp_path) / "options.json"
    options = json.loads(file.read_text())
    section, _, inner = key.partition(".")
    if value is ...:
        del options[section]
    elif inner:
        options[section][inner] = value
    else:
        options[section] = value
    file.write_text(json.dumps(options))
    with pytest.raises(ArtefactError) as caught:
        read_shape(file, "modules.elmo.options")
    assert str(file) in str(caught.value)
    assert told.lower() in str(caught.value).lower()


@pytest.mark.parametrize("text", ["{", "[1]", "\xff\xfe", "[" * 100_000, " " * 2**20 + "{}"])
def test_options_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "options.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ArtefactError, match=r"options\.json"):
        read_shape(file, "modules.elmo.options")


def changed(name: str, value: Any) -> Any:
    def change(file: Any) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changed("char_embed", None), "the weights of an ELMo have 'char_embed', and this file has not"),
        (changed("CNN", None), "have 'CNN/W_cnn_0'"),
        (changed("CNN", np.zeros(3)), "have 'CNN/W_cnn_0'"),
        (changed("CNN_proj/b_proj", np.zeros(5, "f4")), r"'CNN_proj/b_proj' is an array .* \(4,\); found 'float32 \(5,\)'"),
        (changed("CNN_proj/b_proj", np.zeros(4, "i4")), r"found 'int32 \(4,\)'"),
        (changed("CNN_proj/b_proj", np.full(4, np.nan, "f4")), "'CNN_proj/b_proj' has a number that is not finite"),
        (changed("CNN_proj/b_proj", h5py.ExternalLink("other.hdf5", "b")), "have 'CNN_proj/b_proj', and this file has not"),
        (changed("RNN_1/RNN/MultiRNNCell/Cell1", None), "have 'RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/W_0'"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(tmp_path: Path, change: Any, told: str) -> None:
    with h5py.File(written(tmp_path) / "weights.hdf5", "a") as file:
        change(file)
    with pytest.raises(ArtefactError, match=told) as caught:
        loaded(tmp_path)
    assert str(tmp_path / "weights.hdf5") in str(caught.value)


def test_weights_that_are_damaged(tmp_path: Path) -> None:
    file = written(tmp_path) / "weights.hdf5"
    whole = file.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(ArtefactError, match="not a whole HDF5 file"):
            loaded(tmp_path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"modules\.elmo\.options: no options of an ELMo are found"):
        read_shape(tmp_path / "options.json", "modules.elmo.options")
    with pytest.raises(ResourceError, match=r"modules\.elmo\.weights: no weights of an ELMo are found"):
        loaded(written(tmp_path), "other.hdf5")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"modules\.elmo\.weights: .*h5py, which is not installed\n.*manyheads\[elmo\]"):
        require_h5py("modules.elmo.weights")


def test_no_other_activation() -> None:
    shape = {"kernels": [[1, 1]], "letter": 1, "longest": 9, "highways": 0, "width": 2, "cells": 2, "depth": 1}
    with pytest.raises(ManyheadsError, match="an activation is one of 'relu', 'tanh'; found 'relux'; did you mean 'relu'"):
        Elmo(**shape, activation="relux", skips=False, cell_clip=None, state_clip=None)
