"""A real PostgreSQL server on loopback with a password, for the length of a block."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import wait_until

NOBODY = 65534  # PostgreSQL refuses to run as root
USER, PASSWORD = "prefect", "opensesame"


def find_program(name: str) -> str | None:
    """Returns the path of a program of PostgreSQL, or None if it is not installed."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders]))


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the address of an empty database, with user and password."""
    # Not in a folder of pytest, which only its owner can read.
    with tempfile.TemporaryDirectory() as name, _running_in(Path(name)) as url:
        yield url


@contextmanager
def _running_in(folder: Path) -> Iterator[str]:
    initdb, postgres = find_program("initdb"), find_program("postgres")
    assert initdb and postgres
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.getuid() == 0:
        for path in (folder, secret):
            os.chown(path, NOBODY, NOBODY)
        options |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    cluster = ["--pgdata", str(folder / "data"), "--auth", "scram-sha-256", "--username", USER, "--pwfile", str(secret)]
    subprocess.run([initdb, *cluster, "--no-sync"], check=True, **options)
    listen = ["-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    with subprocess.Popen([postgres, *listen], **options) as server:
        try:
            wait_until(lambda: _answers(port), timeout_s=60)
            yield f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
