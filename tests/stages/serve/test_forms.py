"""`inkflow serve` with models of vectors and tokens: pictures and values that they do not take are refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.model_server import served_app
from tests.support.pictures import draw, encoded

WIDTH, WORDS = 4, 100
FORMS: dict[str, dict[str, object]] = {"vector": {"kind": "vector"}, "tokens": {"kind": "tokens", "vocabulary": WORDS}}
GOOD = [1.0, 2.0, 99.0, 0.0]


def write_model(path: Path, metadata: dict[str, object]) -> None:
    """Writes a model softmax(x) of WIDTH numbers."""
    path.parent.mkdir(parents=True)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", "p")]
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["p"], axis=1)], "softmax", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(model, path)


@pytest.fixture(scope="module", params=FORMS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the server of a model of each form, whose name is the form's."""
    folder = tmp_path_factory.mktemp("forms")
    write_model(folder / f"models/{request.param}/model.onnx", FORMS[request.param])
    with served_app(folder, request.param) as client:
        yield client


def name(client: httpx.Client) -> str:
    """The name of the model."""
    return str(client.get("/card").json()["name"])


def test_pictures_are_refused(served: httpx.Client) -> None:
    """A picture gets a sentence that says what the model takes and where to send it, not a call to try again."""
    answer = served.post("/predict", content=encoded(draw(3), "PNG"))
    assert answer.status_code == 400
    form = "token sequences of 4 whole numbers from 0 to 99" if name(served) == "tokens" else "vectors of 4 numbers"
    assert answer.json()["error"] == (
        f"/predict takes pictures, but the model takes {form}; send those to /v2/models/NAME/infer"
    )


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("values", "is_token"),
    [(GOOD, True), *(([value, 0, 0, 0], False) for value in (-1.0, 1.5, 100.0, 1e30))],
)
def test_values(served: httpx.Client, values: list[float], is_token: bool, as_bytes: bool) -> None:
    """Tokens that are negative, fractional or outside of the vocabulary are refused, as by `inkflow predict`."""
    tensor: dict[str, object] = {"name": "image", "datatype": "FP64", "shape": [2, WIDTH]}
    content = np.array([GOOD, values], "<f8")
    if as_bytes:
        tensor["parameters"] = {"binary_data_size": content.nbytes}
    else:
        tensor["data"] = content.reshape(-1).tolist()
    header = json.dumps({"inputs": [tensor]}).encode()
    model = name(served)
    answer = served.post(
        f"/v2/models/{model}/infer",
        content=header + (content.tobytes() if as_bytes else b""),
        headers={"inference-header-content-length": str(len(header))} if as_bytes else {},
    )
    is_taken = is_token or model == "vector"
    assert answer.status_code == (200 if is_taken else 400)
    if not is_taken:
        assert "but the model takes" in answer.json()["error"] and "from 0 to 99" in answer.json()["error"]
