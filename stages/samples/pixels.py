"""What is done to the pixels of an image before a network reads it: their range, and the crop."""

from typing import Self

from pydantic import Field, model_validator

from stages.base.config import Section


class Pixels(Section):
    """The values that a pixel can have, from black to white."""

    low: float = Field(0.0, ge=-1e6, le=1e6, description="value of black")
    high: float = Field(255.0, ge=-1e6, le=1e6, description="value of white")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"got low {self.low:g} and high {self.high:g}, expected low below high")
        return self

    @property
    def span(self) -> float:
        """From black to white."""
        return self.high - self.low


class Crop(Section):
    """Pixels cut off each side of an image."""

    top: int = Field(0, ge=0, le=4096, description="rows cut off the top")
    bottom: int = Field(0, ge=0, le=4096, description="rows cut off the bottom")
    left: int = Field(0, ge=0, le=4096, description="columns cut off the left")
    right: int = Field(0, ge=0, le=4096, description="columns cut off the right")

    def misfits(self, height: int, width: int) -> list[str]:
        """What of images with this size the crop leaves nothing of, a sentence each."""
        return [
            f"cuts {first} and {last} {what} off images that have {size}; cut at most {size - 1} together"
            for what, size, first, last in (
                ("rows", height, self.top, self.bottom),
                ("columns", width, self.left, self.right),
            )
            if size - first - last < 1
        ]
