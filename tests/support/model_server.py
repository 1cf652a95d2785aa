"""`inkflow serve` as a process of its own, or in a thread, for tests."""

import argparse
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.root import ROOT

WAIT_S = 240.0  # on a busy machine


@contextmanager
def model_server(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, module: str = "stages.serve"
) -> Iterator[httpx.Client]:
    """Serves a model of the project in `folder`; the client's URL is the server's, its log is `serve.log`.

    The port is a free one unless `arguments` name one. `module` is the program that serves.
    """
    process = start_server(folder, module, *arguments, environment=environment)
    try:
        with httpx.Client(base_url=_url(process, folder / "serve.log"), timeout=WAIT_S, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=WAIT_S)


@contextmanager
def served_app(folder: Path, name: str, *arguments: str) -> Iterator[httpx.Client]:
    """Serves a model as `model_server` does, but in a thread of this process, whose start takes no time.

    For tests of which neither the process nor its signals are a part.
    """
    import uvicorn  # late, as the next: most users of this module start a process

    from stages.serve import command
    from stages.serve.app import create_app
    from stages.serve.served_model import ModelSlot
    from stages.serve.server import Protocol

    parser, source = argparse.ArgumentParser(), folder / "models" / name
    command.add_arguments(parser)
    settings = command.settings(parser.parse_args([name, f"--timeout={WAIT_S:g}", *arguments]), source, name)
    app = create_app(settings, ModelSlot(source))
    config = uvicorn.Config(app, http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server((settings.host, 0)) as listener:
        url = f"http://{settings.host}:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def following_server(folder: Path, *arguments: str) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """Runs `inkflow serve`, which follows a stage, as `model_server` does; yields its process too."""
    process = start_server(folder, "flows", "serve", *arguments)
    try:
        with httpx.Client(base_url=_url(process, folder / "serve.log"), timeout=WAIT_S, trust_env=False) as client:
            yield client, process
    finally:
        process.terminate()
        process.wait(timeout=WAIT_S)


def start_server(
    folder: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a module that serves a model, and returns its process; without --timeout a request may take WAIT_S."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    defaults = {"--port": "0", "--timeout": f"{WAIT_S:g}"}
    given = {argument.partition("=")[0] for argument in arguments}
    missing = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    command = [sys.executable, "-P", "-m", module, *arguments, *missing]
    (folder / "serve.log").unlink(missing_ok=True)  # another server in this folder goes on with its own file
    with (folder / "serve.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://\S+", log.read_text()):
            return found[0].replace("0.0.0.0", "127.0.0.1")
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
