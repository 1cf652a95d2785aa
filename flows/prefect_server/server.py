"""The Prefect server that a run reports to: the one that is named, or a temporary one for the length of the run.

The temporary one is ours, not the one that Prefect would start: it boots while stages run already, Ctrl-C at a
terminal does not reach it, and it dies with this process, however that ends.
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
from flows.engine.processes.command_runner import MARK, mark, tied_to_us
from flows.engine.processes.process_trees import end_trees
from flows.prefect_server.environment import ORIGINS
from flows.prefect_server.temporary_server import APP, SETTINGS

ANSWER_S = 10.0  # for a named server to answer
START_S = 120.0  # for a temporary one to start, on a busy machine
POLL_S = 0.1


def named() -> str | None:
    """Address that PREFECT_API_URL names in the environment or in Prefect's active profile; None when neither does."""
    return os.environ.get("PREFECT_API_URL") or _named_by_profile()


class Server:
    """A Prefect server to report to; a temporary one is ended with the block."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self.url = named()
        self.is_temporary = self.url is None

    def __enter__(self) -> Self:
        """See that the named server answers, or begin to start a temporary one.

        Raises:
            ServerUnreachable: the named server does not answer.
        """
        if self.url is not None:
            ensure_answer(self.url)
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
            tied_to_us(command),
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
        self.end()

    def end(self) -> None:
        """End the temporary server."""
        if self._process is not None:
            end_trees([self._process.pid])
            self._process.wait()
            os.environ.pop("PREFECT_API_URL", None)

    @property
    def announcement(self) -> str:
        """Where the run can be watched."""
        return "Prefect server: a temporary one, for this run" if self.is_temporary else f"Prefect server: {self.url}"

    def wait_until_ready(self) -> None:
        """Wait until the temporary server answers.

        Raises:
            ServerUnreachable: it ended, or does not answer in time.
        """
        end = time.monotonic() + START_S
        while self._process is not None:
            try:
                ensure_answer(str(self.url))
                return
            except ServerUnreachable:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise ServerUnreachable(None, OSError("it did not start")) from None
                time.sleep(POLL_S)


def ensure_answer(url: str) -> None:
    """See that the Prefect server at `url` answers.

    Raises:
        ServerUnreachable: it does not.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_S):
            pass
    except urllib.error.HTTPError:
        pass  # it answers; what it may want beside, such as a key, Prefect brings
    except (OSError, ValueError) as error:
        raise ServerUnreachable(url, error) from error


def _named_by_profile() -> str | None:
    """PREFECT_API_URL of the active profile, read without Prefect, whose import takes two seconds."""
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
