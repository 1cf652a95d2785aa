"""Sections of params.yaml about pixels: their range, and the crop."""

from typing import Self

from pydantic import Field, model_validator

from stages.base.config import Section


class Pixels(Section):
    """Range of the pixel values."""

    low: float = Field(0.0, ge=-1e6, le=1e6, description="value of black")
    high: float = Field(255.0, ge=-1e6, le=1e6, description="value of white")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"got low {self.low:g} and high {self.high:g}, expected low below high")
        return self

    @property
    def span(self) -> float:
        """Difference between white and black."""
        return self.high - self.low


class Crop(Section):
    """Pixels that the crop removes from each side of an image."""

    top: int = Field(0, ge=0, le=4096, description="rows removed at the top")
    bottom: int = Field(0, ge=0, le=4096, description="rows removed at the bottom")
    left: int = Field(0, ge=0, le=4096, description="columns removed at the left")
    right: int = Field(0, ge=0, le=4096, description="columns removed at the right")

    def cropped_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image after the crop."""
        return height - self.top - self.bottom, width - self.left - self.right

    def size_errors(self, height: int, width: int) -> list[str]:
        """Messages about a crop that leaves no rows or no columns of an image of this size."""
        rows, columns = self.cropped_size(height, width)
        return [
            f"removes {first} and {last} {axis} from images that have {size}; remove at most {size - 1} in total"
            for axis, size, first, last, rest in (
                ("rows", height, self.top, self.bottom, rows),
                ("columns", width, self.left, self.right, columns),
            )
            if rest < 1
        ]
