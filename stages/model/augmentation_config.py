"""Sections of params.yaml about changed copies of images: in the training, and in the exported model."""

from typing import Self

from pydantic import Field, model_validator

from stages.base.config import Section


class Augmentation(Section):
    """Random changes of the training images, different in each epoch. The exported model has none."""

    rotation: float = Field(0.0, ge=0, le=180, description="largest rotation in degrees, in both directions")
    zoom: float = Field(0.0, ge=0, lt=1, description="largest change of size, as a share, in both directions")
    shift: float = Field(0.0, ge=0, lt=1, description="largest shift, as a share of the height and of the width")
    elastic: float = Field(
        0.0,
        ge=0,
        lt=0.25,
        description="elastic distortion: size of the smooth displacements, as a share of the height and of the width; "
        "above 0.12 images fold over themselves",
    )


class TestTimeAugmentation(Section):
    """Changed copies of an image; the exported model averages its outputs over them. The training has none."""

    rotation: float = Field(0.0, ge=0, le=180, description="adds two copies, rotated by plus and minus so many degrees")
    zoom: float = Field(0.0, ge=0, lt=1, description="adds two copies, enlarged and reduced by this share")
    shift: float = Field(
        0.0, ge=0, lt=1, description="adds four copies, shifted by this share of the height or of the width"
    )

    @model_validator(mode="after")
    def _has_copies(self) -> Self:
        if not (self.rotation or self.zoom or self.shift):
            raise ValueError("has no copies; set rotation, zoom or shift above 0, or choose null")
        return self
