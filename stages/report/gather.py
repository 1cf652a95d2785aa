"""Reads the files of the other stages, and checks them against each other and params.yaml."""

import math
from dataclasses import dataclass
from pathlib import Path

from stages.base.errors import DataError
from stages.data.datasets import ARRAYS_FILE, DESCRIPTION_FILE, error_context, read_dataset, read_description
from stages.data.sample_weights import read_weights
from stages.model.tasks import task_of
from stages.report.config import ReportParams
from stages.report.data_card import Data
from stages.report.facts import Facts, arrange
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.regressor import Regressor
from stages.report.provenance import file_digest
from stages.report.records import (
    REMEDY,
    Evaluation,
    Preparation,
    Training,
    check_seeds,
    read_history,
    read_predictions,
    read_record,
    read_values,
)

MODEL_FILES = ("model.keras", "model.onnx")  # files of the training stage whose digests the report shows
MAX_DEVIATION = 1e-6  # of an accuracy from that of its errors: files may have it rounded to six decimals


@dataclass(frozen=True)
class Folders:
    """Folders with the files of the other stages."""

    raw: Path
    prepared: Path
    models: Path
    evaluation: Path

    @classmethod
    def of_project(cls, root: Path) -> "Folders":
        """Returns the folders of the project in `root`."""
        return cls(root / "data/raw", root / "data/prepared", root / "models", root / "evaluation")


def gather_facts(params: ReportParams, folders: Folders) -> Facts:
    """Returns the facts about the data set and the models that `params` names.

    Raises:
        DataError: a file is missing or broken, or two files belong to different runs.
    """
    data = gather_data(params, folders)
    return arrange([gather_model(name, params, folders, data) for name in params.models], data, params.report)


def gather_data(params: ReportParams, folders: Folders) -> Data:
    """Returns the data set that `params` selects, as the stages `download` and `prepare` wrote it."""
    raw, prepared_path = folders.raw / DESCRIPTION_FILE, folders.prepared / "prepared.json"
    description = read_description(raw)
    prepared = read_record(prepared_path, Preparation)
    _check_equal(raw, "name", description.name, params.dataset, "params.yaml")
    _check_equal(raw, "class_names", len(description.class_names), description.classes, "its `classes`")
    _check_equal(prepared_path, "dataset", prepared.dataset, description.name, raw)
    _check_equal(prepared_path, "classes", prepared.classes, description.classes, raw)
    arrays_path = folders.raw / ARRAYS_FILE
    arrays = read_dataset(arrays_path, description.classes, description.kind)
    with error_context(str(arrays_path), REMEDY):
        arrays = arrays._replace(w_train=read_weights(arrays_path, len(arrays.y_train)))
    for name, array in arrays.by_name().items():
        described = description.arrays.get(name)
        _check_equal(raw, f"arrays.{name}.shape", described and described.shape, array.shape, ARRAYS_FILE)
    return Data(description, prepared, arrays, params.dataset_params)


def gather_model(name: str, params: ReportParams, folders: Folders, data: Data) -> ModelFacts:
    """Returns the model `name` of `params`."""
    folder, evaluation = folders.models / name, folders.evaluation / name
    training = read_record(folder / "training.json", Training)
    _check_equal(folder / "training.json", "model", training.model, name, "its folder")
    _check_equal(folder / "training.json", "task", training.task, params.models[name].task, "params.yaml")
    history = read_history(folder / "history.csv", training)
    paths = [folder / file for file in MODEL_FILES if (folder / file).exists() or file == "model.onnx"]
    files = {path.name: file_digest(path) for path in paths}
    seeds = sorted(map(str, params.models[name].seeds or ()))
    _check_equal(folder / "training.json", "seeds", sorted(training.seeds or ()), seeds, "params.yaml")
    task, classes, path = task_of(params.models[name]), data.description.classes, evaluation / "predictions.parquet"
    labels = task.task_labels(data.arrays.y_test)
    if task.kind == "regression":
        values = read_values(path, labels, classes, task)
        check_seeds(path, values, seeds)
        return Regressor(name, params.models[name], training, history, values, files, noun=data.description.noun)
    predictions = read_predictions(path, labels, task.class_count(classes))
    check_seeds(path, predictions, seeds)
    record, class_names = (
        read_record(evaluation / "metrics.json", Evaluation),
        task.class_names(data.description.class_names),
    )
    facts = name, params.models[name], training, history, predictions, files, record, class_names
    model = Classifier(*facts, noun=data.description.noun)
    _check_evaluation(evaluation / "metrics.json", model)
    return model


def _check_evaluation(path: Path, model: Classifier) -> None:
    record = model.evaluation
    _check_equal(path, "samples", record.samples, len(model.correct), "predictions.parquet")
    _check_equal(path, "errors", record.errors, int((~model.correct).sum()), "predictions.parquet")
    accuracy = (record.samples - record.errors) / record.samples
    if not math.isclose(record.accuracy, accuracy, rel_tol=0, abs_tol=MAX_DEVIATION):
        _check_equal(path, "accuracy", record.accuracy, accuracy, "its `errors`")


def _check_equal(path: Path, key: str, got: object, expected: object, source: object) -> None:
    if got != expected:
        raise DataError(f"{path}: {key}: got {got!r}, {source} says {expected!r}; {REMEDY}")
