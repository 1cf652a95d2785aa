"""The sections `report` and `gates` of params.yaml: contents of the report, and quality gates of the models."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stages.base.config import Name, Section, check_section, read_yaml
from stages.base.errors import ParamsError
from stages.base.suggestions import did_you_mean
from stages.data.config import Dataset
from stages.model.config import Model


class Report(Section):
    """Contents of the report."""

    smoothing: float = Field(0.9, ge=0, lt=1, description="weight of past epochs in the smoothed learning curves")
    samples: int = Field(20, ge=1, le=100, description="number of training images shown")
    predictions: int = Field(
        10, ge=1, le=100, description="number of test images shown with the prediction of each model"
    )


class Gate(Section):
    """Limits of one model; limits that are null do not apply."""

    lower_bound: float | None = Field(
        None, ge=0, le=1, description="minimum for the lower end of the 95% interval of the test accuracy"
    )
    gap_points: float | None = Field(
        None, ge=0, le=100, description="maximum of training accuracy minus test accuracy, in percentage points"
    )
    calibration_error: float | None = Field(None, ge=0, le=1, description="maximum of the expected calibration error")
    mean_error: float | None = Field(
        None, gt=0, description="regression: maximum for the upper end of the 95% interval of the mean absolute error"
    )
    not_worse_than: Name | None = Field(
        None,
        description="another model of the run; the gate fails when that model is significantly better "
        "(exact McNemar test, for regressions paired t test, p below 0.05)",
    )


class Gates(Section):
    """Quality gates of all models, and of single models."""

    every: Gate = Field(default_factory=Gate, description="limits of every model")
    models: dict[Name, Gate] = Field(
        default_factory=dict, description="limits of single models; each key replaces the same key of `every`"
    )

    def of(self, name: str) -> Gate:
        """Returns the limits of the model `name`."""
        return self.every.model_copy(update=self.models.get(name, Gate()).model_dump(exclude_unset=True))

    def check_names(self, models: Collection[str]) -> None:
        """Checks that all models named in the gates are in `models`.

        Raises:
            ValueError: a model is not in `models`.
        """
        named = {*self.models, *(gate.not_worse_than for gate in (self.every, *self.models.values()))} - {None}
        for name in sorted(str(name) for name in named if name not in models):
            hint = did_you_mean(name, models)
            raise ValueError(f"`gates` names {name!r}, which is not in `models`; {hint}known: {', '.join(models)}")


@dataclass(frozen=True)
class ReportParams:
    """The sections of params.yaml that the report stage reads."""

    dataset: str
    dataset_params: Dataset
    models: Mapping[str, Model]
    report: Report
    gates: Gates


def load_report_params(path: Path | str = "params.yaml") -> ReportParams:
    """Reads the sections of the params.yaml `path` that the report stage needs.

    Raises:
        ParamsError: a section is missing or has mistakes.
    """
    content = read_yaml(path)
    dataset = check_section(content, ["dataset"], Name, path)
    dataset_params = check_section(content, ["datasets", dataset], Dataset, path)
    models = check_section(content, ["models"], dict[Name, Model], path)
    report = check_section(content, ["report"], Report, path)
    gates = check_section(content, ["gates"], Gates, path) if "gates" in content else Gates()
    try:
        gates.check_names(models)
    except ValueError as error:
        raise ParamsError(str(path), [str(error)]) from error
    return ReportParams(dataset, dataset_params, models, report, gates)
