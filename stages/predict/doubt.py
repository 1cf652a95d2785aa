"""When an answer is unsure: the thresholds of a model for the share of images that its project wants answered."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.config import check_section, read_yaml
from stages.inference.onnx_session import predict_probabilities, predict_with_unlikeness, read_doubt
from stages.model.doubt import DEFAULT_KEEP, Predict, Thresholds
from stages.predict.earlier_outputs import project_of

LOW, UNLIKE, NO_THRESHOLDS = "low probability", "unlike the training images", "the model states no thresholds"


def read_thresholds(path: Path, session: Any) -> Thresholds | None:
    """Returns the thresholds of the model of `path` for `predict.keep` of its project; None if it states none.

    Raises:
        ModelError: The metadata of the model is invalid.
        ParamsError: The section `predict` of the project's params.yaml is invalid.
    """
    doubt = read_doubt(session, path)
    return doubt.thresholds(_keep(path)) if doubt else None


def _keep(path: Path) -> float:
    """Returns `predict.keep` of the project of the model file `path`, else that of the current folder."""
    for root in dict.fromkeys((project_of(path), Path().absolute())):
        params = root / "params.yaml"
        content = read_yaml(params) if params.is_file() else None
        if isinstance(content, dict) and "predict" in content:
            keep: float = check_section(content, ["predict"], Predict, params).keep
            return keep
    return DEFAULT_KEEP


def probabilities_and_unlikeness(
    session: Any, path: Path, pixels: NDArray[np.float32], thresholds: Thresholds | None
) -> tuple[NDArray[np.float32], list[float | None]]:
    """Returns the probabilities (n, classes) and the unlikeness of each image; None if the model does not give it."""
    if thresholds is None or thresholds.unlikeness is None:
        return predict_probabilities(session, path, pixels), [None] * len(pixels)
    probabilities, unlikeness = predict_with_unlikeness(session, path, pixels)
    return probabilities, unlikeness.tolist()


def reason_of_doubt(probability: float, unlikeness: float | None, thresholds: Thresholds) -> str:
    """Returns why an answer is unsure, or nothing if it is sure."""
    is_unlike = unlikeness is not None and thresholds.unlikeness is not None and unlikeness > thresholds.unlikeness
    reasons = ([LOW] if probability < thresholds.probability else []) + ([UNLIKE] if is_unlike else [])
    return " and ".join(reasons)
