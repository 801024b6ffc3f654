"""What keys say that have no equal here, and what has no meaning here; the rest of a configuration, judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from manyheads.config.node import KeyPath, Node, dotted
from manyheads.errors import nearest, shown
from manyheads.pytext.section import Ledger, Remark, leaves

_IDLE = {  # keys without meaning here, whatever they say
    "version": "the recipe has a version of its own",
    "save_snapshot_path": "the model is the folder `artefact` of the run",
    "use_config_from_snapshot": "a run goes on by the same command",
    "auto_resume_from_snapshot": "a run always goes on where it stopped",
    "save_all_checkpoints": "see `training.checkpoint.keep`",
    "use_tensorboard": "scores and losses are in the run's records.jsonl and progress.jsonl",
    "use_deterministic_cudnn": "every run can be repeated",
    "report_eval_results": "dev rows are scored at each evaluation",
    "report_test_results": "test rows are scored at the end",
    "use_cuda_for_testing": "the device is `training.device`",
    "read_chunk_size": "files are read as they are",
    "test_out_path": "`manyheads evaluate --predictions` writes answers",
    "debug_path": "the run's folder has all that is written",
    "output_path": "`manyheads evaluate --predictions` writes answers",
    "export_caffe2_path": "`manyheads export` writes models",
    "export_onnx_path": "`manyheads export` writes models",
    "export_torchscript_path": "`manyheads export` writes models",
    "export_lite_path": "`manyheads export` writes models",
    "torchscript_quantize": "`manyheads export` writes models",
    "caffe2_format": "`manyheads export` writes models",
    "export_input_names": "`manyheads export` writes models",
    "export_output_names": "`manyheads export` writes models",
    "report_train_metrics": "see `training.evaluate_train`",
    "num_samples_to_log_progress": "progress is told all the time",
    "do_eval": "dev rows are scored where there are any",
    "load_best_model_after_train": "the artefact has the best step's weights",
    "find_unused_parameters": "modules without a gradient are found by themselves",
    "eval_batch_size": "scores do not hang on batches",
    "test_batch_size": "scores do not hang on batches",
    "sort_key": "batches are of rows of like length",
    "sort_within_batch": "batches are of rows of like length",
    "in_memory": "encoded rows are kept on disk",
    "test_key": "every task has test rows of its own",
    "pack_sequence": "rows are always packed by length",
    "disable_sort_in_jit": "rows are always packed by length",
    "text_column_names": "answers are written with the number of their row",
    "additional_column_names": "answers are written with the number of their row",
    "is_input": "paths say what is read",
    "pad_in_vocab": "what is padded has no label",
    "ignore_pad_in_loss": "what is padded has no loss",
    "cpu_only": "the device is `training.device`",
    "mobile": "the device is `training.device`",
    "sparse": "gradients are dense",
    "skip_header": "a first line of counts is told from vectors",
    "delimiter": "told from the file's name",
    "aggregate_metrics": "scores are over all rows",
    "log_gradient": "see `balance.cosines_every`",
    "tensorizer_type": "paths say what is read",
}
_DEFAULTS: dict[str, tuple[object, ...]] = {  # keys that say nothing where they have these values
    "use_fp16": (False,),
    "distributed_world_size": (1,),
    "gpu_streams_for_distributed_training": (1,),
    "load_snapshot_path": ("",),
    "modules_save_dir": ("",),
    "save_module_checkpoints": (False,),
    "include_dirs": ((),),
    "encoder_eval_mode": (False,),
    "export_list": ((),),
    "accelerate": ((),),
    "target": ("",),
    "layer_norm": (False,),
    "bias": (True,),
    "temperature": (1.0,),
    "spectral_normalization": (False,),
    "load_model_path": ("",),
    "load_strict": (False,),
    "weight_norm": (False,),
    "dilated": (False,),
    "causal": (False,),
    "embedding_init_strategy": ("random",),
    "embeddding_init_std": (0.02,),
    "split_regex": ("\\s+",),
    "use_byte_offsets": (False,),
    "add_bos_token": (False,),
    "add_eos_token": (False,),
    "use_eos_token_for_bos": (False,),
    "vocab_file_delimiter": (" ",),
    "vocab_use_mask": (False,),
    "skip_header_line": (False,),
    "pool_num_batches": (1000,),
    "num_shuffled_pools": (1,),
    "drop_incomplete_rows": (False,),
    "allow_unknown": (False,),
    "init_from_saved_state": (False,),
    "dedicated_context_embedding": (False,),
    "vocab_from_all_data": (False,),
    "convert_to_bytes": (False,),
    "shuffle": (True,),
    "cooldown": (0,),
    "last_epoch": (-1,),
    "reduce": (True,),
    "stateful": (False,),
    "pep_format": (False,),
    "ignore_impossible": (True,),
    "squash_to_unit_range": (False,),
    "encode_relations": (True,),
    "use_doc_probs_in_word": (False,),
    "load_weights": (True,),
    "normalize_output_rep": (False,),
    "projection_dim": (0,),
    "trace_both_encoders": (True,),
    "upsample": (True,),
}
_LOST = {  # keys that say something which nothing says here
    "use_fp16": "there is bf16, not fp16: `training.precision: bf16`",
    "distributed_world_size": "processes are started from outside: `accelerate launch -m manyheads train …`",
    "load_snapshot_path": "snapshots of PyText cannot be read; `modules.<name>.load` takes artefacts and .safetensors",
    "modules_save_dir": "the artefact holds every module; a later run takes one by `modules.<name>.load`",
    "save_module_checkpoints": "the artefact holds every module; a later run takes one by `modules.<name>.load`",
    "save_path": "the artefact holds every module; a later run takes one by `modules.<name>.load`",
    "load_path": "`modules.<name>.load` takes artefacts and .safetensors; write the weights as such a file",
    "include_dirs": "components of your own are a plug-in: `--plugin FILE.py`",
    "layer_norm": "a feedforward has no norm",
    "bias": "a feedforward has a bias",
    "temperature": "probabilities are those of the scores as they are",
    "spectral_normalization": "the head is a plain linear map",
    "embedding_init_strategy": "new vectors are drawn from a normal distribution",
    "embedding_init_range": "new vectors are drawn from a normal distribution",
    "embeddding_init_std": "the spread of new vectors is fixed",
    "split_regex": "words are letters and digits with inner marks, or single other signs",
    "pool_num_batches": "rows are sorted in pools of 50 batches",
    "num_shuffled_pools": "rows are sorted in pools of 50 batches",
    "drop_incomplete_rows": "see `bad_rows`",
    "sparsifier": "weights are not pruned",
    "discriminative_lr": "write `lr` at the modules that are meant",
    "discriminative_lr_params_pattern": "write `lr` at the modules that are meant",
    "freeze_params_pattern": "write `freeze: true` at the modules that are meant",
    "attn_dimension": "attention is as wide as what it reads",
    "num_workers": "there is no Hogwild training; processes are started by `accelerate launch`",
    "allow_unknown": "labels of dev and test rows must be known; see `bad_rows`",
    "stateful": "no state is carried from batch to batch",
    "reweight_negative": "all labels count alike",
    "alpha": "write `class_weights`",
    "label_vocab_file": "write the labels under `labels`",
    "add_labels": "write all labels under `labels`",
    "dense": "columns of numbers are no input here",
    "additional_tokens": "write them to a file and name it under `vocabulary.file`",
    "add_bos_token": "inputs get no marks at their ends",
    "add_eos_token": "inputs get no marks at their ends",
    "recall_at_precision_thresholds": "there is no such score",
    "use_elastic": "processes are started by `accelerate launch`",
    "fp16_args": "there is bf16, not fp16: `training.precision: bf16`",
}
_NAMES = """
NewBertModel RoBERTa NewBertRegressionModel RoBERTaRegression ByteTokensDocumentModel BertSquadQAModel BertPairwiseModel
DrQAModel DocModel DocRegressionModel LMLSTM SeqNNModel PairwiseModel IntentSlotModel WordTaggingModel
BiLSTMDocAttention DocNNRepresentation PureDocAttention BiLSTMSlotAttention BiLSTM PassThroughRepresentation
BiLSTMDocSlotAttention SelfAttention MaxPool MeanPool MLPDecoder HuggingFaceBertSentenceEncoder
HuggingFaceElectraSentenceEncoder RoBERTaEncoder RoBERTaEncoderJit LabelTensorizer LabelListTensorizer
LabelListRankTensorizer NumericLabelTensorizer SlotLabelTensorizer TokenTensorizer SeqTokenTensorizer BERTTensorizer
RoBERTaTensorizer SquadForBERTTensorizer SquadForRoBERTaTensorizer ClassificationOutputLayer
BinaryClassificationOutputLayer MulticlassOutputLayer MultiLabelOutputLayer WordTaggingOutputLayer CRFOutputLayer
RegressionOutputLayer LMOutputLayer CrossEntropyLoss NLLLoss BinaryCrossEntropyLoss BinaryCrossEntropyWithLogitsLoss
MultiLabelSoftMarginLoss FocalLoss BinaryFocalLoss LabelSmoothedCrossEntropyLoss MSELoss TSVDataSource SquadDataSource
CoNLLUPOSDataSource Batcher PoolingBatcher TaskTrainer Trainer DocClassificationDataHandler JointModelDataHandler
LanguageModelDataHandler BPTTLanguageModelDataHandler SeqModelDataHandler PairClassificationDataHandler
DisjointMultitaskDataHandler Adam AdamW SGD Adagrad RAdam NAG StochasticWeightAveraging StepLR ExponentialLR
CosineAnnealingLR WarmupScheduler PolynomialDecayScheduler ReduceLROnPlateau CyclicLR LmFineTuning SchedulerWithWarmup
RoundRobinBatchSampler RandomizedBatchSampler AlternatingRandomizedBatchSampler NaturalBatchSampler
"""
_CLASSES = frozenset(_NAMES.split())  # what is read as what it is, beside the classes that PyText takes where none is named
_SECTIONS = {
    "export",
    "export_list",
    "fp16_args",
    "exporter",
    "metric_reporter",
    "trainer",
    "dense",
    "sparsifier",
    "featurizer",
}


def judge(root: Node, ledger: Ledger) -> tuple[list[Remark], list[Remark]]:
    """All that was not read: what is not carried over, and what is at its default or has no meaning here."""
    lost, idle = [*dict.fromkeys(ledger.further), *_strangers(ledger)], list[Remark]()
    for path, node in leaves(root):
        if path in ledger.used and _reason(path, ledger.given_up) is None:
            continue
        told = Remark(dotted(path), _written(node), "")
        why = _reason(path, ledger.given_up)
        rest = _reason(path, ledger.idle)
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        if why is None and not _familiar(path, ledger):
            why = _unknown(path, ledger)
        if why is not None:
            lost.append(Remark(told.path, told.value, why))
        elif rest is not None or name in _IDLE:
            idle.append(Remark(told.path, told.value, rest or _IDLE[name]))
        elif node.value is None or _plain(node) in _DEFAULTS.get(name, ()):
            idle.append(Remark(told.path, told.value, "PyText's default, without effect"))
        else:
            lost.append(Remark(told.path, told.value, _LOST.get(name) or _unknown(path, ledger)))
    return lost, idle


def _strangers(ledger: Ledger) -> Iterator[Remark]:
    """Classes that are read as if they were the ones that PyText takes where none is named."""
    for path, default in ledger.classes.items():
        name = str(path[-1])
        told = _reason(path, ledger.given_up) is not None or any(r.value == name for r in ledger.further)
        if default and not (name == default or name in _CLASSES or name.endswith("MetricReporter") or told):
            yield Remark(dotted(path[:-1]), name, f"no class that is known here; it is read as {default}")


def _reason(path: KeyPath, reasons: dict[KeyPath, str]) -> str | None:
    return next((reasons[path[:n]] for n in range(len(path), -1, -1) if path[:n] in reasons), None)


def _familiar(path: KeyPath, ledger: Ledger) -> bool:
    """Whether all sections around a value are known: asked for, a class of their kind, or never asked for but told here."""
    for n, part in enumerate(path[:-1]):
        asked = part in ledger.asked.get(path[:n], ())
        if not (asked or isinstance(part, int) or part in _SECTIONS or part[:1].isupper()):
            return False
    return True


def _unknown(path: KeyPath, ledger: Ledger) -> str:
    for n in range(len(path) - 1, -1, -1):
        known: Iterable[str] = ledger.asked.get(path[:n], ())
        if known:
            near = nearest(str(path[n]), sorted(known))
            return "no key that is known here" + (f"; did you mean {shown(near)}?" if near not in (None, path[n]) else "")
    return "no key that is known here"


def _plain(node: Node) -> object:
    value = node.plain()
    return tuple(value) if isinstance(value, list) else value if not isinstance(value, dict) else ()


def _written(node: Node) -> str:
    return json.dumps(node.plain(), ensure_ascii=False)
