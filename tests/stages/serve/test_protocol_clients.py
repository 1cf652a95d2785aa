"""Triton's and KServe's own clients, from an environment of their own, ask a real server."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.model_server import model_server
from tests.support.pictures import template, write_reader
from tests.support.root import ROOT
from tests.support.tool_environment import make_environment

PROGRAM = ROOT / "tests" / "support" / "protocol_clients.py"
DIGITS = list("0123456789")

pytestmark = [pytest.mark.slow, pytest.mark.farm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with both clients."""
    try:
        return make_environment(tmp_path_factory.mktemp("clients"), "tritonclient[http]", "kserve")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `reader`, and images of all digits."""
    folder = tmp_path_factory.mktemp("serve")
    write_reader(folder / "models/reader/model.onnx")
    np.save(folder / "images.npy", np.stack([template(digit) for digit in range(10)]))
    return folder


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize("client", ["triton", "kserve"])
def test_published_clients(python: Path, folder: Path, client: str, token: str) -> None:
    """Health, metadata, JSON and binary tensors of 1, 3 and 10 images, and errors are as the client expects them."""
    with model_server(folder, "reader", environment={"INKFLOW_SERVE_TOKEN": token}) as server:
        command = [str(python), "-I", str(PROGRAM), client, str(server.base_url), "reader", str(folder / "images.npy")]
        done = subprocess.run([*command, *([token] if token else [])], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["live"] and found["ready"] and found["model_ready"]
    assert {len(labels) for labels in found["labels"]} == {1, 3, 10}
    assert all(labels == DIGITS[: len(labels)] for labels in found["labels"])
    assert found["together"] == DIGITS
    assert "there is no model 'other'" in found["errors"][0]
    assert any("shape [1, 5, 28]: expected [n, 28, 28]" in error for error in found["errors"])
    if client == "triton":
        assert not found["other_ready"]
        assert found["metadata"]["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 28, 28]}]
        assert found["server"]["extensions"] == ["binary_tensor_data"]
        assert "there is no version 'v9.9.9'" in found["errors"][1]
        assert "no numbers" in found["errors"][3]
        assert all("is unknown" in error for error in found["errors"][-2:])  # the repository of models is not ours
