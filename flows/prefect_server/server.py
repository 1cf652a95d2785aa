"""The Prefect server of a run: the configured one, or a temporary one for the length of the run.

Inkflow starts the temporary server itself instead of leaving that to Prefect. So the server boots while stages already
run, Ctrl-C at a terminal does not reach it, and it dies with this process even if this process is killed.
"""

import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

from flows.core.code_path import python_path
from flows.core.errors import ServerUnreachable
from flows.engine.processes.command_runner import MARK, die_with_parent, mark
from flows.engine.processes.process_trees import terminate_trees
from flows.prefect_server.credentials import use_password
from flows.prefect_server.environment import ORIGINS
from flows.prefect_server.temporary_server import APP, SETTINGS

HEALTH_TIMEOUT_S = 10.0
START_TIMEOUT_S = 120.0  # of a temporary server, on a busy machine
POLL_S = 0.1


def configured_url() -> str | None:
    """Returns PREFECT_API_URL from the environment or from Prefect's active profile, None if neither sets it."""
    return os.environ.get("PREFECT_API_URL") or _profile_url()


class Server:
    """A context manager for the Prefect server of a run; stops a temporary server when the block ends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self.url = configured_url()
        self.is_temporary = self.url is None

    def __enter__(self) -> Self:
        """Checks that the configured server responds, or begins to start a temporary one.

        Raises:
            ServerUnreachable: The configured server does not respond.
        """
        if self.url is not None:
            use_password(self._root, self.url)
            check_health(self.url)
            return self
        port = _free_port()
        command = [sys.executable, "-m", "uvicorn", "--factory", APP]
        command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "critical", "--lifespan", "on"]
        settings = SETTINGS | {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONPATH": python_path(),
            ORIGINS: f"http://127.0.0.1:{port}",
            MARK: mark(self._root),
        }
        self._process = subprocess.Popen(
            die_with_parent(command),
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.url = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = self.url
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the temporary server; a configured server keeps running."""
        if self._process is not None:
            terminate_trees([self._process.pid])
            self._process.wait()
            os.environ.pop("PREFECT_API_URL", None)

    @property
    def announcement(self) -> str:
        """The line that tells the user which server shows the run."""
        return "Prefect server: a temporary one, for this run" if self.is_temporary else f"Prefect server: {self.url}"

    def wait_until_ready(self) -> None:
        """Waits until the temporary server responds.

        Raises:
            ServerUnreachable: The server exited, or does not respond within START_TIMEOUT_S.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process is not None:
            try:
                check_health(str(self.url))
                return
            except ServerUnreachable:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise ServerUnreachable(None, OSError("it did not start")) from None
                time.sleep(POLL_S)


def check_health(url: str) -> None:
    """Checks that the Prefect server at `url` responds.

    Raises:
        ServerUnreachable: The server does not respond.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S):
            pass
    except urllib.error.HTTPError:
        pass  # the server responds; Prefect's client sends credentials, which this request lacks
    except (OSError, ValueError) as error:
        raise ServerUnreachable(url, error) from error


def _profile_url() -> str | None:
    """Returns PREFECT_API_URL of the active profile; reads the file, as the import of Prefect takes two seconds."""
    path = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect") / "profiles.toml"
    with suppress(OSError, tomllib.TOMLDecodeError, AttributeError, KeyError):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        profile = content["profiles"][os.environ.get("PREFECT_PROFILE") or content["active"]]
        return str(profile["PREFECT_API_URL"])
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
