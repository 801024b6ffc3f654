"""GLUE's own files: which task a file is of, its columns, and the published numbers of rows."""

import json
from pathlib import Path

import pytest

from manyheads.config.load import recipe_from
from manyheads.config.spec.data import DataSpec
from manyheads.data.read import default_columns, read_rows
from manyheads.data.readers.glue import told
from manyheads.errors import DataError, RecipeError

BINARY, ENTAILED = {"0", "1"}, {"entailment", "not_entailment"}
PUBLISHED = [
    ("CoLA", "train", 8551, BINARY),
    ("CoLA", "dev", 1043, BINARY),
    ("CoLA", "test", 1063, {None}),
    ("SST-2", "train", 67349, BINARY),
    ("SST-2", "dev", 872, BINARY),
    ("SST-2", "test", 1821, {None}),
    ("MRPC", "train", 3668, BINARY),
    ("MRPC", "dev", 408, BINARY),
    ("MRPC", "test", 1725, BINARY),  # this copy tells them
    ("STS-B", "train", 5749, None),
    ("STS-B", "dev", 1500, None),
    ("STS-B", "test", 1379, {None}),
    ("QNLI", "dev", 5463, ENTAILED),
    ("QNLI", "test", 5463, {None}),
    ("RTE", "train", 2490, ENTAILED),
    ("RTE", "dev", 277, ENTAILED),
    ("RTE", "test", 3000, {None}),
    ("WNLI", "train", 635, BINARY),
    ("WNLI", "dev", 71, BINARY),
    ("WNLI", "test", 146, {None}),
]


@pytest.mark.parametrize(("task", "split", "count", "labels"), PUBLISHED, ids=[f"{t}-{s}" for t, s, *_ in PUBLISHED])
def test_the_published_rows(public_data: Path, task, split, count, labels):
    spec = DataSpec(format="glue", train=f"glue/{task}/{split}.tsv")
    rows = read_rows(spec, "train", public_data).rows
    assert len(rows) == count
    assert [row.values["index"] for row in rows] == list(range(count))
    wanted = {"index", "text", "label"} | ({"pair"} if task not in ("CoLA", "SST-2") else set())
    assert all(row.values.keys() == wanted and str(row.values["text"]).strip() for row in rows)
    assert (default_columns(spec).pair is not None) == ("pair" in wanted)
    if labels is not None:
        assert {row.values["label"] for row in rows} == labels
    else:
        assert all(0 <= float(row.values["label"]) <= 5 for row in rows)


def test_mnli_as_it_is_passed_on(public_data: Path):
    spec = DataSpec(format="glue", train="nli/mnli_dev_matched.jsonl")
    rows = read_rows(spec, "train", public_data).rows
    assert len(rows) == 9815
    assert {row.values["label"] for row in rows} == {"entailment", "neutral", "contradiction"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    """`rows(name, text)`: the values of the rows of a GLUE file of that name."""

    def found(name, text, **spec):
        base = tmp_path_factory.mktemp("glue")
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
        return [dict(row.values) for row in read_rows(DataSpec(format="glue", train=name, **spec), "train", base).rows]

    return found


MNLI_TRAIN = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
    "\tsentence1\tsentence2\tlabel1\tgold_label\n"
    '0\t31193\t31193n\tgovernment\t( a )\t( b )\t(ROOT a)\t(ROOT b)\tA "quoted text.\tB text.\tneutral\tneutral\n'
    "1\t101457\t101457e\ttelephone\t( a )\t( b )\t(ROOT a)\t(ROOT b)\tC.\tD.\tentailment\t-\n"
)
MNLI_TEST = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
    "\tsentence1\tsentence2\n7\t1\t1n\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)\tA.\tB.\n"
)
SNLI = {
    "annotator_labels": ["neutral", "entailment"],
    "gold_label": "-",
    "sentence1": "A.",
    "sentence2": "B.",
    "pairID": "4#1r",
}
PAIR = {"text": "A.", "pair": "B."}


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("MNLI/train.tsv", MNLI_TRAIN, [
            {"index": 0, "text": 'A "quoted text.', "pair": "B text.", "label": "neutral"},
            {"index": 1, "text": "C.", "pair": "D.", "label": None},
        ]),
        ("MNLI/test_mismatched.tsv", MNLI_TEST, [{"index": 7, **PAIR, "label": None}]),
        ("snli_1.0_dev.jsonl", json.dumps(SNLI) + "\n", [{"index": 0, **PAIR, "label": None}]),
        ("QQP/train.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133273\t1\t2\tA.\tB.\t1\n",
         [{"index": 133273, **PAIR, "label": "1"}]),
        ("QQP/test.tsv", "id\tquestion1\tquestion2\n0\tA.\tB.\n", [{"index": 0, **PAIR, "label": None}]),
        ("MNLI/diagnostic.tsv", "index\tsentence1\tsentence2\n0\tA.\tB.\n", [{"index": 0, **PAIR, "label": None}]),
        ("ax/diagnostic-full.tsv", "Lexical Semantics\tDomain\tPremise\tHypothesis\tLabel\n\tnews\tA.\tB.\tneutral\n",
         [{"index": 0, **PAIR, "label": "neutral"}]),
        ("MRPC/test.tsv", "\ufeffindex\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tA.\tB.\n",
         [{"index": 0, **PAIR, "label": None}]),
        ("msr_paraphrase_train.txt", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tA.\tB.\n",
         [{"index": 0, **PAIR, "label": "1"}]),
        ("CoLA/dev.tsv", 'gj04\t0\t*\t"A b.\n', [{"index": 0, "text": '"A b.', "label": "0"}]),
    ],
    ids=["mnli", "mnli-test", "snli-jsonl", "qqp", "qqp-test", "ax", "ax-full", "mrpc-test", "mrpc-original", "cola"],
)  # fmt: skip
def test_forms_that_are_not_at_hand(rows, name, text, wanted):
    assert rows(name, text) == wanted


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("GLUE/QNLI/dev.tsv", "QNLI"),
        ("qnli_dev.tsv", "QNLI"),
        ("mnli/QNLI.tsv", "QNLI"),
        ("glue/sst2/train.tsv", "SST-2"),
        ("SST-2/train.tsv", "SST-2"),
        ("stsb/x.tsv", "STS-B"),
        ("STS-B/x.tsv", "STS-B"),
        ("start/cola/x.tsv", "CoLA"),
        ("start/relax/x.tsv", None),
        ("vertex/x.tsv", None),
    ],
)
def test_the_nearest_name_tells(name, task):
    assert told(name) == task


def test_config_says_what_names_do_not(rows):
    text = "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tentailment\n"
    with pytest.raises(RecipeError, match="neither file nor folder tells which task"):
        rows("dev.tsv", text)
    assert rows("dev.tsv", text, config="rte") == rows("RTE/dev.tsv", text)
    data = {"format": "glue", "train": "dev.tsv", "config": "rte"}
    modules = {"encoder": {"type": "pretrained", "name": "minilm"}}
    task = {"type": "classification", "path": ["encoder"], "data": data}
    loaded = recipe_from({"modules": modules, "tasks": {"rte": task}})
    assert default_columns(loaded.recipe.tasks["rte"].data).pair == "pair"
    with pytest.raises(RecipeError, match=r"`config` names no task of GLUE; .*; did you mean 'RTE'\?"):
        rows("dev.tsv", text, config="rtee")


def test_a_file_of_another_task(rows):
    with pytest.raises(
        DataError, match="a file of QNLI has the columns 'question', 'sentence'; there are 'index', 'sentence1'"
    ):
        rows("QNLI/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tentailment\n")


def test_a_row_that_lacks_columns_is_bad(rows):
    text = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tA.\tB.\t1\n2\t3\n3\t1\t2\tA.\tB.\t0\n"
    with pytest.raises(DataError, match=r"train\.tsv:3: a row of 6 columns is expected, this one has 2"):
        rows("QQP/train.tsv", text)
    assert [row["index"] for row in rows("QQP/train.tsv", text, bad_rows="skip")] == [1, 3]
