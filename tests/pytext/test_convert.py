"""Whole configurations of each task class, and the recipes that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.pytext.conftest import Convert, document, tsv

from manyheads.config.load import load_recipe, recipe_from
from manyheads.pytext import Conversion

TRAINING: dict[str, Any] = {
    "epochs": 10,
    "optimizer": {"name": "adam", "lr": 0.001, "weight_decay": 1e-5},
    "schedule": {"name": "constant", "warmup": 0},
    "clip": None,
    "batch": {"rows": 16},
}


def files(name: str, *columns: str) -> dict[str, Any]:
    """The data of a recipe over the files of `tsv`."""
    splits = {"train": f"{name}/train.tsv", "dev": f"{name}/eval.tsv", "test": f"{name}/test.tsv"}
    return {"format": "tsv", **splits, "columns": list(columns)}


def loads(found: Conversion) -> Conversion:
    """The text loads to the recipe, without a warning."""
    Path("recipe.yaml").write_text(found.text)
    loaded = load_recipe("recipe.yaml")
    assert loaded.warnings == ()
    assert loaded.recipe == recipe_from(found.recipe).recipe
    return found


# a task by itself ---------------------------------------------------------------------------------------------------


def test_a_document_classifier_at_its_defaults(convert_json: Convert) -> None:
    found = loads(convert_json({"version": 8, "task": {"DocumentClassificationTask": document()}}))
    assert found.recipe == {
        "version": 1,
        "seed": 0,
        "modules": {
            "embedding": {"type": "embedding", "width": 100, "vocabulary": {"split": "spaces"}, "dropout": 0.64},
            "lstm": {"type": "recurrent", "width": 32, "bidirectional": True},
            "pool": {"type": "pool", "how": "attention"},
        },
        "tasks": {
            "document_classification": {
                "type": "classification",
                "path": ["embedding", "lstm", "pool"],
                "data": {**files("reviews", "label", "text"), "text": "text", "label": "label"},
                "dropout": 0.0,
            }
        },
        "training": TRAINING,
    }
    assert found.lost == ()
    assert found.idle == ()


def test_settings_of_a_document_classifier(convert_json: Convert) -> None:
    model = {
        "inputs": {
            "tokens": {
                "column": "utterance",
                "max_seq_len": 40,
                "tokenizer": {"Tokenizer": {"lowercase": False}},
                "vocab": {"size_from_data": 5000, "min_counts": 2, "vocab_files": [{"filepath": "words.txt"}]},
            },
            "labels": {"LabelTensorizer": {"column": "mood", "label_vocab": ["bad", "good"]}},
        },
        "embedding": {"embed_dim": 50, "pretrained_embeddings_path": "glove.50d.txt", "freeze": True},
        "representation": {
            "BiLSTMDocAttention": {
                "dropout": 0.5,
                "lstm": {"lstm_dim": 64, "num_layers": 2, "dropout": 0.2},
                "pooling": {"MaxPool": {}},
                "mlp_decoder": {"hidden_dims": [20]},
            }
        },
        "decoder": {"hidden_dims": [32, 16], "dropout": 0.1, "activation": "tanh"},
        "output_layer": {"loss": {"LabelSmoothedCrossEntropyLoss": {"beta": 0.2}}, "label_weights": {"bad": 2.0}},
    }
    data = tsv("r", "mood", "utterance", delimiter=",", quoted=True)
    task = {"data": data, "model": {"DocModel": model}, "metric_reporter": {"model_select_metric": "macro_f1"}}
    found = loads(convert_json({"task": {"DocumentClassificationTask": task}, "random_seed": 7}))
    assert found.lost == ()
    assert found.recipe["seed"] == 7
    assert found.recipe["modules"] == {
        "embedding": {
            "type": "embedding",
            "width": 50,
            "vectors": "glove.50d.txt",
            "vocabulary": {"split": "spaces", "lower": False, "size": 5000, "min_count": 2, "file": "words.txt"},
            "max_length": 40,
            "freeze": True,
            "dropout": 0.6,
        },
        "lstm": {"type": "recurrent", "width": 64, "layers": 2, "dropout": 0.2, "bidirectional": True},
        "pool": {"type": "pool", "how": "max"},
        "projection": {"type": "feedforward", "width": 20, "activation": "relu"},
        "mlp": {"type": "feedforward", "width": 32, "activation": "tanh", "dropout": 0.1},
        "mlp_2": {"type": "feedforward", "width": 16, "activation": "tanh", "dropout": 0.1},
    }
    task = found.recipe["tasks"]["document_classification"]
    assert task["path"] == ["embedding", "lstm", "pool", "projection", "mlp", "mlp_2"]
    assert (task["data"]["format"], task["data"]["text"], task["data"]["label"]) == ("csv", "utterance", "mood")
    wanted = {"labels": ["bad", "good"], "label_smoothing": 0.2, "class_weights": {"bad": 2.0}, "metric": "f1_macro"}
    assert {key: task[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("representation", "modules"),
    [
        (
            {"DocNNRepresentation": {"cnn": {"kernel_num": 30, "kernel_sizes": [2, 3]}, "dropout": 0.1}},
            {"cnn": {"type": "convolution", "filters": 30, "kernels": [2, 3], "dropout": 0.1}},
        ),
        ({"PureDocAttention": {"pooling": {"MeanPool": {}}}}, {"pool": {"type": "pool", "how": "mean"}}),
        ({"DeepCNNRepresentation": {"separable": True}}, {"pool": {"type": "pool", "how": "max"}}),
    ],
)
def test_representations_of_documents(convert_json: Convert, representation: Any, modules: Any) -> None:
    task = document(representation=representation)
    found = loads(convert_json({"task": {"DocumentClassificationTask": task}}))
    assert {k: v for k, v in found.recipe["modules"].items() if k != "embedding"} == modules
    lost = [(remark.path, remark.why) for remark in found.lost]
    if "DeepCNNRepresentation" in representation:
        [(path, why)] = lost
        assert path.endswith("DeepCNNRepresentation.separable")
        assert why.startswith("DeepCNNRepresentation: no module does this")
    else:
        assert lost == []


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ({"CrossEntropyLoss": {}}, {"type": "classification"}),
        ({"BinaryCrossEntropyLoss": {}}, {"type": "multilabel", "top": 1}),
        ({"FocalLoss": {"gamma": 1.5}}, {"type": "classification", "focal": 1.5}),
        ({"BinaryFocalLoss": {}}, {"type": "multilabel", "top": 1, "focal": 2.0}),
        ({"HingeLoss": {"margin": 0.5}}, {"type": "classification"}),
    ],
)
def test_losses(convert_json: Convert, loss: Any, wanted: dict[str, Any]) -> None:
    found = loads(convert_json({"task": {"DocumentClassificationTask": document(output_layer={"loss": loss})}}))
    task = found.recipe["tasks"]["document_classification"]
    assert {key: task[key] for key in ("type", "top", "focal") if key in task} == wanted
    assert [remark.why for remark in found.lost] == (
        ["there is no HingeLoss; cross-entropy takes its place"] if "HingeLoss" in loss else []
    )


def test_several_labels_a_row_are_multilabel(convert_json: Convert) -> None:
    labels = {"inputs": {"labels": {"LabelListTensorizer": {}}}}
    found = loads(convert_json({"task": {"DocumentClassificationTask": document(**labels)}}))
    task = found.recipe["tasks"]["document_classification"]
    assert task["type"] == "multilabel"
    assert "top" not in task


def test_numbers_are_regression(convert_json: Convert) -> None:
    labels = {"labels": {"NumericLabelTensorizer": {"column": "stars", "rescale_range": [0, 1]}}}
    task = {"data": tsv("r", "stars", "text"), "model": {"DocRegressionModel": {"inputs": labels}}}
    found = loads(convert_json({"task": {"DocumentRegressionTask": task}}))
    made = found.recipe["tasks"]["document_regression"]
    assert (made["type"], made["data"]["label"]) == ("regression", "stars")
    assert [remark.path.rsplit(".", 1)[-1] for remark in found.lost] == ["rescale_range"]


def test_word_tagging_reads_slots_by_offsets(convert_json: Convert) -> None:
    model = {
        "representation": {"BiLSTMSlotAttention": {"lstm": {"lstm_dim": 8}}},
        "output_layer": {"CRFOutputLayer": {}},
    }
    task = {"data": tsv("alarms", "label", "annotation", "utterance"), "model": {"WordTaggingModel": model}}
    task["model"]["WordTaggingModel"]["inputs"] = {"labels": {"slot_column": "annotation", "text_column": "utterance"}}
    found = loads(convert_json({"version": 7, "task": {"WordTaggingTask": task}}))
    assert found.lost == ()
    made = found.recipe["tasks"]["word_tagging"]
    assert (made["type"], made["decoder"], made["path"]) == ("tagging", "crf", ["embedding", "lstm"])
    assert made["data"]["columns"] == ["label", "slots", "text"]
    assert (made["data"]["format"], made["data"]["words"], made["data"]["label"]) == ("offsets", "words", "tags")


def test_intents_and_slots_are_two_tasks_over_one_data_set(convert_json: Convert) -> None:
    inputs = {"doc_weight": {"column": "w"}}
    rep = {"BiLSTMDocSlotAttention": {"pooling": {"SelfAttention": {}}, "lstm": {"BiLSTM": {"lstm_dim": 8}}}}
    model = {"inputs": inputs, "representation": rep, "default_doc_loss_weight": 0.3}
    task = {"data": tsv("alarms", "label", "slots", "text", "w"), "model": {"IntentSlotModel": model}}
    found = loads(convert_json({"task": {"IntentSlotTask": task}}))
    assert found.lost == ()
    assert found.recipe["data"]["intent_slot"]["format"] == "offsets"
    tasks = found.recipe["tasks"]
    assert tasks["intent"] == {
        "type": "classification",
        "path": ["embedding", "lstm", "pool"],
        "data": {"from": "intent_slot", "label": "label", "weight": "w"},
        "weight": 0.3,
        "dropout": 0.0,
    }
    assert (tasks["slots"]["path"], tasks["slots"]["weight"]) == (["embedding", "lstm"], 0.5)


@pytest.mark.parametrize(
    ("kind", "model", "columns", "type_"),
    [
        ("NewBertClassificationTask", {}, {"text": "text"}, "classification"),
        ("NewBertPairClassificationTask", {}, {"text": "text1", "pair": "text2"}, "classification"),
        ("BertPairRegressionTask", {}, {"text": "text1", "pair": "text2"}, "regression"),
    ],
)
def test_bert(convert_json: Convert, kind: str, model: Any, columns: Any, type_: str) -> None:
    encoder = {"HuggingFaceBertSentenceEncoder": {"bert_cpt_dir": "weights/bert", "output_dropout": 0.2}}
    task = {
        "data": tsv("d", "label", *columns.values()),
        "model": {**model, "encoder": encoder, "decoder": {"hidden_dims": [9]}},
    }
    found = loads(convert_json({"task": {kind: task}}))
    assert found.lost == ()
    [made] = found.recipe["tasks"].values()
    assert found.recipe["modules"]["encoder"] == {"type": "pretrained", "name": "weights/bert", "max_length": 128}
    assert made["path"] == ["encoder", "pool", "mlp"]
    assert found.recipe["modules"]["pool"]["how"] == "cls"
    assert (made["type"], made["dropout"]) == (type_, 0.2)
    assert {key: made["data"][key] for key in columns} == columns


def test_a_pair_is_read_as_one_input(convert_json: Convert) -> None:
    inputs = {"tokens1": {"column": "premise"}, "tokens2": {"column": "hypothesis"}}
    task = {"data": tsv("nli", "label", "premise", "hypothesis"), "model": {"PairwiseModel": {"inputs": inputs}}}
    found = loads(convert_json({"task": {"PairwiseClassificationTask": task}}))
    data = found.recipe["tasks"]["pairwise_classification"]["data"]
    assert (data["text"], data["pair"]) == ("premise", "hypothesis")
    [remark] = found.lost
    assert "PyText encodes each by itself" in remark.why


def test_answers_in_a_text(convert_json: Convert) -> None:
    encoder = {"HuggingFaceBertSentenceEncoder": {"bert_cpt_dir": "weights/bert"}}
    source = {"SquadDataSource": {"train_filename": "train.json", "eval_filename": "dev.json", "test_filename": None}}
    model = {"encoder": encoder, "output_layer": {"ignore_impossible": False, "max_answer_len": 20}}
    found = loads(convert_json({"task": {"SquadQATask": {"data": {"source": source}, "model": {"BertSquadQAModel": model}}}}))
    made = found.recipe["tasks"]["squad_qa"]
    assert made["data"] == {"format": "squad", "train": "train.json", "dev": "dev.json"}
    assert (made["path"], made["longest"], made["no_answer"]) == (["encoder"], 20, True)


def test_drqa_is_told_to_have_no_equal(convert_json: Convert) -> None:
    squad = {"source": {"SquadDataSource": {}}}
    found = loads(convert_json({"task": {"SquadQATask": {"data": squad, "model": {"DrQAModel": {"dropout": 0.3}}}}}))
    assert found.recipe["modules"]["encoder"]["name"] == "minilm"
    assert {remark.why for remark in found.lost} == {
        "DrQA's layers have no equal; the recipe reads with the encoder minilm in their place"
    }


@pytest.mark.parametrize("tokenizer", [{"Tokenizer": {"split_regex": "[^a-z]+"}}, {"GPT2BPETokenizer": {}}])
def test_other_words_than_spaces_part_are_told_to_have_no_equal(convert_json: Convert, tokenizer: Any) -> None:
    task = {"data": tsv("r", "label", "text"), "model": {"DocModel": {"inputs": {"tokens": {"tokenizer": tokenizer}}}}}
    found = loads(convert_json({"task": {"DocumentClassificationTask": task}}))
    assert [remark.why for remark in found.lost] == ["words are what spaces part"]


def test_texts_of_a_row_are_read_as_one(convert_json: Convert) -> None:
    rep = {"doc_representation": {"dropout": 0.5}, "seq_representation": {"BiLSTMDocAttention": {"dropout": 0.3}}}
    task = {"data": tsv("turns", "label", "text_seq"), "model": {"representation": rep}}
    found = loads(convert_json({"version": 7, "task": {"SeqNNTask": task}}))
    assert found.recipe["modules"]["cnn"]["dropout"] == 0.5
    assert "task.SeqNNTask.model.representation.seq_representation.BiLSTMDocAttention.dropout" in {r.path for r in found.lost}


def test_bytes_of_words_stand_beside_words(convert_json: Convert) -> None:
    model = {"byte_embedding": {"embed_dim": 12, "cnn": {"kernel_num": 20, "kernel_sizes": [2]}}}
    task = {"data": tsv("r", "label", "text"), "model": {"ByteTokensDocumentModel": model}}
    found = loads(convert_json({"task": {"DocumentClassificationTask": task}}))
    modules, made = found.recipe["modules"], found.recipe["tasks"]["document_classification"]
    assert modules["characters"] == {"type": "characters", "width": 12, "filters": 20, "kernels": [2], "dropout": 0.64}
    assert made["path"] == [
        "embedding",
        {"module": "characters", "inputs": ["batch.text"]},
        {"module": "words", "inputs": ["embedding", "characters"]},
        "lstm",
        "pool",
    ]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"embedding": {"CharacterEmbedding": {}}}, ("embedding", "CharacterEmbedding", "WordEmbedding")),
        ({"inputs": {"labels": {"OddTensorizer": {}}}}, ("inputs.labels", "OddTensorizer", "LabelTensorizer")),
    ],
)
def test_a_class_that_is_not_known_is_told_with_what_it_is_read_as(convert_json: Convert, section: Any, told: Any) -> None:
    found = loads(convert_json({"task": {"DocumentClassificationTask": document(**section)}}))
    [remark] = found.lost
    where, name, read_as = told
    assert (remark.path, remark.value) == (f"task.DocumentClassificationTask.model.DocModel.{where}", name)
    assert remark.why == f"no class that is known here; it is read as {read_as}"


def test_a_model_that_is_not_known_is_told(convert_json: Convert) -> None:
    task = {"data": tsv("r", "label", "text"), "model": {"TwoTowerClassificationModel": {}}}
    [remark] = loads(convert_json({"task": {"DocumentClassificationTask": task}})).lost
    assert remark.value == "TwoTowerClassificationModel"


# several tasks ------------------------------------------------------------------------------------------------------


def both(**further: Any) -> dict[str, Any]:
    """Two document classifiers over one LSTM."""
    lstm = {"BiLSTMDocAttention": {"lstm": {"shared_module_key": "LSTM"}}}
    tasks = {name: {"DocumentClassificationTask": document(name, representation=lstm)} for name in ("mood", "topic")}
    return {"task": {"NewDisjointMultitask": {"tasks": tasks, **further}}}


def test_two_tasks_share_what_has_one_key(convert_json: Convert) -> None:
    found = loads(convert_json(both(task_weights={"mood": 1, "topic": 0.5}, trainer={"epochs": 5})))
    assert set(found.recipe["modules"]) == {"mood_embedding", "LSTM", "mood_pool", "topic_embedding", "topic_pool"}
    assert found.recipe["tasks"]["mood"]["path"] == ["mood_embedding", "LSTM", "mood_pool"]
    assert found.recipe["tasks"]["topic"]["path"] == ["topic_embedding", "LSTM", "topic_pool"]
    assert "weight" not in found.recipe["tasks"]["mood"]
    assert found.recipe["tasks"]["topic"]["weight"] == 0.5
    assert found.recipe["mixture"] == {"sampling": "round_robin"}
    assert found.recipe["training"] == {**TRAINING, "epochs": 5, "select": "loss"}
    [remark] = found.lost
    assert "PyText's epoch ends with the shortest" in remark.why
    assert "# BiLSTM, shared by its key" in found.text


@pytest.mark.parametrize(
    ("sampler", "mixture"),
    [
        ({"RoundRobinBatchSampler": {"iter_to_set_epoch": "topic"}}, {"sampling": "round_robin", "epoch": "topic"}),
        (
            {"RandomizedBatchSampler": {"unnormalized_iterator_probs": {"mood": 1, "topic": 3}}},
            {"sampling": "shares", "shares": {"mood": 1.0, "topic": 3.0}, "epoch": 500},
        ),
        (
            {
                "AlternatingRandomizedBatchSampler": {
                    "unnormalized_iterator_probs": {"mood": 1},
                    "second_unnormalized_iterator_probs": {"topic": 1},
                }
            },
            {"sampling": "alternating", "tables": [{"mood": 1.0}, {"topic": 1.0}], "epoch": 500},
        ),
        ({"NaturalBatchSampler": {}}, {"sampling": "proportional", "epoch": 500}),
        (
            {"NaturalBatchSampler": {"dataset_counts": {"mood": 10, "topic": 90}}},
            {"sampling": "shares", "shares": {"mood": 10.0, "topic": 90.0}, "epoch": 500},
        ),
    ],
)
def test_samplers(convert_json: Convert, sampler: Any, mixture: Any) -> None:
    trainer = {} if mixture["sampling"] == "round_robin" else {"num_batches_per_epoch": 500}
    found = loads(convert_json(both(data={"sampler": sampler}, trainer=trainer)))
    assert found.recipe["mixture"] == mixture
    assert found.lost == ()


@pytest.mark.parametrize(
    ("settings", "select"),
    [
        ({"target_task_name": "topic"}, "topic"),
        ({"target_task_name": "topic", "metric_reporter": {"use_subtask_select_metric": True}}, "topic"),
        ({"metric_reporter": {"use_subtask_select_metric": True}}, None),
        ({}, "loss"),
    ],
)
def test_what_chooses_the_best_step(convert_json: Convert, settings: Any, select: str | None) -> None:
    found = loads(convert_json(both(**settings)))
    assert found.recipe["training"].get("select") == select


def test_another_batch_size_stands_at_its_data(convert_json: Convert) -> None:
    values = both()
    tasks = values["task"]["NewDisjointMultitask"]["tasks"]
    tasks["topic"]["DocumentClassificationTask"]["data"]["batcher"] = {"PoolingBatcher": {"train_batch_size": 64}}
    found = loads(convert_json(values))
    assert found.recipe["training"]["batch"] == {"rows": 16}
    assert found.recipe["tasks"]["topic"]["data"]["batch"] == {"rows": 64}


def test_a_task_that_no_type_is_for_is_left_out_and_told(convert_json: Convert) -> None:
    values = both()
    values["task"]["NewDisjointMultitask"]["tasks"]["rank"] = {"QueryDocumentPairwiseRankingTask": {"model": {"x": 1}}}
    found = loads(convert_json(values))
    assert set(found.recipe["tasks"]) == {"mood", "topic"}
    paths = {remark.path for remark in found.lost}
    assert "task.NewDisjointMultitask.tasks.rank.QueryDocumentPairwiseRankingTask.model.x" in paths


def test_trainers_of_single_tasks_are_told_to_have_no_say(convert_json: Convert) -> None:
    values = both()
    tasks = values["task"]["NewDisjointMultitask"]["tasks"]
    tasks["mood"]["DocumentClassificationTask"]["trainer"] = {"epochs": 99}
    found = convert_json(values)
    assert found.recipe["training"]["epochs"] == 10
    assert [r.why for r in found.lost if r.path.endswith("trainer.epochs")] == [
        "one trainer trains all tasks: that of the multi-task task"
    ]


def test_a_task_by_itself_may_stand_unchanged_among_several(convert_json: Convert) -> None:
    """It becomes the same task over the same modules, which have its name before theirs."""
    alone = document(representation={"BiLSTMDocAttention": {"lstm": {"lstm_dim": 8}}}, decoder={"hidden_dims": [6]})
    single = {"DocumentClassificationTask": alone}
    one = loads(convert_json({"task": single})).recipe
    tasks = {"mood": single, "topic": {"DocumentClassificationTask": document("topics")}}
    several = loads(convert_json({"task": {"NewDisjointMultitask": {"tasks": tasks}}})).recipe
    [task] = one["tasks"].values()
    assert several["tasks"]["mood"] == {**task, "path": [f"mood_{name}" for name in task["path"]]}
    own = {name: module for name, module in several["modules"].items() if name.startswith("mood_")}
    assert own == {f"mood_{name}": module for name, module in one["modules"].items()}


# language models ----------------------------------------------------------------------------------------------------


def tutorial() -> dict[str, Any]:
    """The multi-task tutorial's form: two tasks that share features and the LSTM inside one of them."""
    words = {"vocab_file": "sst/vocab.txt", "vocab_size": 15000, "vocab_from_train_data": False}
    features = {"shared_module_key": "SHARED_EMBEDDING", "word_feat": words}
    paths = {"train_path": "wiki/train.tsv", "eval_path": "wiki/valid.tsv", "test_path": "wiki/test.tsv"}
    sst = {
        "features": features,
        "data_handler": {"columns_to_read": ["text", "doc_label"], "train_path": "sst/train.tsv"},
        "model": {"representation": {"BiLSTMDocAttention": {"lstm": {"shared_module_key": "SHARED_LSTM"}}}},
    }
    lm = {
        "features": features,
        "data_handler": {"LanguageModelDataHandler": {**paths, "train_batch_size": 16}},
        "model": {"representation": {"shared_module_key": "SHARED_LSTM"}, "decoder": {"hidden_dims": [10]}},
    }
    tasks = {"SST2": {"DocClassificationTask": sst}, "LM": {"LMTask": lm}}
    body = {"data_handler": {"epoch_size": 2000}, "trainer": {"epochs": 15}, "tasks": tasks}
    return {"config": {"task": {"DisjointMultitask": body}}}


def test_the_tutorial_shares_its_features_and_the_lstm_at_two_depths(convert_json: Convert) -> None:
    found = convert_json(tutorial())
    sst, lm = (found.recipe["tasks"][name] for name in ("SST2", "LM"))
    assert sst["path"] == ["SHARED_EMBEDDING", "SHARED_LSTM", "SST2_pool"]
    assert lm["path"] == ["SHARED_EMBEDDING", "SHARED_LSTM"]
    assert (lm["type"], lm["direction"]) == ("language_modelling", "both")
    assert found.recipe["modules"]["SHARED_EMBEDDING"] == {
        "type": "embedding",
        "width": 100,
        "vocabulary": {"split": "spaces", "size": 15000, "file": "sst/vocab.txt"},
        "dropout": 0.64,
    }
    assert sst["data"]["columns"] == ["text", "doc_label"]
    assert (sst["data"]["dev"], lm["data"]["dev"]) == ("eval.tsv", "wiki/valid.tsv")
    assert lm["data"]["batch"] == {"rows": 16}
    assert found.recipe["mixture"] == {"sampling": "round_robin", "epoch": 2000}
    paths = {remark.path.rsplit(".", 1)[-1] for remark in found.lost}
    assert paths == {"vocab_from_train_data", "hidden_dims", "dropout"}


def test_a_language_model_by_itself(convert_json: Convert) -> None:
    model = {"tied_weights": True, "embedding": {"embed_dim": 10}, "decoder": {"hidden_dims": [10]}}
    found = convert_json({"version": 8, "task": {"LMTask": {"data": tsv("lm", "text"), "model": model}}})
    [made] = found.recipe["tasks"].values()
    assert (made["direction"], made["tied"]) == ("forward", "embedding")
    assert made["path"] == ["embedding", "lstm", "mlp"]
    assert found.recipe["modules"]["lstm"]["bidirectional"] is False


def test_text_that_runs_on_is_a_stream(convert_json: Convert) -> None:
    handler = {"BPTTLanguageModelDataHandler": {"train_path": "wiki.tsv", "train_batch_size": 20, "bptt_len": 70}}
    found = convert_json({"task": {"LMTask": {"data_handler": handler}}})
    [made] = found.recipe["tasks"].values()
    assert made["data"]["stream"] == {"rows": 20, "words": 70}


@pytest.mark.parametrize("of", ["tutorial", "alone"])
def test_recipes_with_a_language_model_load(convert_json: Convert, of: str) -> None:
    loads(convert_json(tutorial() if of == "tutorial" else {"task": {"LMTask": {"data": tsv("lm", "text")}}}))
