"""The files that the other stages wrote, read and checked each for itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.base.errors import DataError
from stages.model.compatibility import TaskName
from stages.model.tasks import Task

ROUNDING = 1e-6  # by which a float32 probability may exceed 1
SUM_TOLERANCE = 1e-3  # of the sum of a row's probabilities, as in the examination
MEND = "run `inkflow run` to make it again"


class Record(BaseModel):
    """A JSON file of another stage; keys that the report does not need are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Samples(Record):
    """Sizes of the parts that the training stage reads."""

    train: int = Field(ge=1)
    validation: int = Field(ge=1)


class PreparedCard(Record):
    """data/prepared/prepared.json: a network reads (pixel - offset) / scale of the cropped image."""

    dataset: str
    classes: int
    shape: tuple[int, ...]
    crop: dict[Literal["top", "bottom", "left", "right"], int]
    normalise: str
    offset: float
    scale: float
    samples: Samples


class Part(Record):
    """Mean loss on one part of the data, and the share of right answers (of a regression, of nearest labels)."""

    loss: float
    accuracy: float | None = Field(None, ge=0, le=1)


class Device(Record):
    """What the training ran on."""

    kind: str
    name: str


class Training(Record):
    """models/NAME/training.json: scores of the weights that were kept, with dropout off."""

    model: str
    task: TaskName = "multiclass"
    parameters: int = Field(ge=0)
    epochs: int = Field(ge=1)
    kept_epoch: int | None = Field(None, ge=1)  # the last one where nothing is said
    device: Device
    threads: int | None = None
    precision: str
    versions: dict[str, str]
    train: Part
    validation: Part


class Exam(Record):
    """evaluation/NAME/metrics.json of a classifier: the exported model on the test images."""

    loss: float
    accuracy: float = Field(ge=0, le=1)
    errors: int = Field(ge=0)
    samples: int = Field(ge=1)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """The JSON file at `path` as a `kind`.

    Raises:
        DataError: it is missing, is not JSON, or lacks what the report needs.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}; {MEND}") from error


def read_history(path: Path, training: Training) -> pd.DataFrame:
    """history.csv: a row for each epoch of `training`, columns `epoch`, loss and metric, each also as `val_`.

    Raises:
        DataError: it is missing, is not such a table, or has another number of epochs.
    """
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise unreadable(path, error) from error
    metric = "mae" if training.task == "regression" else "accuracy"
    needed = ["loss", metric, "val_loss", f"val_{metric}"]
    lacking = [name for name in needed if name not in history or history[name].dtype.kind not in "fi"]
    if lacking:
        raise DataError(f"{path}: needs columns of numbers named {', '.join(lacking)}; {MEND}")
    if "epoch" not in history or history["epoch"].tolist() != list(range(1, training.epochs + 1)):
        raise DataError(f"{path}: expected epochs 1 to {training.epochs}, as training.json says; {MEND}")
    return history


def read_predictions(path: Path, labels: np.ndarray, classes: int) -> pd.DataFrame:
    """predictions.parquet of a classifier: label, predicted, probability, loss and p0, p1, ...; a row a test image.

    `labels` (n,) are those of the test images as its task has them, and so are `classes`.

    Raises:
        DataError: it is missing, is no such table, or belongs to other test images.
    """
    predictions = _read_table(path, ["label", "predicted", "probability", "loss"], labels, classes)
    if not predictions["probability"].between(0, 1 + ROUNDING).all():
        raise DataError(f"{path}: probability: expected numbers from 0 to 1; {MEND}")
    said = sum(name.startswith("p") and name[1:].isdigit() for name in map(str, predictions))
    if said != classes:
        raise DataError(f"{path}: expected columns p0 to p{classes - 1}, got {said} of them; {MEND}")
    sums = predictions[[f"p{number}" for number in range(classes)]].sum(axis=1)
    if not sums.between(1 - SUM_TOLERANCE, 1 + SUM_TOLERANCE).all():
        raise DataError(f"{path}: expected probabilities with the sum 1 in each row; {MEND}")
    return predictions


def read_values(path: Path, labels: np.ndarray, classes: int, task: Task) -> pd.DataFrame:
    """predictions.parquet of a regression: label, predicted (the nearest), value, target and loss, a row a test image.

    Raises:
        DataError: it is missing, is no such table, or belongs to other test images or numbers.
    """
    values = _read_table(path, ["label", "predicted", "value", "target", "loss"], labels, classes)
    if not np.isfinite(values[["value", "target"]].to_numpy(np.float64)).all():
        raise DataError(f"{path}: expected numbers under value and target; {MEND}")
    if not np.allclose(values["target"], task.numbers(classes)[labels]):
        raise DataError(f"{path}: target: expected what params.yaml says of the labels; {MEND}")
    return values


def _read_table(path: Path, needed: Sequence[str], labels: np.ndarray, classes: int) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise unreadable(path, error) from error
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise DataError(f"{path}: needs columns named {', '.join(lacking)}; {MEND}")
    if not np.array_equal(table["label"], labels):
        raise DataError(f"{path}: its labels are not those of the {len(labels)} test images; {MEND}")
    if not table["predicted"].isin(range(classes)).all():
        raise DataError(f"{path}: predicted: expected classes 0 to {classes - 1}; {MEND}")
    return table


def unreadable(path: Path, error: Exception) -> DataError:
    """The error to raise when `path` is missing or is not what its name says."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: not found; {MEND}")
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return DataError(f"{path}: cannot be read: {reason}; {MEND}")
