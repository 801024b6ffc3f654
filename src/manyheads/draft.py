"""A commented recipe from data files: what `manyheads init` writes, with the reasons for what it guessed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from manyheads.config.spec.data import DataSpec
from manyheads.data.encode import InputSpec, sift
from manyheads.data.labels import LabelMap, label_text
from manyheads.data.number_target import NumberTarget
from manyheads.data.read import Rows, Split, columns_of, default_columns, read_rows
from manyheads.data.readers.source import PACKED
from manyheads.data.targets import ClassTarget, KnownTarget, MultilabelTarget, TagTarget
from manyheads.errors import DataError, Problem, RecipeError, listed
from manyheads.types import Row

SCHEMA = "recipe.schema.json"  # beside the recipe
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "tag", "score", "y")
_TEXT_NAMES = ("text", "sentence", "sentence1", "premise", "question", "content", "review", "title")
_PAIR_NAMES = ("pair", "sentence2", "hypothesis", "answer", "passage", "text2")
_SPLITS: Mapping[str, Split] = {
    "train": "train",
    **dict.fromkeys(("dev", "valid", "validation", "val", "eval"), "dev"),
    "test": "test",
}
_SPLIT = re.compile(rf"(?<![^._-])({'|'.join(_SPLITS)})(?![^._-])", re.IGNORECASE)  # a whole part of a file's name
_TABLES = (".csv", ".tsv")  # endings of files with a header
_ORDER: tuple[Split, ...] = ("train", "dev", "test")
_LINES = "a .txt file is read as plain lines; for a word and its tag a line name it .conll, for columns .tsv"
_FEWEST = 10  # training rows of which some can be set aside
_MOST = 50  # labels that are written out; a column with more of them may be no label column
_CLASSES = 20  # different whole numbers that may still be classes
_WIDTH = 100  # characters of a line of labels
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BARE = re.compile(r"[A-Za-z_][\w/-]*(\.\w+)*|(\.\./)*[A-Za-z_][\w./-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Family:
    """The files of one task, by split, and what their names tell beside that."""

    name: str
    files: Mapping[Split, tuple[Path, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """One task guessed from its files: its lines of YAML under `data` and above it, the reasons, how its labels are read."""

    name: str
    type: str
    settings: tuple[str, ...]
    data: tuple[str, ...]
    notes: tuple[str, ...]
    target: KnownTarget


def draft(files: Sequence[Path], encoder: str, base: Path) -> str:
    """The text of a recipe with a task for each family of files, paths relative to `base`.

    Raises RecipeError for folders, DataError for what cannot be read or holds no labels.
    """
    remedy = "name files in it; for one sub-folder a label, write a task with `format: folders` by hand"
    rule = "data files are wanted, and this is a folder"
    if wrong := [Problem(rule, str(file), remedy=remedy) for file in files if file.is_dir()]:
        raise RecipeError(*wrong)
    guesses = [guess(family, base) for family in families(files)]
    twice = [name for name, count in Counter(g.name for g in guesses).items() if count > 1]
    if twice:
        raise DataError(Problem("two files would give tasks of the same name", value=twice[0], remedy="rename one of them"))
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        "# Made by `manyheads init`. Every key and its default: docs/recipe.md, or `manyheads schema`.",
        "version: 1",
        "seed: 13",
        "",
        "modules:                     # the pool; a task's path names its modules",
        f"  encoder: {{type: pretrained, name: {_yaml(encoder)}, max_length: 128}}",
        "",
        "tasks:",
    ]
    for g in guesses:
        lines += [f"  # {note}" for note in g.notes]
        lines += [f"  {g.name}:", f"    type: {g.type}", "    path: [encoder]", *(f"    {line}" for line in g.settings)]
        lines += ["    data:", *(f"      {line}" for line in g.data)]
    lines += [
        "",
        "mixture: {sampling: temperature, temperature: 2}   # proportional, uniform, shares, round_robin, sequential",
        "",
        "training:",
        "  epochs: 3",
        "  batch: {tokens: 2048}      # padded pieces in a batch",
        "  optimizer: {name: adamw, lr: 5.0e-5}",
    ]
    return "\n".join(lines) + "\n"


def families(files: Iterable[Path]) -> list[Family]:
    """Files of one folder whose names differ only in a word (train, dev, valid, test, …) are one task.

    It is called like the rest of the name, else like the folder. Without a train file each stays a task of its own.
    """
    groups: dict[tuple[Path, str], dict[Split, list[Path]]] = {}
    for file in dict.fromkeys(files):
        split, rest = _parted(file.name)
        groups.setdefault((file.absolute().parent, rest), {}).setdefault(split, []).append(file)
    found = []
    for (folder, rest), group in groups.items():
        if "train" not in group:
            note = "Named like dev or test rows, but no train file was given beside it: taken for training rows."
            found += [Family(_name_of(_stem(f.name)), {"train": (f,)}, (note,)) for part in group.values() for f in part]
            continue
        members = {split: tuple(group[split]) for split in _ORDER if split in group}
        count = sum(map(len, members.values()))
        note = f"One task of {count} files, whose names differ only in the word for {', '.join(members)}."
        stem = _stem(rest).replace("/", "").strip("._- ").split(".")[0]
        found.append(Family(_name_of(stem or folder.name), members, (note,) if count > 1 else ()))
    return found


def _parted(name: str) -> tuple[Split, str]:
    """The split that a file's name tells, train unless it does, and the name with a slash in the place of that word."""
    words = list(_SPLIT.finditer(name))
    if not words:
        return "train", name
    start, stop = words[-1].span()
    return _SPLITS[name[start:stop].lower()], f"{name[:start]}/{name[stop:]}"


def _stem(name: str) -> str:
    """A file's name without the endings that tell its format."""
    name = _unpacked(name)
    return name.rpartition(".")[0] or name


def _unpacked(name: str) -> str:
    return name[: -len(next((p for p in PACKED if name.lower().endswith(p)), "")) or None]


def _name_of(text: str) -> str:
    """`text` as the name of a task."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:60] or "task"
    return name if name[0].isalpha() else f"task_{name}"


def guess(family: Family, base: Path) -> Guess:
    """What task the files are for: by their format, the column names and the values of the label column."""
    files: dict[str, list[str]] = {split: [str(file) for file in part] for split, part in family.files.items()}
    spec = DataSpec.model_validate({**files, "bad_rows": "skip"})
    read = {split: read_rows(spec, split, Path()) for split in family.files}
    rows = read["train"].rows
    used = _word_columns(rows, default_columns(spec).tags) or _text_columns(rows, files["train"][0])
    kept = {split: part for split, part in read.items() if set(used.values()) <= set(columns_of(part.rows))}
    notes = [*family.notes, *(_left_out(files[split], used, read[split].rows) for split in read if split not in kept)]
    notes += _headless(files["train"][0], rows)
    data = _files(family, kept, base) + [f"{key}: {_yaml(column)}" for key, column in used.items()]
    make = _tagging if "words" in used else _labels
    found = make(family.name, data, kept, used, notes)
    bad = _bad(found.target, used, kept)
    line = f"bad_rows: skip               # {bad} rows break a rule; `error` lists them"
    return replace(found, data=(*found.data, line)) if bad else found


def _bad(target: KnownTarget, used: Mapping[str, str], read: Mapping[Split, Rows]) -> int:
    """How many rows a run would refuse. DataError where no training row is left, or no label fits the others."""
    inputs = InputSpec(used.get("text"), used.get("pair"), used.get("words"))
    good, unfit = sift(read["train"].rows, inputs, {target.task: target})
    if not good:
        raise DataError(unfit[0].problem())
    fitted = target.fit(good)
    held_out = [sift(read[split].rows, inputs, {target.task: fitted})[1] for split in read if split != "train"]
    return sum(map(len, (unfit, *held_out, *(part.bad for part in read.values()))))


def _files(family: Family, kept: Mapping[Split, Rows], base: Path) -> list[str]:
    """The lines of a task's files, and of what is set aside where a split has none."""
    lines = []
    for split in kept:
        paths = [_yaml(os.path.relpath(file, base)) for file in family.files[split]]
        lines.append(f"{split}: {paths[0] if len(paths) == 1 else '[' + ', '.join(paths) + ']'}")
    aside = [split for split in _ORDER if split not in kept]
    if aside and len(kept["train"].rows) >= _FEWEST:
        shares, named = ", ".join(f"{split}: 0.1" for split in aside), ", ".join(f"{split}: …" for split in aside)
        lines.append(f"split: {{{shares}}}   # set aside from train; or name files: {named}")
    return lines


def _left_out(files: Sequence[str], used: Mapping[str, str], rows: Sequence[Row]) -> str:
    absent = [column for column in used.values() if column not in columns_of(rows)]
    return f"Left out: {listed(files)}, without the column {listed(absent)}."


def _headless(file: str, rows: Sequence[Row]) -> list[str]:
    """A note where the first line of a table looks like data: a name in it is a number, or stands in its column again."""
    if PurePath(_unpacked(file)).suffix.lower() not in _TABLES:
        return []
    names = columns_of(rows)
    odd = [name for name in names if _NUMBER.fullmatch(name) or any(row.values.get(name) == name for row in rows if name)]
    if not odd:
        return []
    remedy = f"if it is no header, write `columns: […]` under `data`, with {len(names)} names, and mend what names a column"
    return [f"The first line looks like data ({listed(odd)}): {remedy}."]


def _yaml(value: str) -> str:
    """`value` as YAML: bare where that is safe, else in double quotes, with what cannot be seen as escapes."""
    plain = _BARE.fullmatch(value) and value.lower() not in ("null", "true", "false")
    return value if plain else "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """Line breaks that JSON has not, controls and non-characters may not stand in YAML as they are."""
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _word_columns(rows: Sequence[Row], usual: str) -> dict[str, str]:
    """Columns of words and of their tags: lists of texts that are as long as each other; empty if there are none.

    Words are the first lists, tags those in the column `usual`, else the last.
    """
    lists = [c for c in columns_of(rows) if all(isinstance(row.values.get(c), list | tuple) for row in rows)]
    tags = next((c for c in sorted(lists[:0:-1], key=lambda c: c != usual) if _parallel(rows, lists[0], c)), None)
    return {} if tags is None else {"words": lists[0], "label": tags}


def _text_columns(rows: Sequence[Row], file: str) -> dict[str, str]:
    """A column of texts, perhaps one of second texts, a column of labels."""
    columns = columns_of(rows)
    label = _column(columns, _LABEL_NAMES) or columns[-1]
    rest = [c for c in columns if c != label]
    if not rest:
        remedy = _LINES if PurePath(file).suffix.lower() == ".txt" else ""
        raise DataError(Problem("a text and a label column are wanted", file, ", ".join(columns), remedy=remedy))
    first = _column(rest, _TEXT_NAMES) or max(rest, key=lambda c: _length(rows, c))
    pair = _column([c for c in rest if c != first], _PAIR_NAMES)
    return {"text": first, **({"pair": pair} if pair else {}), "label": label}


def _labels(name: str, data: Sequence[str], read: Mapping[Split, Rows], used: Mapping[str, str], notes: Sequence[str]) -> Guess:
    """A task with a label a row."""
    values = [row.values.get(used["label"]) for part in read.values() for row in part.rows]
    empty = [f'missing: [""]                # {values.count("")} rows have no label'] if "" in values else []
    labels = [v for v in values if v not in (None, "")]
    kind, names = _kind(labels)
    missing = ("",) if empty else ()
    declared = LabelMap(tuple(names)) if _few(names) else None
    target: KnownTarget
    if kind == "regression":
        target = NumberTarget(name, used["label"], missing=missing)
    else:
        make = MultilabelTarget if kind == "multilabel" else ClassTarget
        target = make(name, used["label"], missing=missing, labels=declared)
    about = f"{len(names)} labels" if names else "numbers in the label column"
    if len(names) > _MOST:
        about += ": is this a label column?"
    columns = listed(columns_of(read["train"].rows))
    note = f"Guessed from {_counted(read, 'rows')} with the columns {columns}: {about}."
    return Guess(name, kind, tuple(_written(names)), (*data, *empty), (*notes, note, *_doubts(kind, labels)), target)


def _tagging(
    name: str, data: Sequence[str], read: Mapping[Split, Rows], used: Mapping[str, str], notes: Sequence[str]
) -> Guess:
    """A task with a tag a word."""
    names = sorted({str(tag) for part in read.values() for row in part.rows for tag in _list(row.values.get(used["label"]))})
    scheme = _scheme(names)
    settings = [*([] if scheme == "BIO" else [f"scheme: {scheme}"]), *_written(names)]
    note = f"Guessed from {_counted(read, 'sentences')}: {len(names)} tags, scheme {scheme}."
    declared = LabelMap(tuple(names)) if _few(names) else None
    target = TagTarget(name, used["label"], words=used["words"], scheme=scheme, labels=declared)
    return Guess(name, "tagging", tuple(settings), tuple(data), (*notes, note), target)


def _counted(read: Mapping[Split, Rows], what: str) -> str:
    """How many rows there are, by split where there are several."""
    if len(read) == 1:
        return f"{len(read['train'].rows)} {what}"
    return f"{', '.join(f'{len(part.rows)} {split}' for split, part in read.items())} {what}"


def _doubts(kind: str, labels: Sequence[object]) -> list[str]:
    """The other type that numbers in a label column may be for: stars, say, are classes or amounts."""
    names = {_name(v) for v in labels}
    if kind == "classification" and len(names) > 2 and all(_NUMBER.fullmatch(name) for name in names):
        return ["Or regression: if the numbers are amounts, write `type: regression` and take `labels` out."]
    if kind == "regression" and len(names) <= _MOST and all(_classlike(v) for v in labels):
        return ["Or classification: if the numbers are names of classes, write `type: classification`."]
    return []


def _classlike(value: object) -> bool:
    return isinstance(value, str | int | float) and label_text(value) is not None


def _scheme(tags: Iterable[str]) -> str:
    """How tags spell spans, by their first letters."""
    marked = [tag for tag in tags if tag != "O"]
    letters = {tag[0] for tag in marked}
    if not marked or not all(len(tag) > 2 and tag[1] == "-" for tag in marked):
        return "none"
    schemes = {"BIO": "BI", "BIOUL": "BIUL", "IOBES": "BIES"}
    return next((scheme for scheme, known in schemes.items() if letters <= set(known) and letters & set("BUS")), "none")


def _kind(values: Sequence[object]) -> tuple[str, list[str]]:
    """The type of a task with these labels, and their names where they have names."""
    if any(isinstance(v, list | tuple) or (isinstance(v, str) and "|" in v) for v in values):
        return "multilabel", _labels_in([part for v in values for part in _parts(v)])
    names = sorted({_name(v) for v in values})
    if values and all(_NUMBER.fullmatch(name) for name in names):
        whole = all(name.lstrip("+-").isdigit() for name in names)
        if not whole or len(names) > _CLASSES:
            return "regression", []
    return "classification", _labels_in(values)


def _labels_in(values: Iterable[object]) -> list[str]:
    """The labels among values; what can be none is left to the rules of rows."""
    return sorted({label for v in values if isinstance(v, str | int | float) and (label := label_text(v))})


def _parts(value: object) -> list[object]:
    """The single labels of a row that may have several."""
    if isinstance(value, str):
        return list(value.split("|"))
    return list(value) if isinstance(value, list | tuple) else [value]


def _few(names: Sequence[str]) -> bool:
    """Whether labels are written out."""
    return 0 < len(names) <= _MOST


def _written(names: Sequence[str]) -> list[str]:
    """`labels: [...]`, over several lines where it is long; nothing where there are too many."""
    if not _few(names):
        return []
    lines = ["labels: ["]
    for i, name in enumerate(names):
        part = _yaml(name) + (", " if i + 1 < len(names) else "]")
        if len(lines[-1]) + len(part) > _WIDTH:
            lines.append("  ")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _parallel(rows: Sequence[Row], words: str, tags: str) -> bool:
    """True when each row has as many tags as words, all of them texts."""
    pairs = [(_list(row.values.get(words)), _list(row.values.get(tags))) for row in rows]
    return all(len(w) == len(t) and all(isinstance(part, str) for part in (*w, *t)) for w, t in pairs)


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    folded = {c.casefold(): c for c in reversed(columns)}
    return next((folded[n] for n in names if n in folded), None)


def _length(rows: Sequence[Row], column: str) -> int:
    return sum(len(value) for row in rows if isinstance(value := row.values.get(column), str))


def _name(value: object) -> str:
    return (label_text(value) if isinstance(value, str | int | float) else None) or str(value)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
