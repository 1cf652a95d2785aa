"""Section of params.yaml about the optimizer: algorithm, learning rate and its schedule."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.base.config import Section

OptimizerName = Literal["sgd", "rmsprop", "adam", "adagrad"]
ScheduleName = Literal["constant", "exponential", "cosine", "one_cycle"]
# The schedules that use each option.
SCHEDULE_OPTIONS = {
    "factor": ("exponential",),
    "staircase": ("exponential",),
    "end": ("cosine", "one_cycle"),
    "start": ("one_cycle",),
    "warmup": ("one_cycle",),
}


class Schedule(Section):
    """Learning-rate schedule. Shares refer to `optimizer.learning_rate`."""

    name: ScheduleName = Field(
        "constant",
        description="`exponential`: multiply by `factor` in each epoch; `cosine`: cosine decay to `end`; "
        "`one_cycle`: linear warm-up from `start`, then cosine decay to `end`",
    )
    factor: float = Field(0.9, gt=0, lt=1, description="for exponential: factor per epoch")
    staircase: bool = Field(False, description="for exponential: change after each epoch instead of each step")
    start: float = Field(0.04, ge=0, le=1, description="for one_cycle: share of the rate at the first step")
    end: float = Field(0.0, ge=0, le=1, description="for cosine and one_cycle: share of the rate at the last step")
    warmup: float = Field(0.3, gt=0, lt=1, description="for one_cycle: share of the steps in the warm-up")

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        for option in sorted(self.model_fields_set & SCHEDULE_OPTIONS.keys()):
            if self.name not in SCHEDULE_OPTIONS[option]:
                raise ValueError(f"`{option}` needs {' or '.join(SCHEDULE_OPTIONS[option])}, got {self.name}")
        return self


class Optimizer(Section):
    """Optimizer of the training."""

    name: OptimizerName = Field(description="algorithm")
    learning_rate: float | None = Field(None, gt=0, le=10, description="learning rate; null means Keras's default")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum, for sgd and rmsprop")
    nesterov: bool = Field(False, description="Nesterov momentum, for sgd")
    decay: float = Field(0.0, ge=0, le=1, description="divide the learning rate at step t by 1 + decay * t")
    weight_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decoupled weight decay: each step subtracts this share of the weights, times the learning rate; "
        "null means none",
    )
    schedule: Schedule | None = Field(None, description="learning-rate schedule; null means a constant rate")

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.momentum and self.name not in ("sgd", "rmsprop"):
            raise ValueError(f"`momentum` needs sgd or rmsprop, got {self.name}")
        if self.nesterov and self.name != "sgd":
            raise ValueError(f"`nesterov` needs sgd, got {self.name}")
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a momentum, but `momentum` is 0; set it above 0")
        if self.decay and self.schedule and self.schedule.name != "constant":
            raise ValueError(f"`decay` and the schedule {self.schedule.name} both set the learning rate; choose one")
        return self
