"""The section of params.yaml about optimizers: algorithm, learning rate and its schedule."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.base.config import Section

OptimizerName = Literal["sgd", "rmsprop", "adam", "adagrad"]
ScheduleName = Literal["constant", "exponential", "cosine", "one_cycle"]
# Which schedule each option belongs to.
OPTIONS = {
    "factor": ("exponential",),
    "staircase": ("exponential",),
    "end": ("cosine", "one_cycle"),
    "start": ("one_cycle",),
    "warmup": ("one_cycle",),
}


class Schedule(Section):
    """How the learning rate changes while a model learns; shares are of `optimizer.learning_rate`."""

    name: ScheduleName = Field(
        "constant",
        description="`exponential`: times `factor` each epoch; `cosine`: down to `end` along half a wave; "
        "`one_cycle`: up from `start` in a line, then down to `end` along half a wave",
    )
    factor: float = Field(0.9, gt=0, lt=1, description="for exponential: what an epoch leaves of the rate")
    staircase: bool = Field(False, description="for exponential: change between epochs, not at each step")
    start: float = Field(0.04, ge=0, le=1, description="for one_cycle: share of the rate at the first step")
    end: float = Field(0.0, ge=0, le=1, description="for cosine and one_cycle: share of the rate at the last step")
    warmup: float = Field(0.3, gt=0, lt=1, description="for one_cycle: share of the steps on the way up")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        for option in sorted(self.model_fields_set & OPTIONS.keys()):
            if self.name not in OPTIONS[option]:
                raise ValueError(f"`{option}` goes with {' or '.join(OPTIONS[option])}, not with {self.name}")
        return self


class Optimizer(Section):
    """How the weights follow the gradients."""

    name: OptimizerName = Field(description="the algorithm")
    learning_rate: float | None = Field(None, gt=0, le=10, description="step size; Keras's default when absent")
    momentum: float = Field(0.0, ge=0, lt=1, description="for sgd and rmsprop")
    nesterov: bool = Field(False, description="look-ahead momentum, for sgd")
    decay: float = Field(0.0, ge=0, le=1, description="the rate at step t is divided by 1 + decay * t")
    weight_decay: float | None = Field(
        None, gt=0, lt=1, description="share of the weights taken off at each step, times the rate; none when null"
    )
    schedule: Schedule | None = Field(None, description="how the learning rate changes; not at all when null")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.momentum and self.name not in ("sgd", "rmsprop"):
            raise ValueError(f"`momentum` goes with sgd or rmsprop, not with {self.name}")
        if self.nesterov and self.name != "sgd":
            raise ValueError(f"`nesterov` goes with sgd, not with {self.name}")
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` looks ahead along the momentum, which is 0; give `momentum`")
        if self.decay and self.schedule and self.schedule.name != "constant":
            raise ValueError(f"`decay` and the schedule {self.schedule.name} both set the learning rate; choose one")
        return self
