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

START_S = 240.0  # on a busy machine


@contextmanager
def model_server(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, module: str = "stages.serve"
) -> Iterator[httpx.Client]:
    """Serves a model of the project in `folder`; the client's URL is the server's, its log is `serve.log`.

    The port is a free one unless `arguments` name one. `module` is the program that serves.
    """
    process = start_server(folder, module, *arguments, environment=environment)
    try:
        with httpx.Client(base_url=_url(process, folder / "serve.log"), timeout=120, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=120)


@contextmanager
def following_server(folder: Path, *arguments: str) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """Runs `inkflow serve`, which follows a stage, as `model_server` does; yields its process too."""
    process = start_server(folder, "flows", "serve", *arguments)
    try:
        with httpx.Client(base_url=_url(process, folder / "serve.log"), timeout=120, trust_env=False) as client:
            yield client, process
    finally:
        process.terminate()
        process.wait(timeout=120)


def start_server(
    folder: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a module that serves a model, and returns its process."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    port = [] if any(argument.startswith("--port") for argument in arguments) else ["--port=0"]
    command = [sys.executable, "-P", "-m", module, *arguments, *port]
    (folder / "serve.log").unlink(missing_ok=True)  # another server in this folder goes on with its own file
    with (folder / "serve.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://\S+", log.read_text()):
            return found[0].replace("0.0.0.0", "127.0.0.1")
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
