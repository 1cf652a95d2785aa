"""The options of the program behind `inkflow data add`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from stages.own_data.arguments import MAX_BYTES


class Options(BaseModel):
    """How the data are read and what is written; `inkflow data add` passes them to this program as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    paths: list[str] = Field(min_length=1)
    test: list[str] = []
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    x_train: str | None = None
    y_train: str | None = None
    x_test: str | None = None
    y_test: str | None = None
    label: str | None = None
    image: str | None = None
    shape: list[Annotated[int, Field(ge=1)]] | None = None
    size: list[Annotated[int, Field(ge=1)]] | None = None
    transpose: bool = False
    grey: bool = False
    pixels: tuple[FiniteFloat, FiniteFloat] | None = None
    class_names: list[str] | None = None
    max_bytes: Annotated[int, Field(ge=1_000)] = MAX_BYTES
    sheet: Path | None = None
    in_place: bool = Field(False, description="whether an npz file that needs no conversion is used where it is")
    out: Path | None = Field(None, description="npz file to write; None only looks")
    result: Path | None = Field(None, description="JSON file for the entry of params.yaml")
    colour: Literal["auto", "always", "never"] = "auto"

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        for name, values, counts in (("shape", self.shape, (2, 3)), ("size", self.size, (1, 2))):
            if values is not None and len(values) not in counts:
                raise ValueError(f"--{name} has {len(values)} numbers, expected {counts[0]} or {counts[1]}")
        if self.pixels is not None and not self.pixels[0] < self.pixels[1]:
            raise ValueError(f"--pixels is {self.pixels[0]:g} and {self.pixels[1]:g}, expected black below white")
        return self
