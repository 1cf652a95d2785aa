"""The sections of params.yaml about models: one for each kind of network."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.base.config import Section
from stages.model.compatibility import LOSSES, OUTPUTS, SMOOTHED, LossName, OutputName, TaskName, misfit
from stages.model.optimizer_config import Optimizer

Activation = Literal["relu", "sigmoid", "tanh", "softmax", "none"]
Units = Annotated[int, Field(ge=1, le=8192)]
Label = Annotated[int, Field(ge=0, le=99)]
PoolDropout = Annotated[
    float, Field(ge=0, lt=1, description="share of the features silenced in training after each pooling")
]
ClassWeight = Annotated[float, Field(ge=0, le=1e6)]


def _unique(labels: list[int]) -> list[int]:
    if len(set(labels)) < len(labels):
        raise ValueError(f"got {labels}, expected each label once")
    return labels


Labels = Annotated[list[Label], Field(min_length=1, max_length=99), AfterValidator(_unique)]


class Augmentation(Section):
    """Random changes of the training images, another at each look; none in what is exported."""

    rotation: float = Field(0.0, ge=0, le=180, description="by at most this many degrees, either way")
    zoom: float = Field(0.0, ge=0, lt=1, description="larger or smaller by at most this share")
    shift: float = Field(0.0, ge=0, lt=1, description="by at most this share of the height and the width")
    elastic: float = Field(
        0.0,
        ge=0,
        lt=0.25,
        description="bent: places are moved by about this share of the height and the width, "
        "neighbours alike; above 0.12 images fold over themselves",
    )


class TestTimeAugmentation(Section):
    """Copies of an image whose answers are averaged with its own, by the model that ships; not while it learns."""

    rotation: float = Field(0.0, ge=0, le=180, description="two copies, turned by so many degrees either way")
    zoom: float = Field(0.0, ge=0, lt=1, description="two copies, larger and smaller by this share")
    shift: float = Field(0.0, ge=0, lt=1, description="four copies, moved by this share of the height or the width")

    @model_validator(mode="after")
    def _has_copies(self) -> Self:
        if not (self.rotation or self.zoom or self.shift):
            raise ValueError("asks for no copies: give rotation, zoom or shift, or null for none")
        return self


class EarlyStopping(Section):
    """When to stop because the validation loss does not fall any more."""

    patience: int = Field(ge=1, le=10_000, description="epochs without a lower validation loss before the end")
    min_delta: float = Field(0.0, ge=0, le=1e6, description="what counts as lower: by more than this")


class ModelBase(Section):
    """What every model has, whatever its network."""

    task: TaskName = Field(
        "multiclass",
        description="`multiclass`: which label; `two_class`: whether the label is one of `positive`; "
        "`regression`: the number that the label stands for",
    )
    positive: Labels | None = Field(None, description="for two_class: the labels of the positive class")
    values: list[float] | None = Field(
        None, min_length=2, max_length=100, description="for regression: the number of each label; the label when null"
    )
    units: list[Units] = Field(max_length=16, description="width of each hidden dense layer")
    activation: Activation = Field("relu", description="of the hidden layers; recurrent ones keep tanh")
    form: Literal["sequential", "functional"] = Field(
        "sequential", description="a stack of layers, or a graph of layers, which can have branches"
    )
    skip: bool = Field(False, description="for functional: each hidden dense layer passes its input on beside its own")
    batch_normalisation: bool = Field(False, description="between each hidden layer and its activation")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of hidden dense units (or, without these, features) silenced in training"
    )
    l1: float = Field(0.0, ge=0, le=1, description="penalty on the size of the weights, added to the loss")
    l2: float = Field(0.0, ge=0, le=1, description="penalty on the squares of the weights, added to the loss")
    augmentation: Augmentation | None = Field(None, description="random changes of the training images; none when null")
    test_time_augmentation: TestTimeAugmentation | None = Field(
        None, description="copies of an image over which the shipped model averages; none when null"
    )
    output: OutputName = Field(
        "softmax",
        description="what the last layer gives in training; for two_class `sigmoid`, for regression `linear` if absent",
    )
    optimizer: Optimizer
    loss: LossName = Field(
        "sparse_categorical_crossentropy",
        description="labels are written as it needs them; `binary_crossentropy` for two_class, "
        "`mean_squared_error` for regression if absent",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a label that is spread over all classes, for categorical_crossentropy "
        "and binary_crossentropy",
    )
    class_weights: list[ClassWeight] | None = Field(
        None, min_length=2, max_length=100, description="weight in the loss of the samples of each class; 1 when null"
    )
    balance: bool = Field(False, description="class weights that let each class count as much as any other")
    batch_size: int = Field(ge=1, le=65536, description="samples a step")
    epochs: int = Field(ge=1, le=10_000, description="passes over the training samples")
    shuffle: bool = Field(True, description="another order of the samples in each epoch; that of the data when false")
    early_stopping: EarlyStopping | None = Field(None, description="when to stop before `epochs`; never when null")
    keep: Literal["last", "best"] = Field(
        "last", description="the weights after the last epoch, or after that with the lowest validation loss"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, dropout and augmentation")
    precision: Literal["auto", "float32", "bfloat16", "mixed"] = Field(
        "auto",
        description="`float32`; `bfloat16`, alias `mixed`: products in bfloat16, weights in float32; "
        "`auto`: bfloat16 for convolutions where the processor or GPU has it natively, else float32",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="`gpu` fails where none is visible; `auto` uses one"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads that compute: results depend on it; all processors when null"
    )

    @model_validator(mode="before")
    @classmethod
    def _follow_the_task(cls, content: Any) -> Any:
        """Output and loss that are not chosen follow from the task."""
        task = content.get("task") if isinstance(content, Mapping) else None
        if not isinstance(task, str) or task not in LOSSES:
            return content
        return {"output": OUTPUTS[task][0], "loss": LOSSES[task], **content}

    @model_validator(mode="after")
    def _pairs_fit(self) -> Self:
        for mistake in (misfit(self.task, self.output, self.loss), *self._task_misfits(), *self._form_misfits()):
            if mistake:
                raise ValueError(mistake)
        return self

    def _task_misfits(self) -> list[str]:
        """What of the keys that belong to one task stands in another, or is not there."""
        found = []
        if self.positive is None and self.task == "two_class":
            found.append("`task: two_class` needs `positive`, the labels of the positive class")
        if self.positive is not None and self.task != "two_class":
            found.append(f"`positive` goes with `task: two_class`, not with {self.task}")
        if self.values is not None and self.task != "regression":
            found.append(f"`values` goes with `task: regression`, not with {self.task}")
        return (
            found
            + self._smoothing_misfits()
            + self._weight_misfits()
            + (self._value_misfits() if self.task == "regression" else [])
        )

    def _smoothing_misfits(self) -> list[str]:
        fitting = SMOOTHED.get(self.task)
        if not self.label_smoothing or self.loss == fitting:
            return []
        if fitting is None:
            return [f"`label_smoothing` does not go with `task: {self.task}`: a number to predict has no classes"]
        return [f"`label_smoothing` does not go with `loss: {self.loss}`; choose {fitting}"]

    def _weight_misfits(self) -> list[str]:
        weights, chosen = self.class_weights, "class_weights" if self.class_weights else "balance"
        if self.task == "regression" and (weights or self.balance):
            return [f"`{chosen}` does not go with `task: regression`: a number to predict has no classes"]
        if weights and self.balance:
            return ["`class_weights` and `balance` both set the weights of the classes; choose one"]
        if weights and not any(weights):
            return ["`class_weights` are all 0: nothing would be learnt"]
        if weights and self.task == "two_class" and len(weights) != 2:
            return [f"`class_weights` has {len(weights)} numbers, expected 2: for the other labels, for `positive`"]
        return []

    def _value_misfits(self) -> list[str]:
        """Losses that cannot judge some numbers; label 0 stands for 0 where `values` does not say else."""
        least = min(self.values or [0.0])
        if self.loss == "mean_absolute_percentage_error" and 0.0 in (self.values or [0.0]):
            return [f"`loss: {self.loss}` divides by the target, and a label stands for 0; give `values` without 0"]
        if self.loss == "mean_squared_logarithmic_error" and least < 0:
            return [f"`loss: {self.loss}` takes logarithms, and a label stands for {least:g}; give `values` from 0 on"]
        if self.output == "softplus" and least < 0:
            return [f"`output: softplus` is above 0, and a label stands for {least:g}; choose linear"]
        return []

    def _form_misfits(self) -> list[str]:
        found = [f"`{key}` is of hidden layers, and `units` has none" for key in self._without_effect()]
        if self.skip and self.form != "functional":
            found.append("`skip` needs `form: functional`: a stack of layers has no branches")
        if self.skip and not self.units:
            found.append("`skip` leads past hidden dense layers, and `units` has none")
        return found

    def _without_effect(self) -> list[str]:
        """Keys that would change nothing in a network of this kind."""
        return []


class DenseModel(ModelBase):
    """Flatten, then hidden dense layers."""

    network: Literal["dense"] = Field(description="the kind of network")

    def _without_effect(self) -> list[str]:
        chosen = [key for key in ("l1", "l2", "batch_normalisation") if getattr(self, key)]
        return [] if self.units else chosen


class CnnModel(ModelBase):
    """Convolution and max-pooling in turn, then hidden dense layers."""

    network: Literal["cnn"] = Field(description="the kind of network")
    filters: list[Units] = Field(min_length=1, max_length=8, description="channels of each convolution")
    kernel_size: int = Field(3, ge=1, le=15, description="side of the convolution window, in pixels")
    padding: Literal["valid", "same"] = Field("valid", description="`same`: a convolution keeps the size of the image")
    repeat: int = Field(1, ge=1, le=4, description="convolutions before each pooling")
    pool_size: int = Field(2, ge=1, le=8, description="side of the pooling window, in pixels")
    pool_dropout: PoolDropout = 0.0


class Conv1dModel(ModelBase):
    """The image as a sequence of rows: convolution along it and max-pooling in turn, then hidden dense layers."""

    network: Literal["conv1d"] = Field(description="the kind of network")
    filters: list[Units] = Field(min_length=1, max_length=8, description="channels of each convolution")
    kernel_size: int = Field(3, ge=1, le=15, description="length of the convolution window, in rows")
    padding: Literal["valid", "same"] = Field("valid", description="`same`: a convolution keeps the number of rows")
    pool_size: int = Field(2, ge=1, le=8, description="length of the pooling window, in rows")
    pool_dropout: PoolDropout = 0.0


class RecurrentModel(ModelBase):
    """The image as a sequence of rows, read by recurrent layers from the top, then hidden dense layers."""

    network: Literal["recurrent"] = Field(description="the kind of network")
    cell: Literal["simple_rnn", "lstm", "gru"] = Field("lstm", description="the kind of recurrent layer")
    recurrent_units: list[Units] = Field(min_length=1, max_length=8, description="width of each recurrent layer")


Model = Annotated[DenseModel | CnnModel | Conv1dModel | RecurrentModel, Field(discriminator="network")]
