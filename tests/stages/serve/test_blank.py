"""Images that show nothing, as tensors: `infer` refuses what `predict`, `score` and /predict refuse."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.predict.classifier import BLANK
from stages.predict.mnist_form import MIN_CONTRAST
from tests.support.model_server import served_app
from tests.support.pictures import template, write_reader


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server of the model `reader`."""
    folder = tmp_path_factory.mktemp("blank")
    write_reader(folder / "models/reader/model.onnx")
    with served_app(folder, "reader") as client:
        yield client


def infer(client: httpx.Client, *images: NDArray[np.float64]) -> httpx.Response:
    """Sends one request with all images."""
    pixels = np.stack(images)
    data = {"name": "image", "datatype": "FP32", "shape": list(pixels.shape), "data": pixels.reshape(-1).tolist()}
    return client.post("/v2/models/reader/infer", json={"inputs": [data]})


def with_contrast(contrast: float) -> NDArray[np.float64]:
    """Returns a grey image (28, 28) with one brighter pixel."""
    image = np.full((28, 28), 100.0)
    image[0, 0] += contrast
    return image


@pytest.mark.parametrize("value", [0.0, 255.0, 128.0])
def test_a_blank_image_is_refused(client: httpx.Client, value: float) -> None:
    """The whole request is refused, with the number of the first such image and the words of `predict`."""
    answer = infer(client, template(4), np.full((28, 28), value), np.zeros((28, 28)))
    assert (answer.status_code, answer.json()) == (400, {"error": f"image 1 of the input {BLANK}"})


def test_the_least_contrast(client: httpx.Client) -> None:
    """An image with as much contrast as `predict` asks for is answered, one with a little less is refused."""
    assert infer(client, with_contrast(MIN_CONTRAST)).status_code == 200
    assert infer(client, with_contrast(MIN_CONTRAST - 0.5)).status_code == 400
