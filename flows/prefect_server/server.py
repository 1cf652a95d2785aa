"""The Prefect server of a run: the configured one, or a temporary one for the length of the run.

Inkflow starts the temporary server itself instead of leaving that to Prefect. So the server boots while stages already
run, Ctrl-C at a terminal does not reach it, and it dies with this process even if this process is killed. It has a home
of its own and none of the caller's settings for Prefect.
"""

import fcntl
import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from flows.core.code_path import CODE
from flows.core.errors import ServerUnreachable
from flows.core.notices import note_once
from flows.core.redaction import mask
from flows.engine.processes.command_runner import MARK, die_with_parent, mark
from flows.engine.processes.process_trees import terminate_trees
from flows.prefect_server.credentials import login_variables
from flows.prefect_server.database import DATABASE_FILE, MAX_CHECKED, damage, database_url, set_aside
from flows.prefect_server.environment import (
    DATABASE,
    NO_ANALYTICS,
    ORIGINS,
    RUN_LOGS,
    certificate_variables,
    is_own,
    loopback_variables,
    variables_set,
)
from flows.prefect_server.server_check import check_health, check_server, configured_url
from flows.prefect_server.temporary_server import APP, SETTINGS

HOME = Path(".inkflow/prefect")  # PREFECT_HOME of temporary servers; to make a new database takes seconds
LOG_FILE = "server.log"
HOME_LOCK = "in_use.lock"
START_TIMEOUT_S = 180.0  # of a temporary server, on a busy machine
POLL_S = 0.1
MAX_RETRIES = 2  # of a request to the temporary server: with Prefect's 5, its death would delay the end by a minute
CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)  # in the log: the last line of a traceback


class Server:
    """A context manager for the Prefect server of a run; stops a temporary server when the block ends.

    Attributes:
        url: The API's address; None without a server.
        is_temporary: False for a configured server.
    """

    def __init__(self, root: Path, home: Path | None = None, *, is_wanted: bool = True) -> None:
        """Starts nothing yet.

        Args:
            root: The folder of the project.
            home: The home of a temporary server; it is then started even if a server is configured.
            is_wanted: False for a run without a server.
        """
        self._root, self._is_wanted = root, is_wanted
        self._home = (home or root / HOME).absolute()
        self._is_home_given = home is not None
        self._home_lock = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._start_error: OSError | None = None
        self._port, self._is_renewed = 0, False
        self._login: dict[str, str] = {}  # with the password of the `inkflow up` in this folder
        self.url = configured_url() if is_wanted and home is None else None
        self.is_temporary = self.url is None

    def __enter__(self) -> Self:
        """Checks that the configured server is a Prefect server, or begins to start a temporary one.

        Raises:
            ServerUnreachable: The configured server cannot be used.
        """
        if self.url is not None:
            self._login = login_variables(self._root, self.url)
            with variables_set(self._login):
                check_server(self.url)
        elif self._is_wanted:
            try:
                self._start()
            except OSError as error:
                self._start_error = error
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the temporary server; a configured server keeps running."""
        if self._process is not None:
            terminate_trees([self._process.pid])
            self._process.wait()
        self._home_lock.close()

    @property
    def announcement(self) -> str:
        """The line that tells the user which server shows the run."""
        if not self._is_wanted:
            return "Prefect server: none"
        return "Prefect server: a temporary one, for this run" if self.is_temporary else f"Prefect server: {self.url}"

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Sets the variables with which this process uses the server: Prefect has to be imported in the block."""
        variables: dict[str, str | None] = {}
        if self.is_temporary:  # no setting of the caller, whose profile may name another server
            variables = dict.fromkeys(name for name in os.environ if name.startswith("PREFECT_"))
            variables |= {"PREFECT_HOME": str(self._home), "PREFECT_CLIENT_MAX_RETRIES": str(MAX_RETRIES)}
        logging.raiseExceptions = False  # of records that a lost server does not take: the display names it once
        variables |= RUN_LOGS | NO_ANALYTICS | {"PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL"}
        # The display writes to the terminal, Prefect to its server.
        variables |= {CONSOLE_LEVEL: os.environ.get(CONSOLE_LEVEL, "CRITICAL"), "PREFECT_API_URL": self.url}
        variables |= self._login
        if self.url and is_own(self.url):
            # For good: clients look for proxies whenever they are made.
            os.environ.update(loopback_variables(urlsplit(self.url).hostname))
        if self.url and self.url.startswith("http:"):
            variables |= certificate_variables()
        with variables_set(variables):
            yield

    def wait_until_ready(self) -> None:
        """Waits until the temporary server responds.

        Raises:
            ServerUnreachable: The server exited, or does not respond within START_TIMEOUT_S.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.is_temporary and not self.responds():
            if self._process is None or time.monotonic() > deadline:
                raise self.failure()
            if self._process.poll() is not None:
                if not self._renews_database(math.inf):
                    raise self.failure()
                self._boot()
            time.sleep(POLL_S)

    def responds(self) -> bool:
        """Returns True if the server responds."""
        try:
            check_health(str(self.url))
        except ServerUnreachable:
            return False
        return True

    def failure(self) -> ServerUnreachable:
        """Returns the error of a server that does not respond, with the reason if it is known."""
        if not self.is_temporary:
            return ServerUnreachable(self.url, "it no longer responds")
        if self._process is None:
            return ServerUnreachable(None, self._start_error or "it was not started")
        code = self._process.poll()
        if code is None:
            return ServerUnreachable(None, f"it does not respond; its log is {self._home / LOG_FILE}")
        log = (self._home / LOG_FILE).read_text(encoding="utf-8", errors="replace")
        lines = [line for line in log.splitlines() if line and not line.startswith("Warning!")]
        reasons = [f"it ended with exit code {code}", *lines[-1:], *ERROR_LINE.findall(log)]
        remedy = "" if self._is_home_given else f"; if each start ends so, rename {self._home / DATABASE_FILE}"
        return ServerUnreachable(None, f"{mask(reasons[-1])}; its log is {self._home / LOG_FILE}{remedy}")

    def _lock_home(self) -> None:
        """Creates the home and locks it; takes another one beside it if another run in the folder uses it."""
        first = self._home
        for number in count(2):
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_home_given:
                return
            file = self._home_lock.enter_context((self._home / HOME_LOCK).open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._home = first.with_name(f"{first.name}-{number}")
            else:
                return

    def _renews_database(self, max_bytes: float) -> bool:
        """Renames a damaged database of up to `max_bytes`, once: it only has the history of runs.

        Returns False if it is not damaged, and for that of `inkflow up`.

        Raises:
            OSError: the folder cannot be written.
        """
        database = self._home / DATABASE_FILE
        if self._is_home_given or self._is_renewed or not (reason := damage(database, max_bytes)):
            return False
        self._is_renewed = True
        kept = set_aside(database)
        note_once(f"{database} was damaged ({reason}), and is now {kept.name}; the temporary server begins a new one")
        return True

    def _start(self) -> None:
        self._lock_home()
        self._renews_database(MAX_CHECKED)
        self._port = _free_port()
        self._boot()

    def _boot(self) -> None:
        port = self._port
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(CODE), "--factory", APP]
        command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        settings = {
            **SETTINGS,
            **NO_ANALYTICS,
            **loopback_variables(),
            **certificate_variables(),
            "PREFECT_HOME": str(self._home),
            DATABASE: database_url(self._home / DATABASE_FILE),
            "PREFECT_UI_ENABLED": "0",
            ORIGINS: f"http://127.0.0.1:{port}",
            MARK: mark(self._root),
        }
        with (self._home / LOG_FILE).open("wb") as log:
            self._process = subprocess.Popen(
                # For Linux the parent is the thread, and a helper thread ends before the run.
                die_with_parent(command) if threading.current_thread() is threading.main_thread() else command,
                cwd=self._home,  # a prefect.toml of the project is not for this server
                env=inherited | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.url = f"http://127.0.0.1:{port}/api"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
