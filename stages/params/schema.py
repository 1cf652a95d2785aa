"""The schema of params.yaml: what may be chosen, and what each choice may be.

One frozen model a section; those of data, optimizers and models stand in modules of their own. A mistake is said as
one sentence with the key path, the value and what is allowed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from stages.base.config import Name, Section, read_yaml
from stages.base.errors import ParamsError
from stages.base.suggestions import did_you_mean
from stages.base.validation_messages import sentences
from stages.data.config import Dataset, Prepare
from stages.model.config import Model
from stages.model.feasibility import misfits
from stages.report.config import Gates, Report
from stages.samples.pixels import Crop


class Params(Section):
    """All of params.yaml."""

    dataset: Name = Field(description="the data set to use, one of `datasets`")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="the data sets that can be chosen")
    prepare: Prepare = Field(description="from raw pixels to what a network reads")
    models: dict[Name, Model] = Field(min_length=1, description="the models to train and compare")
    more_models: dict[Name, Model] = Field(
        default_factory=dict, description="models kept ready: `inkflow run --with NAME` adds one to `models`"
    )
    report: Report = Field(description="what the report shows")
    gates: Gates = Field(default_factory=Gates, description="what a model must reach before it may ship")

    @model_validator(mode="after")
    def _known_names(self) -> Self:
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
    def _known_models(self) -> Self:
        every = {name: gate.not_worse_than for name, gate in self.gates.models.items()}
        named = {*every, *every.values(), self.gates.every.not_worse_than} - {None}
        for name in sorted(str(name) for name in named if name not in self.models):
            hint = did_you_mean(name, self.models)
            raise ValueError(f"`gates` names {name!r}, which is not in `models`; {hint}known: {', '.join(self.models)}")
        return self

    @property
    def chosen(self) -> Dataset:
        """The data set that `dataset` names."""
        return self.datasets[self.dataset]


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing, is not YAML, or has mistakes: all of them, one sentence each.
    """
    return check_params(read_yaml(path), path)


def check_params(content: Any, path: Path | str = "params.yaml") -> Params:
    """Params from the parsed `content` of `path`.

    Raises:
        ParamsError: one sentence for each mistake.
    """
    if not isinstance(content, Mapping):
        raise ParamsError(str(path), [f"needs sections {', '.join(_required())}, got {content!r}"])
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(str(path), sentences(error, Params)) from error
    if mistakes := list(_data_misfits(params)):
        raise ParamsError(str(path), mistakes)
    return params


def _required() -> list[str]:
    return [name for name, field in Params.model_fields.items() if field.is_required()]


def _data_misfits(params: Params) -> Iterator[str]:
    """What cannot be done with images and classes as the chosen data set states them, a sentence each."""
    dataset, crop = params.chosen, params.prepare.crop or Crop(top=0, bottom=0, left=0, right=0)
    shape = None
    if dataset.shape:
        height, width = dataset.shape[:2]
        wrong = crop.misfits(height, width)
        yield from (f"prepare.crop {mistake}" for mistake in wrong)
        if not wrong:
            shape = (height - crop.top - crop.bottom, width - crop.left - crop.right)
    for name, model in params.models.items():
        yield from (f"models.{name}: {mistake}" for mistake in misfits(model, shape, dataset.stated_classes))
