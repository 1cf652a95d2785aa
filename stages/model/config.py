"""Sections of params.yaml about models, with one class for each kind of network."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.base.config import Section
from stages.model.augmentation_config import Augmentation, TestTimeAugmentation
from stages.model.compatibility import (
    DEFAULT_LOSSES,
    OUTPUTS,
    SMOOTHABLE_LOSSES,
    LossName,
    OutputName,
    TaskName,
    find_incompatibility,
)
from stages.model.custom_code import OR_CODE, CodeName
from stages.model.field_types import (
    Activation,
    Argument,
    ClassWeight,
    Embedding,
    Labels,
    PoolDropout,
    Seeds,
    TargetValue,
    Units,
)
from stages.model.layer_config import Constraint, Initializer
from stages.model.metrics_config import MetricName, metric_errors
from stages.model.optimizer_config import Optimizer
from stages.model.short_forms import with_full_forms

Loss = Annotated[LossName, OR_CODE]
DECIDED_BY_BUILD = (
    "units", "activation", "form", "skip", "batch_normalisation", "dropout", "l1", "l2", "initializer", "constraint",
)  # fmt: skip


class EarlyStopping(Section):
    """Stops the training when the validation loss no longer decreases."""

    patience: int = Field(ge=1, le=10_000, description="epochs without a lower validation loss before the stop")
    min_delta: float = Field(
        0.0, ge=0, le=1e6, description="a validation loss counts as lower if it decreases by more than this"
    )


class ModelBase(Section):
    """Keys of every kind of network."""

    task: TaskName = Field(
        "multiclass",
        description="`multiclass` predicts the label; `two_class` predicts whether the label is one of `positive`; "
        "`regression` predicts the value of the label",
    )
    positive: Labels | None = Field(None, description="for two_class: the labels of the positive class")
    values: list[TargetValue] | None = Field(
        None, min_length=2, max_length=100, description="for regression: value of each label; null means the label"
    )
    units: list[Units] = Field(max_length=16, description="units of each hidden dense layer")
    activation: Activation = Field(
        "relu", description="activation function of the hidden layers; recurrent layers always use tanh"
    )
    form: Literal["sequential", "functional"] = Field(
        "sequential", description="Keras model type; only `functional` can have branches"
    )
    skip: bool = Field(
        False, description="for functional: concatenate the input of each hidden dense layer with its output"
    )
    batch_normalisation: bool = Field(False, description="between each hidden layer and its activation")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout rate of the hidden dense layers, or of the features if there are none"
    )
    l1: float = Field(0.0, ge=0, le=1, description="L1 penalty on the weights")
    l2: float = Field(0.0, ge=0, le=1, description="L2 penalty on the weights")
    initializer: Initializer | None = Field(
        None, description="initial weights of the hidden layers, by Keras's name; null means Keras's, glorot_uniform"
    )
    constraint: Constraint | None = Field(None, description="limit of the hidden layers' weights; null means none")
    augmentation: Augmentation | None = Field(
        None, description="random changes of the training images; null means none"
    )
    test_time_augmentation: TestTimeAugmentation | None = Field(
        None, description="copies of an image over which the exported model averages; null means none"
    )
    output: OutputName = Field(
        "softmax",
        description="output of the last layer in training; the default is `sigmoid` for two_class and `linear` for "
        "regression",
    )
    optimizer: Optimizer
    loss: Loss = Field(
        "sparse_categorical_crossentropy",
        description="loss function, or own code `custom.module:function`; labels are encoded as it needs them; the "
        "default is `binary_crossentropy` for two_class and `mean_squared_error` for regression",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="label smoothing, for categorical_crossentropy and binary_crossentropy: share of the label that is "
        "spread over all classes",
    )
    metrics: list[Annotated[MetricName, OR_CODE]] | None = Field(
        None,
        max_length=20,
        description="further metrics to watch on training and validation samples, by Keras's names, or own code; "
        "accuracy, or the mean absolute error of a regression, is always watched",
    )
    top_k: int | None = Field(
        None, ge=1, le=100, description="for the metric top_k_categorical_accuracy: its k; null means 5"
    )
    class_weights: list[ClassWeight] | None = Field(
        None, min_length=2, max_length=100, description="weight of each class in the loss; null means 1"
    )
    balance: bool = Field(False, description="set the class weights so that all classes have the same total weight")
    batch_size: int = Field(ge=1, le=65536, description="samples per step")
    epochs: int = Field(ge=1, le=10_000, description="passes over the training samples")
    shuffle: bool = Field(True, description="shuffle the samples in each epoch; false keeps their order")
    callbacks: list[CodeName] | None = Field(
        None, max_length=20, description="own Keras callbacks, `custom.module:name`; null means none"
    )
    early_stopping: EarlyStopping | None = Field(None, description="condition to stop before `epochs`; null means none")
    keep: Literal["last", "best"] = Field(
        "last", description="weights to export: of the last epoch, or of the epoch with the lowest validation loss"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of initial weights, shuffling, dropout and augmentation")
    seeds: Seeds | None = Field(
        None,
        description="instead of `seed`: one training for each of these seeds, from which the report compares recipes; "
        "the model with the median validation loss is exported",
    )
    precision: Literal["auto", "float32", "bfloat16", "mixed"] = Field(
        "auto",
        description="`bfloat16`, alias `mixed`: products in bfloat16, weights in float32; `auto`: `bfloat16` if the "
        "network has convolutions and the processor or GPU computes bfloat16 natively, else `float32`",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="`auto` uses a GPU if there is one; `gpu` fails without one"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="computing threads; the results depend on it; null means all processors"
    )

    @model_validator(mode="before")
    @classmethod
    def _set_task_defaults(cls, content: Any) -> Any:
        """Writes short forms out, and sets the default output and loss of the task."""
        content = with_full_forms(content, cls.model_fields)
        task = content.get("task") if isinstance(content, Mapping) else None
        if not isinstance(task, str) or task not in DEFAULT_LOSSES:
            return content
        return {"output": OUTPUTS[task][0], "loss": DEFAULT_LOSSES[task], **content}

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        incompatibility = find_incompatibility(self.task, self.output, self.loss)
        for message in (incompatibility, *self._seed_errors(), *self._task_errors(), *self._form_errors()):
            if message:
                raise ValueError(message)
        return self

    def of_seed(self, seed: int) -> Self:
        """Returns the model with this single seed."""
        return self.model_copy(update={"seed": seed, "seeds": None})

    def _seed_errors(self) -> list[str]:
        if self.seeds is None or "seed" not in self.model_fields_set:
            return []
        return [f"`seed: {self.seed}` and `seeds` are both set, expected one of them; add the seed to `seeds`"]

    def _task_errors(self) -> list[str]:
        """Messages about keys that the task needs or does not allow."""
        messages = []
        if self.positive is None and self.task == "two_class":
            messages.append("`task: two_class` needs `positive`, the labels of the positive class")
        if self.positive is not None and self.task != "two_class":
            messages.append(f"`positive` needs `task: two_class`, got {self.task}")
        if self.values is not None and self.task != "regression":
            messages.append(f"`values` needs `task: regression`, got {self.task}")
        messages += metric_errors(self.metrics or [], self.task, self.values or [0.0], self.top_k)
        messages += self._smoothing_errors() + self._weight_errors()
        return messages + (self._value_errors() if self.task == "regression" else [])

    def _smoothing_errors(self) -> list[str]:
        loss = SMOOTHABLE_LOSSES.get(self.task)
        if not self.label_smoothing or self.loss == loss:
            return []
        if loss is None:
            return [f"`label_smoothing` is not compatible with `task: {self.task}`: a regression has no classes"]
        return [f"`label_smoothing` is not compatible with `loss: {self.loss}`; choose {loss}"]

    def _weight_errors(self) -> list[str]:
        weights, key = self.class_weights, "class_weights" if self.class_weights else "balance"
        if self.task == "regression" and (weights or self.balance):
            return [f"`{key}` is not compatible with `task: regression`: a regression has no classes"]
        if weights and self.balance:
            return ["`class_weights` and `balance` both set the weights of the classes; choose one"]
        if weights and not any(weights):
            return ["`class_weights` are all 0, expected at least one above 0"]
        if weights and self.task == "two_class" and len(weights) != 2:
            return [f"`class_weights` has {len(weights)} numbers, expected 2: of the negative and the positive class"]
        return []

    def _value_errors(self) -> list[str]:
        """Messages about target values outside the domain of the loss; without `values`, label 0 has the value 0."""
        values = self.values or [0.0]
        if self.loss == "mean_absolute_percentage_error" and 0.0 in values:
            return [f"`loss: {self.loss}` divides by the target, but a label has the value 0; set `values` without 0"]
        if self.loss == "mean_squared_logarithmic_error" and min(values) < 0:
            return [
                f"`loss: {self.loss}` takes logarithms, but a label has the value {min(values):g}; "
                "set `values` of 0 or more"
            ]
        if self.output == "softplus" and min(values) < 0:
            return [f"`output: softplus` is above 0, but a label has the value {min(values):g}; choose linear"]
        return []

    def _form_errors(self) -> list[str]:
        messages = [f"`{key}` applies to hidden layers, but `units` is empty" for key in self._unused_keys()]
        if self.skip and self.form != "functional":
            messages.append("`skip` needs `form: functional`: a sequential model has no branches")
        if self.skip and not self.units:
            messages.append("`skip` applies to hidden dense layers, but `units` is empty")
        return messages

    def _unused_keys(self) -> list[str]:
        """Keys that are set but have no effect on this kind of network."""
        return []


class DenseModel(ModelBase):
    """A fully connected network: flatten (of tokens: the mean of their features), then hidden dense layers."""

    network: Literal["dense"] = Field(description="kind of network")
    embedding: Embedding = None

    def _unused_keys(self) -> list[str]:
        keys = [key for key in ("l1", "l2", "batch_normalisation", "initializer", "constraint") if getattr(self, key)]
        return [] if self.units else keys


class CnnModel(ModelBase):
    """A convolutional network: blocks of convolutions and max-pooling, then hidden dense layers."""

    network: Literal["cnn"] = Field(description="kind of network")
    filters: list[Units] = Field(min_length=1, max_length=8, description="filters of the convolutions in each block")
    kernel_size: int = Field(3, ge=1, le=15, description="side of the convolution kernel, in pixels")
    padding: Literal["valid", "same"] = Field("valid", description="`same` keeps the size of the image")
    repeat: int = Field(1, ge=1, le=4, description="convolutions before each pooling layer")
    pool_size: int = Field(2, ge=1, le=8, description="side of the pooling window, in pixels")
    pool_dropout: PoolDropout = 0.0


class Conv1dModel(ModelBase):
    """A 1D convolutional network over rows of an image or steps: convolutions and max-pooling, then dense layers."""

    network: Literal["conv1d"] = Field(description="kind of network")
    embedding: Embedding = None
    filters: list[Units] = Field(min_length=1, max_length=8, description="filters of each convolution")
    kernel_size: int = Field(3, ge=1, le=15, description="length of the convolution kernel, in rows")
    padding: Literal["valid", "same"] = Field("valid", description="`same` keeps the number of rows")
    pool_size: int = Field(2, ge=1, le=8, description="length of the pooling window, in rows")
    pool_dropout: PoolDropout = 0.0


class RecurrentModel(ModelBase):
    """A recurrent network over the rows of an image, from the top, or over steps, then hidden dense layers."""

    network: Literal["recurrent"] = Field(description="kind of network")
    embedding: Embedding = None
    cell: Literal["simple_rnn", "lstm", "gru"] = Field("lstm", description="kind of recurrent layer")
    recurrent_units: list[Units] = Field(min_length=1, max_length=8, description="units of each recurrent layer")


class CustomModel(ModelBase):
    """A network of your own: the Keras model that a function in the folder `custom` returns."""

    network: Literal["custom"] = Field(description="kind of network")
    build: CodeName = Field(
        description="`custom.module:function`: gets the shape of a sample and the number of outputs, returns a Keras "
        "model"
    )
    arguments: dict[str, Argument] = Field(default_factory=dict, description="further arguments of `build`, by name")
    units: list[Units] = Field([], description="has no effect, like the other keys of layers: `build` decides")

    def _form_errors(self) -> list[str]:
        return [
            f"`{key}` has no effect on `network: custom`: `build` decides; remove it"
            for key in DECIDED_BY_BUILD
            if key in self.model_fields_set
        ]


Model = Annotated[DenseModel | CnnModel | Conv1dModel | RecurrentModel | CustomModel, Field(discriminator="network")]
