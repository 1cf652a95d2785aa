"""`inkflow serve`: pictures, the Open Inference Protocol, metrics, limits, access, and the exchange of the model."""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from flows.cli.main import main as inkflow
from stages.base.errors import InkflowError, InvalidInput
from stages.base.files import write_json
from stages.serve.server import check_token
from stages.serve.settings import Settings
from tests.conftest import wait_until
from tests.support.model_server import model_server, served_app
from tests.support.pictures import draw, encoded, huge_jpeg, png, scan, template, write_reader, zip_bomb

HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "cut": encoded(draw(3), "PNG")[:60],
    "bomb": png(9000, 9000),
    "zip bomb": zip_bomb(),
    "huge JPEG": huge_jpeg(encoded(draw(3), "JPEG"), 60_000),
    "random": bytes(range(256)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `reader`, which reads printed digits."""
    folder = tmp_path_factory.mktemp("serve")
    write_reader(folder / "models/reader/model.onnx")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    """A client of a server of this model."""
    with model_server(folder, "reader", "--max-body=4000000", "--max-pixels=4000000") as client:
        yield client


def tensor(digits: list[int], **more: object) -> dict[str, object]:
    """An inference request for printed digits."""
    pixels = np.stack([template(digit) for digit in digits]).astype(float)
    data = {"name": "image", "datatype": "FP32", "shape": list(pixels.shape), "data": pixels.reshape(-1).tolist()}
    return {"inputs": [data], **more}


def test_pictures(client: httpx.Client) -> None:
    """Pictures of all digits are answered with label, probabilities and the model's digest; `seen` adds a PNG."""
    for digit in range(10):
        answer = client.post("/predict?seen=true", content=encoded(scan(digit, digit), "JPEG")).json()
        assert answer["label"] == str(digit)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["seen"].startswith("data:image/png;base64,")
        assert len(answer["model_sha256"]) == 64 and answer["model_version"] == "workspace"


def test_open_inference_protocol(client: httpx.Client) -> None:
    """Health, metadata and inference have the protocol's form, in JSON and with bytes behind it."""
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/models/reader/ready").status_code == 200
    metadata = client.get("/v2/models/reader").json()
    assert metadata["inputs"][0]["name"] == "image" and metadata["versions"] == ["workspace"]
    answer = client.post("/v2/models/reader/infer", json=tensor([3, 7], id="a")).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a", "reader", "workspace")
    assert outputs["label"]["data"] == ["3", "7"] and outputs["probabilities"]["shape"] == [2, 10]
    pixels = np.stack([template(3), template(7)]).astype("<f4")
    size = {"binary_data_size": pixels.nbytes}
    request = {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": list(pixels.shape), "parameters": size}],
        "outputs": [
            {"name": "probabilities", "parameters": {"binary_data": True}},
            {"name": "label", "parameters": {"binary_data": True}},
        ],
    }
    header = json.dumps(request).encode()
    length = "inference-header-content-length"
    found = client.post(
        "/v2/models/reader/infer", content=header + pixels.tobytes(), headers={length: str(len(header))}
    )
    start = int(found.headers[length])
    described = json.loads(found.content[:start])["outputs"]
    first = described[0]["parameters"]["binary_data_size"]
    probabilities = np.frombuffer(found.content[start : start + first], "<f4").reshape(2, 10)
    assert probabilities.argmax(axis=1).tolist() == [3, 7]
    texts = found.content[start + first :]
    assert texts == b"".join(struct.pack("<i", 1) + text for text in (b"3", b"7"))


def image(shape: object, data: object, datatype: str = "FP32") -> dict[str, object]:
    """An inference request with one input."""
    return {"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/other/infer", tensor([1]), 404),
        ("/v2/models/reader/versions/v9.9.9/infer", tensor([1]), 404),
        ("/v2/models/reader/infer", {"inputs": []}, 400),
        (
            "/v2/models/reader/infer",
            image([1, 5], [1]),
            400,
        ),
        ("/v2/models/reader/infer", image([1, 28, 28], ["a"], "BYTES"), 400),
        ("/v2/models/reader/infer", image([1, 28, 28], ["a"] * 784), 400),
        (
            "/v2/models/reader/infer",
            image([1, 28, 28], [1e39] * 784),
            400,
        ),
        ("/v2/models/reader/infer", image(["x"], []), 400),
        ("/v2/models/reader/infer", image([1.9, 28, 28], [1] * 784), 400),
        ("/v2/models/reader/infer", image([1, 28, 28], ["1"] * 784), 400),
        ("/v2/models/reader/infer", image([1, 28, 28], [True] * 784), 400),
        ("/v2/models/reader/infer", image([1, 28, 28], [300] * 784, "UINT8"), 400),
        ("/v2/models/reader/infer", image([1, 28, 28], [0.5] * 784, "INT32"), 400),
        ("/v2/models/reader/infer", {**tensor([1]), "outputs": [{"name": "nope"}]}, 400),
        ("/v2/models/reader/infer", [1, 2], 400),
        ("/nothing", {}, 404),
    ],
)
def test_wrong_requests(client: httpx.Client, path: str, body: object, status: int) -> None:
    """A request that does not fit gets a sentence, and the server goes on."""
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert client.post("/v2/models/reader/infer", json=tensor([4])).status_code == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures(client: httpx.Client, name: str) -> None:
    """What is no picture, damaged or a bomb is refused with a sentence."""
    answer = client.post("/predict", content=HOSTILE[name])
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]


def test_a_body_that_is_refused_is_not_asked_for(client: httpx.Client) -> None:
    """A client that waits for `100 Continue` gets the refusal of its length at once."""
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port or 80), timeout=240) as sender:
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 4000001\r\nExpect: 100-continue\r\n\r\n"
        )
        sender.sendall(head.encode())
        assert sender.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_limits_of_bodies(client: httpx.Client, folder: Path) -> None:
    """A body that is too large is refused, by its stated length and while it arrives; one that stops, in time."""
    assert client.post("/predict", content=b"x" * 4_000_001).status_code == 413
    assert client.post("/predict", content=iter([b"x" * 3_000_000, b"x" * 3_000_000])).status_code == 413
    with served_app(folder, "reader", "--timeout=0.5") as impatient:
        host, port = impatient.base_url.host, impatient.base_url.port
        with socket.create_connection((host, port or 80), timeout=240) as slow:
            slow.sendall(f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\nabc".encode())
            assert b" 408 " in slow.recv(4096)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_origins_and_hosts(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    """Pages of other origins and requests under other names are refused; probes may use the address of a pod."""
    assert client.post("/predict", content=encoded(draw(1), "PNG"), headers=headers).status_code == status
    is_probe = status == 421
    assert client.get("/v2/health/ready", headers=headers).status_code == (200 if is_probe else status)


def test_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token, only its owner is answered; health and the page are open. Off loopback there must be one."""
    monkeypatch.setenv("INKFLOW_SERVE_TOKEN", "secret")
    with served_app(folder, "reader") as client:
        picture = encoded(draw(5), "PNG")
        assert client.post("/predict", content=picture).status_code == 401
        assert client.post("/predict", content=picture, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post("/predict", content=picture, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/v2/health/ready").status_code == client.get("/").status_code == 200
        assert client.get("/metrics").status_code == client.get("/card").status_code == 401
    with pytest.raises(InvalidInput, match="set a token in INKFLOW_SERVE_TOKEN"):
        check_token(Settings("reader", folder, host="0.0.0.0"))


def test_metrics(client: httpx.Client) -> None:
    """Requests, batches and predictions are counted, in a form that Prometheus reads."""
    client.post("/predict", content=encoded(draw(8), "PNG"))
    text = client.get("/metrics").text
    assert 'inkflow_requests_total{path="/predict",status="200"}' in text
    assert 'inkflow_predictions_total{label="8"' in text
    assert "inkflow_model_info{" in text


def test_many_clients(client: httpx.Client) -> None:
    """Requests that arrive together each get their own answer."""
    wrong: list[object] = []

    def ask(digit: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=240, trust_env=False) as own:
            for _ in range(5):
                answer = own.post("/v2/models/reader/infer", json=tensor([digit] * (digit + 1))).json()
                labels = {output["name"]: output["data"] for output in answer["outputs"]}["label"]
                if labels != [str(digit)] * (digit + 1):
                    wrong.append((digit, labels))

    threads = [threading.Thread(target=ask, args=(digit,)) for digit in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_model_is_exchanged(folder: Path) -> None:
    """The model of another folder takes over without one failed request; a broken one changes nothing."""
    for name in ("one", "two", "broken"):
        write_reader(folder / name / "model.onnx")
        digest = hashlib.sha256((folder / name / "model.onnx").read_bytes()).hexdigest()
        write_json(folder / name / "version.json", {"version": name, "commit": "c" * 40, "sha256": digest})
    (folder / "broken/model.onnx").write_bytes(b"no model")
    source = folder / "source.json"
    write_json(source, {"folder": str(folder / "one")})
    with model_server(folder, str(source), "--name=reader") as client:
        statuses: set[int] = set()
        done = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, timeout=240, trust_env=False) as own:
                while not done.is_set():
                    statuses.add(own.post("/v2/models/reader/infer", json=tensor([1])).status_code)

        def version() -> str:
            return str(client.get("/card").json()["model_version"])

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            assert version() == "one"
            write_json(source, {"folder": str(folder / "two")})
            wait_until(lambda: version() == "two", timeout_s=60)
            write_json(source, {"folder": str(folder / "broken")})
            wait_until(lambda: "is not used, two stays" in (folder / "serve.log").read_text(), timeout_s=60)
            assert version() == "two"
        finally:
            done.set()
            thread.join()
        assert statuses == {200}


@pytest.mark.farm
def test_the_name_of_the_folder_is_the_model_s(folder: Path) -> None:
    """In the model's own folder, `.` and `model.onnx` have the name of the folder, and `..` that of the one above."""
    inner = folder / "models/reader/inner"
    inner.mkdir(exist_ok=True)
    for place, model in ((inner.parent, "."), (inner.parent, "model.onnx"), (inner, "..")):
        with model_server(place, model) as client:
            assert client.get("/card").json()["name"] == "reader"
            assert client.get("/v2/models/reader").status_code == 200


def test_help_is_quick_and_models_are_addresses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inkflow serve MODEL@STAGE` outside of a project says that it is none."""
    monkeypatch.chdir(folder)
    with pytest.raises(InkflowError, match="is in no DVC project"):
        inkflow(["serve", "reader@prod"])
