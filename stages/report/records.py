"""Reads and checks the files that the other stages wrote, each file by itself."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stages.base.errors import DataError, raise_fault
from stages.model.compatibility import OutputName, TaskName
from stages.model.tasks import Task

ROUNDING = 1e-6  # by which a float32 probability may exceed 1
SUM_TOLERANCE = 1e-3  # of the sum of a row's probabilities, as in the stage `evaluate`
REMEDY = "run `inkflow run` to recreate it"
# pandas and pyarrow document none of their errors on damaged Parquet files
TABLE_ERRORS = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, pa.ArrowException,
)  # fmt: skip
PROBABILITY, OTHER_SCORES = re.compile("p[0-9]+"), re.compile("p[0-9]+|seed_.*")  # names of columns


class Record(BaseModel):
    """A JSON file of another stage; keys that the report does not need are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class SampleCounts(Record):
    """Sizes of the parts that the training stage reads."""

    train: int = Field(ge=1)
    validation: int = Field(ge=0)


class GroupCounts(Record):
    """Numbers of groups in each part, and of those that are in more than one part.

    `test` is None if the groups of the test samples are not known.
    """

    train: int = Field(ge=1)
    validation: int = Field(ge=0)
    test: int | None = Field(ge=1)
    shared: int = Field(ge=0)


class Preparation(Record):
    """data/prepared/prepared.json: a network reads (value - offset) / scale, of an image after the crop."""

    dataset: str
    classes: int
    shape: tuple[int, ...]
    crop: dict[Literal["top", "bottom", "left", "right"], int] = {}  # of images
    normalise: str
    offset: float | list[float]  # or one for each feature
    scale: float | list[float]
    samples: SampleCounts
    groups: GroupCounts | None = None  # only where whole groups were held out


class PartScores(Record):
    """Mean loss on one part of the data, and the accuracy (of a regression, the accuracy of the nearest labels)."""

    model_config = ConfigDict(extra="allow")

    loss: float
    accuracy: float | None = Field(None, ge=0, le=1)
    mae: float | None = Field(None, ge=0)  # of a regression

    @property
    def further(self) -> dict[str, float]:
        """The other metrics that the model watches, by name."""
        extra = self.model_extra or {}
        return {name: value for name, value in extra.items() if name != "mae" and isinstance(value, int | float)}


class Device(Record):
    """The processor or GPU that ran the training."""

    kind: str
    name: str


class Layer(Record):
    """A layer of the network, as in Keras's `summary`."""

    name: str
    kind: str
    shape: tuple[int | None, ...] | None  # of the output; None for the number of samples
    parameters: int = Field(ge=0)

    @property
    def shape_text(self) -> str:
        """The shape of the output, as Keras writes it."""
        return "" if self.shape is None else f"({', '.join(map(str, self.shape))})"


class Training(Record):
    """models/NAME/training.json: scores of the weights that were kept, with dropout off."""

    model: str
    task: TaskName = "multiclass"
    output: OutputName | None = None  # of an own network, whose last layer does not tell
    parameters: int = Field(ge=0)
    epochs: int = Field(ge=1)
    kept_epoch: int | None = Field(None, ge=1)  # None: the last epoch
    device: Device
    threads: int | None = None
    precision: str
    versions: dict[str, str]
    environment: dict[str, str] = {}  # variables of the machine that can change results
    layers: tuple[Layer, ...] = ()
    trainable_parameters: int | None = Field(None, ge=0)
    train: PartScores
    validation: PartScores  # the loss is NaN where no sample was held out
    seed: int | None = None  # of the exported weights, where the model was trained with several seeds
    seeds: dict[str, PartScores] | None = None  # the validation scores of each of these seeds

    @field_validator("validation", mode="before")
    @classmethod
    def _without_validation(cls, content: Any) -> Any:
        return PartScores.model_construct(loss=math.nan) if content is None else content


class Evaluation(Record):
    """evaluation/NAME/metrics.json of a classifier: scores of the exported model on the test images."""

    loss: float
    accuracy: float = Field(ge=0, le=1)
    errors: int = Field(ge=0)
    samples: int = Field(ge=1)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """Reads the JSON file `path` as a `kind`.

    Raises:
        DataError: the file is missing, is not JSON, or lacks a key that the report needs.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {key}: {first['msg']}; {REMEDY}") from error


def read_history(path: Path, training: Training) -> pd.DataFrame:
    """Reads history.csv: a row for each epoch, with the columns `epoch`, loss and metric, the last two also as `val_`.

    Raises:
        DataError: the file is missing, lacks a column, or has another number of epochs than `training`.
    """
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise_fault(error)
        raise unreadable(path, error) from error
    metric = "mae" if training.task == "regression" else "accuracy"
    required = ["loss", metric, "val_loss", f"val_{metric}"]
    missing = [name for name in required if name not in history or history[name].dtype.kind not in "fi"]
    if missing:
        raise DataError(f"{path}: missing numeric columns: {', '.join(missing)}; {REMEDY}")
    if "epoch" not in history or history["epoch"].tolist() != list(range(1, training.epochs + 1)):
        raise DataError(f"{path}: expected epochs 1 to {training.epochs}, as in training.json; {REMEDY}")
    return history


def read_predictions(path: Path, labels: np.ndarray, classes: int) -> pd.DataFrame:
    """Reads predictions.parquet of a classifier: label, predicted, probability, loss, p0, p1, ... of each image.

    The expected `labels` (n,) and the number of `classes` are those of the model's task.

    Raises:
        DataError: the file is missing, lacks a column, or belongs to other test images.
    """
    predictions = _read_table(path, ["label", "predicted", "probability", "loss"], labels, classes)
    if not predictions["probability"].between(0, 1 + ROUNDING).all():
        raise DataError(f"{path}: column probability: expected numbers from 0 to 1; {REMEDY}")
    found = [name for name in map(str, predictions) if PROBABILITY.fullmatch(name)]
    wanted = [f"p{number}" for number in range(classes)]
    if sorted(found) != sorted(wanted):
        raise DataError(f"{path}: got {len(found)} columns of probabilities, expected p0 to p{classes - 1}; {REMEDY}")
    sums = predictions[wanted].sum(axis=1)
    if not sums.between(1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE).all():
        raise DataError(f"{path}: expected probabilities with the sum 1 in each row; {REMEDY}")
    return predictions


def read_values(path: Path, labels: np.ndarray, classes: int, task: Task) -> pd.DataFrame:
    """Reads predictions.parquet of a regression: label, predicted (the nearest), value, target and loss of each image.

    The expected `labels` (n,) and the number of `classes` are those of the data set.

    Raises:
        DataError: the file is missing, lacks a column, or belongs to other test images or numbers.
    """
    values = _read_table(path, ["label", "predicted", "value", "target", "loss"], labels, classes)
    if not np.isfinite(values[["value", "target"]].to_numpy(np.float64)).all():
        raise DataError(f"{path}: columns value and target: expected finite numbers; {REMEDY}")
    if not np.allclose(values["target"], task.label_values(classes)[labels]):
        raise DataError(f"{path}: column target: expected the numbers that params.yaml gives to the labels; {REMEDY}")
    return values


def _read_table(path: Path, required: Sequence[str], labels: np.ndarray, classes: int) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except TABLE_ERRORS as error:
        raise_fault(error)
        raise unreadable(path, error) from error
    missing = [name for name in required if name not in table]
    if missing:
        raise DataError(f"{path}: missing columns: {', '.join(missing)}; {REMEDY}")
    if not table.columns.is_unique or table.columns.nlevels > 1:
        raise DataError(f"{path}: expected one name for each column, and no name twice; {REMEDY}")
    numbers = [*required, *(name for name in map(str, table) if OTHER_SCORES.fullmatch(name))]
    wrong = [name for name in numbers if not _is_numeric(table[name].dtype)]
    if wrong:
        raise DataError(f"{path}: column {wrong[0]}: expected numbers; {REMEDY}")
    if not np.array_equal(table["label"], labels):
        raise DataError(f"{path}: column label: expected the labels of the {len(labels)} test images; {REMEDY}")
    if not table["predicted"].isin(range(classes)).all():
        raise DataError(f"{path}: column predicted: expected classes 0 to {classes - 1}; {REMEDY}")
    return table


def _is_numeric(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and kind.kind in "iuf"


def check_seeds(path: Path, predictions: pd.DataFrame, seeds: Sequence[str]) -> None:
    """Checks that the `predictions` of `path` have a numeric column for each of the `seeds`, and no other one.

    Raises:
        DataError: they belong to a training with other seeds.
    """
    columns = [str(name) for name in predictions if str(name).startswith("seed_")]
    wanted = [f"seed_{seed}" for seed in seeds]
    if sorted(columns) != sorted(wanted):
        found, expected = (", ".join(sorted(names)) or "none" for names in (columns, wanted))
        raise DataError(f"{path}: columns of seeds: got {found}, expected {expected}; {REMEDY}")
    if not np.isfinite(predictions[columns].to_numpy(np.float64)).all():
        raise DataError(f"{path}: columns of seeds: expected finite numbers; {REMEDY}")


def unreadable(path: Path, error: Exception) -> DataError:
    """Returns the error to raise when `path` is missing or cannot be parsed."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: not found; {REMEDY}")
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: cannot be read: {reason}; {REMEDY}")
