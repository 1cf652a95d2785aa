"""The schema of params.yaml, assembled from the sections of the rooms.

Each section is a frozen model. Each mistake becomes one sentence with the key path, the value and the allowed values.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from stages.base.config import Name, Section, read_yaml
from stages.base.errors import ParamsError
from stages.base.sample_kinds import KINDS
from stages.base.shown_text import shortened
from stages.base.suggestions import did_you_mean
from stages.base.validation_messages import error_messages
from stages.data.config import Dataset, Prepare
from stages.model.config import Model
from stages.model.doubt import Predict
from stages.model.feasibility import feasibility_errors, validation_errors
from stages.report.config import Gates, Report
from stages.samples.pixels import Crop


class Params(Section):
    """The whole params.yaml."""

    dataset: Name = Field(description="data set to use, one of `datasets`")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="available data sets")
    prepare: Prepare = Field(description="conversion of raw pixels to network inputs")
    models: dict[Name, Model] = Field(min_length=1, description="models to train and compare")
    more_models: dict[Name, Model] = Field(
        default_factory=dict, description="more models, not trained; `inkflow run --with NAME` copies one to `models`"
    )
    report: Report = Field(description="content of the report")
    predict: Predict = Field(default_factory=Predict, description="answers of `inkflow predict` and `score`")
    gates: Gates = Field(default_factory=Gates, description="limits that a model must meet before its release")

    @model_validator(mode="after")
    def _check_datasets(self) -> Self:
        known = ", ".join(self.datasets)
        if self.dataset not in self.datasets:
            hint = did_you_mean(self.dataset, self.datasets)
            raise ValueError(f"`dataset` is {self.dataset!r}, which is not in `datasets`; {hint}known: {known}")
        for name, dataset in self.datasets.items():
            if dataset.stand_in_for and dataset.stand_in_for not in self.datasets:
                raise ValueError(
                    f"`datasets.{name}.stand_in_for` is {dataset.stand_in_for!r}, not in `datasets`; known: {known}"
                )
        return self

    @model_validator(mode="after")
    def _check_gate_models(self) -> Self:
        self.gates.check_names(self.models)
        return self

    @property
    def selected_dataset(self) -> Dataset:
        """The data set with the name in `dataset`."""
        return self.datasets[self.dataset]


def load_params(path: Path | str = "params.yaml") -> Params:
    """Reads and validates params.yaml.

    Raises:
        ParamsError: the file is missing or invalid; one message for each mistake.
    """
    return check_params(read_yaml(path), path)


def check_params(content: Any, path: Path | str = "params.yaml") -> Params:
    """Validates the parsed `content` of the file `path`.

    Raises:
        ParamsError: the content is invalid; one message for each mistake.
    """
    if not isinstance(content, Mapping):
        required = [name for name, field in Params.model_fields.items() if field.is_required()]
        raise ParamsError(str(path), [f"needs sections {', '.join(required)}, got {shortened(repr(content))}"])
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(str(path), error_messages(error, Params)) from error
    if messages := list(_dataset_errors(params)):
        raise ParamsError(str(path), messages)
    return params


def _dataset_errors(params: Params) -> Iterator[str]:
    """Yields a message for each crop or model that is not possible with the selected data set."""
    dataset, crop = params.selected_dataset, params.prepare.crop or Crop()
    size: Sequence[int] | None = None
    if params.prepare.held_out == "groups" and dataset.groups is None and dataset.embedded:
        yield f"prepare.held_out is groups, but datasets.{params.dataset} has none; choose `random` or `last`"
    if dataset.kind != "image":
        size = dataset.shape
        if params.prepare.crop:
            noun = KINDS[dataset.kind].noun
            yield f"prepare.crop is for images, but datasets.{params.dataset} has {noun}s; remove it"
    elif dataset.shape:
        height, width = dataset.shape[:2]
        messages = crop.size_errors(height, width)
        yield from (f"prepare.crop {message}" for message in messages)
        size = None if messages else crop.cropped_size(height, width)
    for name, model in params.models.items():
        messages = feasibility_errors(model, size, dataset.class_count, dataset.kind)
        messages += validation_errors(model) if not params.prepare.validation else []
        yield from (f"models.{name}: {message}" for message in messages)
