"""Sections of params.yaml about the weights of the hidden layers: their initial values and their limits."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.base.config import Section

Initializer = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "random_uniform",
    "random_normal",
    "truncated_normal",
    "orthogonal",
    "variance_scaling",
    "zeros",
    "ones",
]
ConstraintName = Literal["max_norm", "min_max_norm", "unit_norm", "non_neg"]


class Constraint(Section):
    """Limit of the weights that lead to each unit or filter, applied after each step."""

    name: ConstraintName = Field(
        description="`max_norm`, `min_max_norm` and `unit_norm` limit the norm; `non_neg` sets negative weights to 0"
    )
    max_value: float | None = Field(
        None, gt=0, le=1e6, description="largest norm; null means Keras's: 2 for max_norm, 1 for min_max_norm"
    )
    min_value: float | None = Field(None, ge=0, le=1e6, description="for min_max_norm: smallest norm; null means 0")

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if self.max_value is not None and self.name not in ("max_norm", "min_max_norm"):
            raise ValueError(f"`max_value` needs max_norm or min_max_norm, got {self.name}")
        if self.min_value is not None and self.name != "min_max_norm":
            raise ValueError(f"`min_value` needs min_max_norm, got {self.name}")
        if self.min_value is not None and self.min_value > (largest := self.max_value or 1.0):
            raise ValueError(f"`min_value` is {self.min_value:g}, expected at most `max_value`, {largest:g}")
        return self
