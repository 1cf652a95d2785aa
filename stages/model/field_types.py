"""Types of the keys of models in params.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Activation = Literal["relu", "sigmoid", "tanh", "softmax", "none"]
Units = Annotated[int, Field(ge=1, le=8192)]
Label = Annotated[int, Field(ge=0, le=99)]
Argument = bool | int | float | str | list[int] | list[float] | list[str] | None
PoolDropout = Annotated[float, Field(ge=0, lt=1, description="dropout rate after each pooling layer")]
Embedding = Annotated[
    Units | None,
    Field(description="for tokens: features that the network learns for each of them; null for other samples"),
]
TargetValue = Annotated[float, Field(ge=-1e12, le=1e12)]  # float32 holds the sum of 10 billion squares of them
ClassWeight = Annotated[float, Field(ge=0, le=1e6)]


def _check_distinct(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"got {numbers}, expected each number once")
    return numbers


Labels = Annotated[list[Label], Field(min_length=1, max_length=99), AfterValidator(_check_distinct)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=100), AfterValidator(_check_distinct)]
