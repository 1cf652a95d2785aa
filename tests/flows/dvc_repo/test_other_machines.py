"""Outputs and dependencies on other machines: the local files of the same paths are not theirs."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from moto.server import ThreadedMotoServer

from flows.core.errors import StageFailed
from flows.dvc_repo.repository import Repository
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import outcomes, succeeded

PUT = "import sys, httpx; httpx.put(sys.argv[1], content=sys.argv[2]).raise_for_status()"
STAGE = """
stages:
  s:
    cmd: python put.py {url}/bucket/out new; cp in b; {end}
    deps: [in, "remote://r/in"]
    outs: [b, "remote://r/out": {{cache: false}}]
"""


@pytest.fixture
def bucket(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket on an S3 server, which is the remote `r` of the project; its files are in no project."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        httpx.put(f"{url}/bucket", timeout=240).raise_for_status()
        toy.write({".dvc/config": f"['remote \"r\"']\n    url = s3://bucket\n    endpointurl = {url}\n"})
        yield url
    finally:
        server.stop()


def test_local_files_of_the_same_path(toy: Toy, bucket: str) -> None:
    """They stay where they are, whether the stage fails or succeeds, and are no files of the stage."""
    httpx.put(f"{bucket}/bucket/in", content="one", timeout=240).raise_for_status()
    toy.write({"put.py": PUT, "in": "one\n", "bucket/out": "of a person"})
    toy.write({"dvc.yaml": STAGE.format(url=bucket, end="exit 1")})
    with Repository() as repository:
        command = repository.begin("s")
        assert command is not None
        assert {*command.declared} == {"in", "b"} and {*command.graph_outputs} == {"b"}
        assert toy.read("bucket/out") == "of a person"
        repository.abandon("s")
    assert isinstance(run_engine().error, StageFailed)
    assert toy.read("bucket/out") == "of a person"
    toy.write({"dvc.yaml": STAGE.format(url=bucket, end="true")})
    assert outcomes(succeeded(run_engine())) == {"s": Outcome.RAN}
    assert toy.read("bucket/out") == "of a person"
