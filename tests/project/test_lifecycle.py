"""The whole way of docs/lifecycle.md, from training and promotion to serving, a better model, rollback and trace."""

import json
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, expect

from flows.cli.main import main as inkflow
from flows.core.alarms import standing_alarms
from flows.registry.address import model_folder
from stages.base.errors import InkflowError
from stages.predict import score
from tests.conftest import Project, run_engine, wait_until
from tests.flows.engine.helpers import succeeded
from tests.project.test_mnist import MIRROR
from tests.stages.serve.test_serve_browser import SEVEN, draw_with_mouse
from tests.support.chromium import NEEDS_CHROMIUM, open_page
from tests.support.model_server import following_server
from tests.support.pictures import draw, encoded, template
from tests.support.registered_reader import git
from tests.support.steady_load import REQUESTS, SteadyLoad

pytestmark = [
    pytest.mark.slow,
    pytest.mark.farm,
    pytest.mark.timeout(1800),
    *NEEDS_CHROMIUM,
    pytest.mark.mnist,
    pytest.mark.skipif(not (MIRROR / "mnist.npz").is_file(), reason="needs mnist.npz in the folder INKFLOW_MIRROR"),
]

MNIST = {"dataset": "mnist", "prepare.samples": [0, 4000]}  # digits are drawn as those of MNIST
ADAM = {"name": "adam"}
MODEL: dict[str, object] = {"network": "cnn", "filters": [8, 16], "units": [32], "output": "logits", "optimizer": ADAM}
MODEL |= {"batch_size": 32}


def train(project: Project, epochs: int, words: str) -> str:
    """Trains with so many epochs, commits, and returns the commit."""
    project.set({"models": {"cnn": {**MODEL, "epochs": epochs}}})
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", words)
    return git("rev-parse", "HEAD")


def version(client: httpx.Client) -> str:
    """The version that the server has now."""
    return str(client.get("/card").json()["model_version"])


def read_a_seven(browser: Browser, client: httpx.Client) -> str:
    """Draws a 7 on the page, and returns what the page says."""
    page = open_page(browser)
    page.goto(str(client.base_url))
    draw_with_mouse(page, SEVEN)
    expect(page.locator("#answer.result")).to_be_visible()
    found = f"{page.locator('#answer').inner_text()} {page.locator('#note').inner_text()}"
    page.close()
    return found


def score_a_folder(folder: Path) -> list[dict[str, object]]:
    """Scores pictures of all digits with the model in `prod`, and returns the rows."""
    inbox, out = folder / "inbox", folder / "scores.parquet"
    inbox.mkdir(exist_ok=True)
    for digit in range(10):
        (inbox / f"{digit}.png").write_bytes(encoded(draw(digit), "PNG"))
    command = ["--model", model_folder("cnn@prod"), "--folder", str(inbox), "--out", str(out)]
    assert score.main(command) == 0  # what the flow `score` runs
    rows: list[dict[str, object]] = pq.read_table(out).to_pylist()
    return rows


def break_the_data(client: httpx.Client) -> None:
    """Has the server classify digits with inverted brightness, as pixels."""
    pixels = 255 - np.stack([template(number % 10) for number in range(100)])
    data = {"name": "image", "datatype": "FP32", "shape": list(pixels.shape), "data": pixels.reshape(-1).tolist()}
    assert client.post("/v2/models/cnn/infer", json={"inputs": [data]}).status_code == 200


def see_the_alarm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Waits for the alarm, which `monitor` and `status` show, and decides about it."""
    wait_until(lambda: bool(standing_alarms(folder)), timeout_s=120)
    capsys.readouterr()
    assert inkflow(["monitor", "cnn@prod"]) == 3
    assert "ink" in capsys.readouterr().out
    assert inkflow(["status", "--json"]) == 3
    assert any("cnn" in need["what"] for need in json.loads(capsys.readouterr().out)["needs"])
    assert inkflow(["monitor", "cnn@prod", "--reset", "the scanner was set to negatives"]) == 0
    assert standing_alarms(folder) == []


def test_from_training_to_rollback(
    project: Project,
    browser: Browser,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One model goes the whole way, while a server follows its stage and answers 2,000 requests without a failure."""
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    monkeypatch.setenv("INKFLOW_MIRROR", str(MIRROR))
    project.set(MNIST | {"gates": {"every": {"lower_bound": 0.9}, "models": {}}})
    first = train(project, 6, "first")
    assert inkflow(["check"]) == 0
    assert inkflow(["promote", "cnn", "prod"]) == 0
    with following_server(project.folder, "cnn@prod") as (client, _):
        assert version(client) == "v0.0.1"
        assert "7" in read_a_seven(browser, client)

        rows = score_a_folder(tmp_path)
        assert {row["model_version"] for row in rows} == {"v0.0.1"} and len(rows) == 10
        assert {row["model_commit"] for row in rows} == {first}

        break_the_data(client)
        see_the_alarm(project.folder, capsys)

        train(project, 1, "worse")
        with pytest.raises(InkflowError, match=r"cnn is not promoted to prod: .*worse than v0\.0\.1"):
            inkflow(["promote", "cnn", "prod"])
        assert version(client) == "v0.0.1"

        train(project, 12, "better")
        with SteadyLoad(client, "cnn", {"v0.0.1": "", "v0.0.2": ""}) as load:
            wait_until(lambda: load.versions["v0.0.1"] > 100 or bool(load.wrong), timeout_s=300)
            assert inkflow(["promote", "cnn", "prod"]) == 0
            wait_until(lambda: load.versions["v0.0.2"] > 100 or bool(load.wrong), timeout_s=300)
        assert load.wrong == [] and load.versions.total() >= REQUESTS
        assert version(client) == "v0.0.2"
        assert inkflow(["rollback", "prod"]) == 0
        wait_until(lambda: version(client) == "v0.0.1", timeout_s=120)

    capsys.readouterr()
    assert inkflow(["trace", str(rows[0]["model_sha256"]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"] == [{"model": "cnn", "version": "v0.0.1", "stages": ["prod"]}]
    assert found["parameters"]["params.yaml"]["models.cnn"]["epochs"] == 6
