"""Section of params.yaml about the optimizer: algorithm, learning rate and its schedule."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.base.config import Section
from stages.model.custom_code import OR_CODE, is_code
from stages.model.short_forms import optimizer_with_full_forms

OptimizerName = Literal["sgd", "rmsprop", "adam", "adagrad", "adamw", "nadam", "adamax"]
ScheduleName = Literal["constant", "exponential", "cosine", "one_cycle", "reduce_on_plateau"]
# The optimizers that use each option.
OPTIONS = {
    "momentum": ("sgd", "rmsprop"),
    "beta_1": ("adam", "adamw", "nadam", "adamax"),
    "beta_2": ("adam", "adamw", "nadam", "adamax"),
}
CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")
# The schedules that use each option.
SCHEDULE_OPTIONS = {
    "factor": ("exponential", "reduce_on_plateau"),
    "staircase": ("exponential",),
    "end": ("cosine", "one_cycle", "reduce_on_plateau"),
    "start": ("one_cycle",),
    "warmup": ("one_cycle",),
    "patience": ("reduce_on_plateau",),
    "min_delta": ("reduce_on_plateau",),
    "cooldown": ("reduce_on_plateau",),
}


END = "for cosine and one_cycle: share of the rate at the last step; for reduce_on_plateau: the lowest share"


class Schedule(Section):
    """Learning-rate schedule. Shares refer to `optimizer.learning_rate`."""

    name: ScheduleName = Field(
        "constant",
        description="`exponential`: multiply by `factor` in each epoch; `cosine`: cosine decay to `end`; "
        "`one_cycle`: linear warm-up from `start`, then cosine decay to `end`; `reduce_on_plateau`: multiply by "
        "`factor` when the validation loss no longer decreases",
    )
    factor: float = Field(
        0.9, gt=0, lt=1, description="for exponential: factor per epoch; for reduce_on_plateau, 0.1 by default"
    )
    staircase: bool = Field(False, description="for exponential: change after each epoch instead of each step")
    start: float = Field(0.04, ge=0, le=1, description="for one_cycle: share of the rate at the first step")
    end: float = Field(0.0, ge=0, le=1, description=END)
    warmup: float = Field(0.3, gt=0, lt=1, description="for one_cycle: share of the steps in the warm-up")
    patience: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="for reduce_on_plateau: epochs without a lower validation loss; null means 10",
    )
    min_delta: float | None = Field(
        None, ge=0, le=1e6, description="for reduce_on_plateau: decrease that counts as lower; null means 0.0001"
    )
    cooldown: int | None = Field(
        None, ge=0, le=10_000, description="for reduce_on_plateau: epochs to wait after a reduction; null means 0"
    )

    @model_validator(mode="before")
    @classmethod
    def _set_factor(cls, content: Any) -> Any:
        """Sets Keras's default factor of reduce_on_plateau."""
        if isinstance(content, Mapping) and content.get("name") == "reduce_on_plateau":
            return {"factor": 0.1, **content}
        return content

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        for option in sorted(self.model_fields_set & SCHEDULE_OPTIONS.keys()):
            if self.name not in SCHEDULE_OPTIONS[option]:
                raise ValueError(f"`{option}` needs {' or '.join(SCHEDULE_OPTIONS[option])}, got {self.name}")
        return self


class Optimizer(Section):
    """Optimizer of the training."""

    name: Annotated[OptimizerName, OR_CODE] = Field(description="algorithm, or own code `custom.module:name`")
    learning_rate: float | None = Field(None, gt=0, le=10, description="learning rate; null means Keras's default")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum, for sgd and rmsprop")
    nesterov: bool = Field(False, description="Nesterov momentum, for sgd")
    decay: float = Field(0.0, ge=0, le=1, description="divide the learning rate at step t by 1 + decay * t")
    beta_1: float | None = Field(
        None, ge=0, lt=1, description="decay of the mean gradient, for adam, adamw, nadam and adamax; null: Keras's 0.9"
    )
    beta_2: float | None = Field(
        None, ge=0, lt=1, description="decay of the mean squared gradient, for the same ones; null: Keras's 0.999"
    )
    clipnorm: float | None = Field(None, gt=0, le=1e6, description="largest norm of the gradient of each weight array")
    global_clipnorm: float | None = Field(
        None, gt=0, le=1e6, description="largest norm of the gradient of all weights together"
    )
    clipvalue: float | None = Field(None, gt=0, le=1e6, description="largest absolute value in a gradient")
    weight_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decoupled weight decay: each step subtracts this share of the weights, times the learning rate; "
        "null means none, for adamw Keras's 0.004",
    )
    schedule: Schedule | None = Field(None, description="learning-rate schedule; null means a constant rate")

    @model_validator(mode="before")
    @classmethod
    def _write_out(cls, content: Any) -> Any:
        return optimizer_with_full_forms(content)

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        for option, names in OPTIONS.items():
            is_set = getattr(self, option) != type(self).model_fields[option].default
            if is_set and self.name not in names and not is_code(self.name):
                raise ValueError(f"`{option}` needs {' or '.join(names)}, got {self.name}")
        clips = [f"`{name}`" for name in CLIPS if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"{' and '.join(clips)} limit the gradients in different ways; choose one")
        if is_code(self.name) and self.learning_rate is None and (self.decay or self.schedule):
            key = "schedule" if self.schedule else "decay"
            raise ValueError(f"`{key}` needs `learning_rate` with an optimizer of your own; set it")
        if self.nesterov and self.name != "sgd":
            raise ValueError(f"`nesterov` needs sgd, got {self.name}")
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a momentum, but `momentum` is 0; set it above 0")
        if self.decay and self.schedule and self.schedule.name != "constant":
            raise ValueError(f"`decay` and the schedule {self.schedule.name} both set the learning rate; choose one")
        return self
