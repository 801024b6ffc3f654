"""`manyheads recipes`, the recipes themselves, and the files that GLUE's server takes of a model trained by one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from manyheads import api, plugins
from manyheads.cli.shipping import shipped
from manyheads.predict import Predictor

pytestmark = pytest.mark.usefixtures("forget")  # recipes bring plug-ins

Command = Callable[..., tuple[int, str, str]]
NAMES = ["deeppavlov-example", "glue", "mt-dnn", "mt-dnn-finetune", "pairs", "pytext-multitask", "pytext-sst2"]
PLUGIN = ("--plugin", "mean_of_three.py")
WORDS = ("the film at rome good", "a song by anna bad", "the dog in oslo fine", "the cat poor")
COLUMNS = {
    "SST-2": ("sentence", "label"),
    "MRPC": ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "STS-B": ("index", "genre", "sentence1", "sentence2", "score"),
    "QQP": ("id", "question1", "question2", "is_duplicate"),
    "MNLI": ("index", "sentence1", "sentence2", "gold_label"),
    "QNLI": ("index", "question", "sentence", "label"),
    "RTE": ("index", "sentence1", "sentence2", "label"),
    "WNLI": ("index", "sentence1", "sentence2", "label"),
}
LABELS = {
    "MNLI": ("entailment", "neutral", "contradiction"),
    "QNLI": ("entailment", "not_entailment"),
    "RTE": ("entailment", "not_entailment"),
    "STS-B": ("1.5", "4.250"),
}
UPLOAD = {"CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI", "AX"}


@pytest.fixture
def glue(place: Path) -> Path:
    """data/glue in small: all tasks in their published forms, eight rows a file, five in the tests; data/superglue, wnut17."""
    folder = place / "data" / "glue"
    _table(folder / "CoLA" / "train.tsv", None, [("gj04", str(i % 2), "", WORDS[i % 4]) for i in range(8)])
    _table(folder / "CoLA" / "dev.tsv", None, [("gj04", str(i % 2), "*", WORDS[i % 4]) for i in range(4)])
    _table(folder / "CoLA" / "test.tsv", ("index", "sentence"), [(str(i), WORDS[i % 4]) for i in range(5)])
    for task, header in COLUMNS.items():
        for split in ("train", "dev_matched" if task == "MNLI" else "dev"):
            _table(folder / task / f"{split}.tsv", header, [_row(header, i, LABELS.get(task, ("0", "1"))) for i in range(8)])
        bare = ("index", *(name for name in header[:-1] if name not in ("index", "id", "Quality")))
        bare = bare if task != "MRPC" else ("index", "#1 ID", "#2 ID", "#1 String", "#2 String")
        bare = ("id", *bare[1:]) if task == "QQP" else bare
        for split in ("test_matched", "test_mismatched") if task == "MNLI" else ("test",):
            _table(folder / task / f"{split}.tsv", bare, [_row(bare, i, ()) for i in range(5)])
    bare = ("index", "sentence1", "sentence2")
    _table(folder / "diagnostic" / "diagnostic.tsv", bare, [_row(bare, i, ()) for i in range(5)])
    return folder


def _row(header: tuple[str, ...], i: int, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Texts where a column is called so, numbers from 0 in an index, else a label."""
    texts = {"sentence", "sentence1", "sentence2", "question", "question1", "question2", "#1 String", "#2 String"}
    given = {"index": str(i), "id": str(i), "genre": "news", "#1 ID": "7", "#2 ID": "8"}
    return tuple(
        WORDS[(i + j) % 4] if name in texts else given.get(name) or labels[i % len(labels)] for j, name in enumerate(header)
    )


def _table(path: Path, header: tuple[str, ...] | None, rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(cells) + "\n" for cells in ([header] if header else []) + rows))


def small(encoder: Path, *further: str) -> list[str]:
    """Overrides that make a run of a recipe short."""
    fast = ["training.steps=12", "training.device=cpu", "training.schedule.warmup=0.1", "modules.encoder.max_length=32"]
    return [f"modules.encoder.name={encoder}", *fast, *further]


# the command ------------------------------------------------------------------------------------------------------------


def test_all_are_listed(command: Command) -> None:
    code, out, _ = command("recipes", "--json")
    found = json.loads(out)
    assert (code, sorted(r["name"] for r in found)) == (0, NAMES)
    assert all(r["summary"] and r["tasks"] and r["data"] for r in found)
    assert "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli" in command("recipes")[1]


def test_one_is_written_to_standard_output_or_to_a_file_that_is_not_there(command: Command, place: Path) -> None:
    code, text, _ = command("recipes", "glue")
    assert (code, text) == (0, next(r.text for r in shipped() if r.name == "glue"))
    code, _, err = command("recipes", "deeppavlov-example", "--to", "own.yaml")
    assert code == 0
    assert "manyheads train own.yaml --plugin mean_of_three.py" in err
    assert {p.name for p in place.iterdir()} == {"own.yaml", "mean_of_three.py"}
    code, _, err = command("recipes", "deeppavlov-example", "--to", "own.yaml")
    assert code == 2
    assert err.count("the file is already there") == 2
    assert command("recipes", "deeppavlov-example", "--to", "own.yaml", "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("glu",), "no recipe of the package is called this; there are 'deeppavlov-example', 'glue', 'mt-dnn'"),
        (("glu",), "did you mean 'glue'?"),
        (("--to", "x.yaml"), "--to: which recipe? there are"),
        (("glue", "--to", "nowhere/x.yaml"), "nowhere: the folder is not there"),
        (("glue", "--data", "a, b"), "--data: the name of the folder may hold none of"),
    ],
)
def test_what_cannot_be_written(command: Command, place: Path, arguments: tuple[str, ...], told: str) -> None:
    code, _, err = command("recipes", *arguments)
    assert code == 2
    assert told in err
    assert list(place.iterdir()) == []


def test_data_of_another_folder_are_named_from_the_recipe(command: Command, place: Path) -> None:
    (place / "here").mkdir()
    command("recipes", "mt-dnn-finetune", "--data", "corpora", "--to", "here/x.yaml")
    assert "train: ../corpora/glue/RTE/train.tsv" in (place / "here" / "x.yaml").read_text()
    assert "train: /corpora/glue/RTE/train.tsv" in command("recipes", "mt-dnn-finetune", "--data", "/corpora")[1]
    assert "train: glue/RTE/train.tsv" in command("recipes", "mt-dnn-finetune", "--data", ".")[1]
    assert not re.search(r"\bdata/", command("recipes", "glue", "--data", "/corpora")[1])


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_without_a_warning(command: Command, place: Path, name: str) -> None:
    command("recipes", name, "--to", "x.yaml")
    if Path("mean_of_three.py").exists():
        plugins.load_plugin("mean_of_three.py")
    assert api.load_recipe("x.yaml").warnings == ()


# glue and mt-dnn --------------------------------------------------------------------------------------------------------


def test_the_upload_of_a_model_of_all_tasks(command: Command, glue: Path, tiny: Path) -> None:
    command("recipes", "glue", "--to", "glue.yaml")
    code, _, err = command("train", "glue.yaml", *small(tiny))
    assert code == 0, err
    code, _, err = command("evaluate", "runs/glue", "--glue", "upload", "--predictions", "answers")
    assert code == 0, err
    assert {p.name for p in Path("upload").iterdir()} == {f"{name}.tsv" for name in UPLOAD}
    assert "warning: QQP.tsv has 5 rows, and the published test file 390,965" in err
    tables = {name: Path(f"upload/{name}.tsv").read_text().splitlines() for name in UPLOAD}
    for name, (head, *lines) in tables.items():
        assert head == "index\tprediction"
        assert [line.split("\t")[0] for line in lines] == ["0", "1", "2", "3", "4"], name
    predictor = Predictor.load("runs/glue/artefact")
    pairs = [(WORDS[(i + 1) % 4], WORDS[(i + 2) % 4]) for i in range(5)]
    said = [answer.predictions for answer in predictor(pairs)]
    assert tables["RTE"][1:] == [f"{i}\t{found['rte'].value}" for i, found in enumerate(said)]
    assert tables["AX"] == tables["MNLI-mm"] == tables["MNLI-m"]  # the same pairs here
    assert all(re.fullmatch(r"\d\t[0-5]\.\d{3}", line) for line in tables["STS-B"][1:])
    assert {line.split("\t")[1] for line in tables["CoLA"][1:]} <= {"0", "1"}
    assert len(Path("answers/mnli.test.jsonl").read_text().splitlines()) == 15
    lines = [json.loads(line) for line in Path("answers/rte.test.jsonl").read_text().splitlines()]
    assert [(line["index"], line["label"]) for line in lines] == [(i, found["rte"].value) for i, found in enumerate(said)]


def test_the_two_stages_of_mt_dnn(command: Command, glue: Path, tiny: Path) -> None:
    command("recipes", "mt-dnn", "--to", "one.yaml")
    command("recipes", "mt-dnn-finetune", "--to", "two.yaml")
    code, _, err = command("train", "two.yaml", *small(tiny))
    assert code != 0
    assert "runs/mt-dnn/artefact" in err
    assert command("train", "one.yaml", *small(tiny))[0] == 0
    code, _, err = command("train", "two.yaml", *small(tiny, "training.steps=1", "training.optimizer.lr=1e-30"))
    assert code == 0, err
    one, two = (Predictor.load(f"runs/{name}/artefact").model for name in ("mt-dnn", "mt-dnn-finetune"))
    assert set(two.tasks) == {"rte"}
    shared = {name: tensor for name, tensor in one.state_dict().items() if name.startswith("pool.encoder.")}
    assert len(shared) > 10
    assert all(tensor.equal(two.state_dict()[name]) for name, tensor in shared.items())


def test_the_seven_runs_of_the_pairwise_study(command: Command, place: Path) -> None:
    """By the overrides that the recipe tells: which tasks, and in which order they come."""
    command("recipes", "pairs", "--to", "pairs.yaml")
    told = re.findall(r"^#   ([A-Z][\w, -]+?) +(tasks\..*)$", Path("pairs.yaml").read_text(), re.MULTILINE)
    names = {"SST-2": "sst2", "MNLI": "mnli", "SQuAD": "squad"}
    runs = {frozenset(names[name] for name in tasks.split(" and ")): shlex.split(text) for tasks, text in told}
    assert set(runs) == {frozenset(some) for count in (1, 2) for some in combinations(names.values(), count)}
    for tasks, overrides in {**runs, frozenset(names.values()): []}.items():
        loaded = api.load_recipe("pairs.yaml", overrides)
        assert set(loaded.recipe.tasks) == tasks
        assert loaded.warnings == ()
        phases = [(set(phase.datasets), phase.passes) for phase in loaded.recipe.mixture.phases]
        half, others = ({"squad"}, 0.5), tasks - {"squad"}
        assert phases == ([half, (others, 1), half] if "squad" in tasks and others else [])


@pytest.mark.parametrize(
    ("tasks", "overrides"),
    [("sst2, mnli, squad", ()), ("sst2, mnli", ("tasks.squad=null", "mixture={sampling: proportional}"))],
)
def test_the_pairwise_study_in_small(command: Command, glue: Path, tiny: Path, tasks: str, overrides: tuple[str, ...]) -> None:
    questions = [
        {
            "context": f"{words} by anna",
            "qas": [{"id": str(i), "question": "by", "answers": [{"text": words, "answer_start": 0}]}],
        }
        for i, words in enumerate(WORDS * 20)
    ]
    (glue.parent / "squad").mkdir()
    for split in ("train", "dev"):
        data = {"version": "1.1", "data": [{"title": "Films", "paragraphs": questions}]}
        (glue.parent / "squad" / f"{split}-v1.1.json").write_text(json.dumps(data))
    command("recipes", "pairs", "--to", "pairs.yaml")
    limits = [f"tasks.{task}.data.max_length=32" for task in ("sst2", "mnli")]
    short = [*(o for o in small(tiny) if not o.startswith("training.steps")), *limits]
    code, out, err = command(
        "train", "pairs.yaml", *short, "training.batch.rows=16", "tasks.squad.data.stride=8", *overrides, "--json"
    )
    assert code == 0, err
    assert {key.split("/")[0] for key in json.loads(out)["scores"]} == set(tasks.split(", "))
    artefact = Predictor.load("runs/pairs/artefact").model
    assert {task.steps[0].module for task in artefact.tasks.values()} == {"encoder"}
    assert len({task.steps[-1].module for task in artefact.tasks.values()}) == len(artefact.tasks)


@pytest.mark.parametrize("name", ["pytext-sst2", "pytext-multitask"])
def test_the_recipes_of_pytexts_tutorials_train(command: Command, glue: Path, name: str) -> None:
    (glue.parent / "wikitext-2").mkdir()
    for split in ("train", "valid", "test"):
        (glue.parent / "wikitext-2" / f"wiki.{split}.tokens").write_text("\n".join((*WORDS, "")))
    command("recipes", name, "--to", "x.yaml")
    small = ["training.steps=6", "training.device=cpu", "modules.embedding.vectors=null", "modules.embedding.width=8"]
    further = ["mixture.epoch=3", "tasks.lm.cutoffs=[4]"] if name == "pytext-multitask" else []
    code, _, err = command("train", "x.yaml", *small, *further)
    assert code == 0, err
    model = Predictor.load(f"runs/{name}/artefact").model
    assert [[step.module for step in model.tasks[task].steps] for task in model.tasks] == [
        ["embedding", "lstm", "pool", "sst2_head"],
        *([["embedding", "lstm", "lm_head"]] if further else []),
    ]


def test_what_cannot_be_uploaded(command: Command, trained: Path) -> None:
    code, _, err = command("evaluate", trained / "run", "--glue", "upload")
    assert code == 2
    assert "--glue: no data set of the recipe has test files of `format: glue`" in err
    code, _, err = command("evaluate", trained / "run", "--glue", "upload", "--data", "mood=x.csv")
    assert code == 2
    assert "--data and --glue exclude each other" in err


def test_predictions_of_every_kind_of_task(command: Command, trained: Path, place: Path) -> None:
    code, out, err = command("evaluate", trained / "run", "--predictions", "answers", "--json")
    assert code == 0, err
    files = {p.name: [json.loads(line) for line in p.read_text().splitlines()] for p in Path("answers").iterdir()}
    assert files.keys() == {f"{task}.{split}.jsonl" for task in ("mood", "likeness", "names") for split in ("dev", "test")}
    assert all([line["index"] for line in lines] == list(range(len(lines))) for lines in files.values())
    assert files["mood.test.jsonl"][0].keys() == {"index", "label", "probabilities"}
    assert files["likeness.dev.jsonl"][0].keys() == {"index", "value"}
    assert files["names.dev.jsonl"][0].keys() == {"index", "tags", "spans"}
    assert json.loads(out)["scores"]


# real data --------------------------------------------------------------------------------------------------------------

REAL = ("CoLA", "STS-B", "WNLI")


def test_the_upload_has_the_published_rows_in_their_order(command: Command, place: Path, shared_data: Path, tiny: Path) -> None:
    tasks = "".join(
        f"  {task[:3].lower()}: {{type: {'regression, low: 0, high: 5' if task == 'STS-B' else 'classification'}, data: "
        f"{{train: {shared_data}/glue/{task}/dev.tsv, split: {{dev: 0.1}}, test: {shared_data}/glue/{task}/test.tsv}}}}\n"
        for task in REAL
    )
    text = f"modules: {{encoder: {{type: pretrained, name: {tiny}, max_length: 16}}}}\n"
    text += f"defaults: {{path: [encoder], data: {{format: glue}}}}\noutput: run\ntasks:\n{tasks}"
    Path("r.yaml").write_text(text)
    code, _, err = command("train", "r.yaml", "training.steps=3", "training.device=cpu")
    assert code == 0, err
    code, _, err = command("evaluate", "run", "--glue", "upload")
    assert code == 0, err
    assert "and the published test file" not in err
    assert "the server wants these files too: 'SST-2.tsv', 'MRPC.tsv', 'QQP.tsv'" in err
    for task, count in zip(REAL, (1063, 1379, 146), strict=True):
        lines = Path(f"upload/{task}.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == ["index", *map(str, range(count))]


@pytest.mark.parametrize(
    ("config", "file", "names", "count", "answers"),
    [
        ("rte", "RTE", ["entailment", "not_entailment"], "3,000", {"entailment", "not_entailment"}),
        ("mrpc", "MRPC", ["not_equivalent", "equivalent"], "1,725", {"0", "1"}),
    ],
)
def test_the_upload_of_a_task_from_the_hub(
    command: Command, place: Path, tiny: Path, config: str, file: str, names: list[str], count: str, answers: set[str]
) -> None:
    """Its labels become those of the server."""
    columns = {"sentence1": ["a cat", "the film"] * 6, "sentence2": ["rome", "oslo"] * 6, "idx": [*range(12)]}
    features = Features(
        {**dict.fromkeys(("sentence1", "sentence2"), Value("string")), "idx": Value("int64"), "label": ClassLabel(names=names)}
    )
    labels = {"train": [0, 1] * 6, "validation": [0, 1] * 6, "test": [-1] * 12}
    saved = {split: Dataset.from_dict({**columns, "label": label}, features=features) for split, label in labels.items()}
    DatasetDict(saved).save_to_disk(place / "saved")
    read = f"format: hub, hub: ./saved, config: {config}, text: sentence1, pair: sentence2"
    data = f"{{{read}, train: train, dev: validation, test: test}}"
    text = f"modules: {{encoder: {{type: pretrained, name: {tiny}, max_length: 16}}}}\noutput: run\n"
    Path("r.yaml").write_text(f"{text}tasks: {{t: {{type: classification, path: [encoder], data: {data}}}}}\n")
    code, _, err = command("train", "r.yaml", "training.steps=3", "training.device=cpu")
    assert code == 0, err
    code, _, err = command("evaluate", "run", "--glue", "upload")
    assert code == 0, err
    assert f"{file}.tsv has 12 rows, and the published test file {count}: the server will refuse it" in err
    first, *lines = [line.split("\t") for line in Path(f"upload/{file}.tsv").read_text().splitlines()]
    assert first == ["index", "prediction"]
    assert [index for index, _ in lines] == [str(i) for i in range(12)]
    assert {answer for _, answer in lines} <= answers


@pytest.mark.slow
def test_deeppavlovs_example_on_real_data(command: Command, place: Path, shared_data: Path, bert_tiny: Path) -> None:
    command("recipes", "deeppavlov-example", "--data", shared_data, "--to", "x.yaml")
    limits = [f"tasks.{task}.data.limit=64" for task in ("cola", "rte", "stsb", "copa", "names")]
    kinds = ("corporation", "creative-work", "group", "location", "person", "product")
    limits.append(
        f"tasks.names.labels=[O, {', '.join(f'{mark}-{kind}' for kind in kinds for mark in 'BI')}]"
    )  # few rows lack some
    overrides = [
        f"modules.encoder.name={bert_tiny}",
        "training.device=cpu",
        "training.batch.rows=16",
        *limits,
    ]
    code, _, err = command("check", "x.yaml", *PLUGIN, *overrides)
    assert code == 0, err
    assert [line for line in err.splitlines() if line.startswith("warning: ") and not line.endswith("are cut")] == []
    code, _, err = command("train", "x.yaml", *PLUGIN, *overrides, "training.epochs=2", "--json")
    assert code == 0, err
    updates = [json.loads(line) for line in Path("runs/x/records.jsonl").read_text().splitlines()]
    trained = {(r["step"], r["task"]) for r in updates if r["split"] == "train" and r["metric"] == "loss"}
    assert {task for _, task in trained} == {"cola", "rte", "stsb", "copa", "names"}
    assert all(len({task for step, task in trained if step == one}) == 5 for one, _ in trained)  # every task in every epoch


@pytest.mark.slow
def test_the_glue_recipe_on_real_data(command: Command, glue: Path, shared_data: Path, bert_tiny: Path) -> None:
    """With the files at hand; QQP, MNLI and the training rows of QNLI are those written here."""
    for task in ("CoLA", "SST-2", "MRPC", "STS-B", "RTE", "WNLI"):
        for split in ("train", "dev"):
            (glue / task / f"{split}.tsv").unlink()
            (glue / task / f"{split}.tsv").symlink_to(shared_data / "glue" / task / f"{split}.tsv")
    command("recipes", "glue", "--to", "glue.yaml")
    limits = [f"tasks.{task}.data.limit=32" for task in ("cola", "sst2", "mrpc", "stsb", "rte", "wnli")]
    overrides = [f"modules.encoder.name={bert_tiny}", "training.epochs=1", "training.device=cpu", *limits]
    code, _, err = command("check", "glue.yaml", *overrides)
    assert code == 0, err
    code, out, err = command("train", "glue.yaml", *overrides, "--json")
    assert code == 0, err
    scores = json.loads(out)["scores"]
    assert {key.split("/")[0] for key in scores} == {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}
