"""The sections `report` and `gates` of params.yaml: what the report shows, and what a model must reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stages.base.config import Name, Section, check_section, read_yaml
from stages.data.config import Dataset
from stages.model.config import Model


class Report(Section):
    """What the report shows."""

    smoothing: float = Field(0.9, ge=0, lt=1, description="weight of the past in the smoothed curves")
    samples: int = Field(20, ge=1, le=100, description="images in the sample grid")
    predictions: int = Field(10, ge=1, le=100, description="test images shown with what each model says")


class Gate(Section):
    """Limits of one model; those that are null do not apply."""

    lower_bound: float | None = Field(
        None, ge=0, le=1, description="the lower end of the test accuracy's 95% interval must not lie below it"
    )
    gap_points: float | None = Field(
        None, ge=0, le=100, description="training accuracy may exceed test accuracy by as many percentage points"
    )
    calibration_error: float | None = Field(None, ge=0, le=1, description="largest expected calibration error")
    mean_error: float | None = Field(
        None, gt=0, description="for values: the upper end of the mean absolute error's 95% interval must not exceed it"
    )
    not_worse_than: Name | None = Field(
        None, description="a model of the same run; being worse than it (exact McNemar test, p below 0.05) fails"
    )


class Gates(Section):
    """What every model must reach, and what one must reach instead."""

    every: Gate = Field(default_factory=Gate, description="limits of every model")
    models: dict[Name, Gate] = Field(
        default_factory=dict, description="limits of one model, which replace those under `every` key by key"
    )

    def of(self, name: str) -> Gate:
        """The limits of the model `name`."""
        return self.every.model_copy(update=self.models.get(name, Gate()).model_dump(exclude_unset=True))


@dataclass(frozen=True)
class ReportParams:
    """The sections of params.yaml that the report stage reads."""

    dataset: str
    chosen: Dataset
    models: Mapping[str, Model]
    report: Report
    gates: Gates


def load_report_params(path: Path | str = "params.yaml") -> ReportParams:
    """The sections of the params.yaml `path` that the report stage reads.

    Raises:
        ParamsError: one of them is missing or has mistakes.
    """
    content = read_yaml(path)
    dataset = check_section(content, ["dataset"], Name, path)
    return ReportParams(
        dataset,
        check_section(content, ["datasets", dataset], Dataset, path),
        check_section(content, ["models"], dict[Name, Model], path),
        check_section(content, ["report"], Report, path),
        check_section(content, ["gates"], Gates, path) if "gates" in content else Gates(),
    )
