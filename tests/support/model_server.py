"""`inkflow serve` as a process of its own, for tests."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.root import ROOT

START_S = 60.0


@contextmanager
def model_server(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """Serves a model of the project in `folder`; the client's URL is the server's, its log is `serve.log`."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    command = [sys.executable, "-P", "-m", "stages.serve", "--port=0", *arguments]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=_url(process, folder / "serve.log"), timeout=30, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://\S+", log.read_text()):
            return found[0].replace("0.0.0.0", "127.0.0.1")
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
