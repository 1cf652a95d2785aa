"""Everything that the report says, as facts: read, checked against each other, best model first."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from stages.base.errors import DataError
from stages.data.config import Dataset
from stages.data.datasets import ARRAYS_FILE, DESCRIPTION_FILE, Arrays, Description, read_dataset, read_description
from stages.model.tasks import task_of
from stages.report.config import Report, ReportParams
from stages.report.data_card import ByteImages, Duplicates, PixelFacts, find_duplicates, pixel_facts
from stages.report.model_facts import ModelFacts, Trained, ValueFacts
from stages.report.provenance import describe_file
from stages.report.records import (
    MEND,
    Exam,
    PreparedCard,
    Training,
    read_history,
    read_predictions,
    read_record,
    read_values,
)
from stages.report.statistics.intervals import Labels
from stages.report.statistics.paired_tests import Pair, every_pair, every_pair_of_values

FILES = ("model.keras", "model.onnx")  # of those that training leaves, the ones whose digests are told


@dataclass(frozen=True)
class Folders:
    """Where the other stages left their files."""

    raw: Path
    prepared: Path
    models: Path
    evaluation: Path

    @classmethod
    def below(cls, root: Path) -> "Folders":
        """Those of the project in `root`."""
        return cls(root / "data/raw", root / "data/prepared", root / "models", root / "evaluation")


@dataclass(frozen=True)
class Data:
    """The data set as it was used; `arrays` are the raw ones."""

    description: Description
    prepared: PreparedCard
    arrays: Arrays
    source: Dataset

    def counts(self, labels: Labels) -> list[int]:
        """How many of `labels` each class has."""
        return [int(number) for number in np.bincount(labels, minlength=self.description.classes)]

    @cached_property
    def duplicates(self) -> Duplicates:
        """Images that occur more than once."""
        return find_duplicates(self.arrays)

    @cached_property
    def pixels(self) -> dict[str, PixelFacts]:
        """Statistics of each part."""
        black = self.description.pixels.low
        parts = {"training": self.arrays.x_train, "test": self.arrays.x_test}
        return {name: pixel_facts(images, black) for name, images in parts.items()}

    @property
    def training_images(self) -> ByteImages:
        """Those of the training part, to be looked at."""
        return ByteImages(self.arrays.x_train, self.description.pixels)

    @property
    def test_images(self) -> ByteImages:
        """Those of the test part, to be looked at."""
        return ByteImages(self.arrays.x_test, self.description.pixels)


@dataclass(frozen=True)
class Group:
    """Classifiers of the same test images and labels, which can be compared; the best first."""

    models: tuple[ModelFacts, ...]

    @property
    def best(self) -> ModelFacts:
        """The model with the fewest errors; of equals the one with the lowest loss."""
        return self.models[0]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Each two models, p-values corrected for all of them."""
        return every_pair(self.models)

    @property
    def against_best(self) -> dict[str, Pair]:
        """How each other model compares with the best one."""
        return {pair.second: pair for pair in self.pairs if pair.first == self.best.name}


@dataclass(frozen=True)
class ValueGroup:
    """Models of the same values, which can be compared; the one with the smallest mean error first."""

    models: tuple[ValueFacts, ...]

    @property
    def best(self) -> ValueFacts:
        """The model with the smallest mean absolute error."""
        return self.models[0]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Each two models, p-values corrected for all of them."""
        return every_pair_of_values(self.models)

    @property
    def against_best(self) -> dict[str, Pair]:
        """How each other model compares with the best one."""
        return {pair.second: pair for pair in self.pairs if pair.first == self.best.name}


@dataclass(frozen=True)
class Facts:
    """All that the report says."""

    data: Data
    groups: tuple[Group, ...]  # that of the data set's own classes first
    values: tuple[ValueGroup, ...]
    settings: Report

    @property
    def lead(self) -> Group | ValueGroup:
        """The models that the verdict is about."""
        return self.groups[0] if self.groups else self.values[0]  # some model there is

    @property
    def classifiers(self) -> tuple[ModelFacts, ...]:
        """Every model that names classes."""
        return tuple(model for group in self.groups for model in group.models)

    @property
    def regressions(self) -> tuple[ValueFacts, ...]:
        """Every model that gives values."""
        return tuple(model for group in self.values for model in group.models)

    @property
    def models(self) -> tuple[Trained, ...]:
        """Every model."""
        return (*self.classifiers, *self.regressions)


def gather_facts(params: ReportParams, folders: Folders) -> Facts:
    """The facts about the data and about the models that `params` names, and no others.

    Raises:
        DataError: a file is missing or broken, or two do not belong together.
    """
    data = gather_data(params, folders)
    return arrange([gather_model(name, params, folders, data) for name in params.models], data, params.report)


def arrange(models: Sequence[Trained], data: Data, settings: Report) -> Facts:
    """The facts with `models` in groups that can be compared, the best of each first."""
    named = [model for model in models if isinstance(model, ModelFacts)]
    ranked = sorted(named, key=lambda model: (_task_of(model), model.exam.errors, model.exam.loss, model.name))
    groups = [Group(tuple(members)) for _, members in groupby(ranked, _task_of)]
    values = [model for model in models if isinstance(model, ValueFacts)]
    by_error = sorted(values, key=lambda model: (model.labels.tobytes(), model.mean_error, model.name))
    of_values = [ValueGroup(tuple(members)) for _, members in groupby(by_error, lambda model: model.labels.tobytes())]
    return Facts(data, tuple(groups), tuple(of_values), settings)


def _task_of(model: ModelFacts) -> tuple[bool, int, bytes]:
    """Equal for models of the same labels; lowest for the data set's own classes."""
    return model.training.task != "multiclass", model.classes, model.labels.tobytes()


def gather_data(params: ReportParams, folders: Folders) -> Data:
    """The data set that `params` chooses, as download and prepare left it."""
    raw, prepared_path = folders.raw / DESCRIPTION_FILE, folders.prepared / "prepared.json"
    description = read_description(raw)
    prepared = read_record(prepared_path, PreparedCard)
    _same(raw, "name", description.name, params.dataset, "params.yaml")
    _same(raw, "class_names", len(description.class_names), description.classes, "its `classes`")
    _same(prepared_path, "dataset", prepared.dataset, description.name, raw)
    _same(prepared_path, "classes", prepared.classes, description.classes, raw)
    arrays = read_dataset(folders.raw / ARRAYS_FILE, description.classes)
    for name, array in arrays.named().items():
        said = description.arrays.get(name)
        _same(raw, f"arrays.{name}.shape", said and said.shape, array.shape, ARRAYS_FILE)
    return Data(description, prepared, arrays, params.chosen)


def gather_model(name: str, params: ReportParams, folders: Folders, data: Data) -> Trained:
    """The model `name` of `params`, its files checked against each other."""
    folder, exam = folders.models / name, folders.evaluation / name
    training = read_record(folder / "training.json", Training)
    _same(folder / "training.json", "model", training.model, name, "its folder")
    _same(folder / "training.json", "task", training.task, params.models[name].task, "params.yaml")
    history = read_history(folder / "history.csv", training)
    files = {file: describe_file(folder / file) for file in FILES if (folder / file).exists() or file == "model.onnx"}
    task, classes, path = task_of(params.models[name]), data.description.classes, exam / "predictions.parquet"
    labels = task.labels(data.arrays.y_test)
    if task.kind == "regression":
        values = read_values(path, labels, classes, task)
        return ValueFacts(name, params.models[name], training, history, values, files)
    predictions = read_predictions(path, labels, task.classes(classes))
    record, names = read_record(exam / "metrics.json", Exam), task.names(data.description.class_names)
    model = ModelFacts(name, params.models[name], training, history, predictions, files, record, names)
    _check_exam(exam / "metrics.json", model)
    return model


def _check_exam(path: Path, model: ModelFacts) -> None:
    exam = model.exam
    _same(path, "samples", exam.samples, len(model.right), "predictions.parquet")
    _same(path, "errors", exam.errors, int((~model.right).sum()), "predictions.parquet")
    share = round(1 - exam.errors / exam.samples, 6)
    _same(path, "accuracy", round(exam.accuracy, 6), share, "its `errors`")


def _same(path: Path, what: str, got: object, expected: object, source: object) -> None:
    if got != expected:
        raise DataError(f"{path}: {what}: got {got!r}, {source} says {expected!r}; {MEND}")
