"""Settings of `inkflow up`, checked before anything starts: address, database, password, deployments."""

import argparse
import asyncio
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml.error import YAMLError

from flows.core.code_path import python_path
from flows.prefect_server.credentials import AUTH_FILE, HOME, close_folder, read_or_create_password
from flows.prefect_server.database import DATABASE_FILE, check_undamaged, database_url
from flows.prefect_server.environment import (
    DATABASE,
    HEARTBEAT,
    HOSTS,
    NO_ANALYTICS,
    OLD_DATABASE,
    ORIGIN_HOSTS,
    ORIGINS,
    PASSWORD,
    RETRIED,
    RETRIED_CODES,
    RUN_LOGS,
    certificate_variables,
    is_loopback_host,
    loopback_variables,
    machine_addresses,
)
from flows.prefect_server.notifications.receivers import NOTIFY, check_receivers
from stages.base.errors import InkflowError, InvalidInput
from stages.base.yaml_text import parse_yaml

WEBHOOK = "INKFLOW_WEBHOOK"
MORE_HOSTS = "INKFLOW_HOSTS"  # further names of this machine under which the server may be used, with commas between
PLACEHOLDER = re.compile(r"\{\{\s*[\w.\-\[\]$]+\s*\}\}")  # what Prefect replaces in the steps of a deployment
DEPLOYMENTS = Path("prefect.yaml")
DATABASE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Settings:
    """The server's address, database, password and receivers of messages, for the project at `root`."""

    root: Path
    host: str
    port: int
    database: str | None
    password: str
    webhook: str | None
    notify: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The folder of the database, the logs and the other files of the server."""
        return self.root / HOME

    @property
    def ui_url(self) -> str:
        """The URL of Prefect's page on this machine."""
        # A server on :: has IPv6 alone: asyncio sets IPV6_V6ONLY.
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def api_url(self) -> str:
        """The URL of Prefect's API on this machine."""
        return f"{self.ui_url}/api"

    def client_environment(self) -> dict[str, str]:
        """Returns the environment variables for Prefect's clients."""
        environment = {
            "PREFECT_API_URL": self.api_url,
            "PREFECT_HOME": str(self.home),
            **NO_ANALYTICS,
            **HEARTBEAT,
            **RUN_LOGS,
            **loopback_variables(self.host),
            **certificate_variables(),
            "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "2"),
            "PYTHONPATH": python_path(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "DO_NOT_TRACK": "1",
        }
        return environment | ({"PREFECT_API_AUTH_STRING": self.password} if self.password else {})

    def worker_environment(self) -> dict[str, str]:
        """Returns the environment variables for workers and runs: they outlast a short lack of the database."""
        return self.client_environment() | {RETRIED: os.environ.get(RETRIED) or RETRIED_CODES}

    def server_environment(self) -> dict[str, str]:
        """Returns the environment variables for the server."""
        environment = self.client_environment() | {
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_API_URL": "/api",  # relative, so that the page works under every name of the machine
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_UI_URL": self.ui_url,
            ORIGINS: ",".join([self.ui_url, *(f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost"))]),
            HOSTS: ",".join(sorted(_host_names(self.host))),
            ORIGIN_HOSTS: ",".join(sorted(_named_hosts())),
            DATABASE: self.database or database_url(self.home / DATABASE_FILE),
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",  # which pruned runs leave behind
        }
        return environment | ({PASSWORD: self.password} if self.password else {})


def read_settings(arguments: argparse.Namespace, root: Path) -> Settings:
    """Returns the settings from arguments and environment, checked.

    Raises:
        InvalidInput: The folder, an address, a URL, prefect.yaml or the database cannot be used.
        InkflowError: The port is taken, the database does not respond, or the folder belongs to another user.
    """
    root = root.resolve()
    if found := PLACEHOLDER.search(str(root)):
        raise InvalidInput(f"{root}: Prefect would replace {found[0]} in the name of the folder; rename the folder")
    read_deployments(root)
    _check_port(arguments.host, arguments.port)
    webhook = arguments.webhook or os.environ.get(WEBHOOK) or None
    if webhook and not _is_web_url(webhook):
        raise InvalidInput("the webhook is not a URL: expected http://... or https://...")
    notify = check_receivers([*arguments.notify, *os.environ.get(NOTIFY, "").split()])
    given = {"--database": arguments.database} | {name: os.environ.get(name) for name in (DATABASE, OLD_DATABASE)}
    origin, database = next(((name, url) for name, url in given.items() if url), ("", None))
    if database:
        check_database(database, origin)
    else:
        check_undamaged(root / HOME / DATABASE_FILE)
    password = _read_password(root / HOME)
    return Settings(root, arguments.host, arguments.port, database, password, webhook, notify)


def _read_password(home: Path) -> str:
    """Returns NAME:PASSWORD from the environment, else from the file in `home`, which is written if it is missing.

    Raises:
        InvalidInput: It cannot be used.
        InkflowError: The folder belongs to another user.
    """
    password = os.environ.get(PASSWORD) or None
    if password and ":" not in password:
        raise InvalidInput(f"{PASSWORD}: expected NAME:PASSWORD, got no colon")
    source = PASSWORD if password else str(home / AUTH_FILE)
    close_folder(home)
    password = password or read_or_create_password(home / AUTH_FILE)
    if not password.isascii():  # Prefect's server would answer 500 to each request
        raise InvalidInput(f"{source}: Prefect's server accepts ASCII characters alone; choose another one")
    return password


def read_deployments(root: Path) -> list[Mapping[str, Any]]:
    """Returns the deployments of prefect.yaml, checked.

    Raises:
        InvalidInput: The file is missing, is not valid YAML, or has an incomplete deployment.
    """
    try:
        content = parse_yaml((root / DEPLOYMENTS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{root} has no {DEPLOYMENTS}: nothing to deploy; see docs/deploy.md") from error
    except (OSError, ValueError, YAMLError) as error:
        raise InvalidInput(f"{DEPLOYMENTS} cannot be read: {' '.join(str(error).split())}") from error
    entries = content.get("deployments") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise InvalidInput(f"{DEPLOYMENTS}: `deployments` is missing or no list of deployments; see docs/deploy.md")
    for number, entry in enumerate(entries, 1):
        _check_deployment(root, number, entry)
    return entries


def _check_deployment(root: Path, number: int, entry: Mapping[str, Any]) -> None:
    """Checks the texts of one deployment, the file of its entry point, and its work pool.

    Raises:
        InvalidInput: One is missing, or is no text.
    """
    if missing := [key for key in ("name", "entrypoint") if not entry.get(key)]:
        raise InvalidInput(f"{DEPLOYMENTS}: deployment {number} has no {' and no '.join(missing)}")
    pool = entry.get("work_pool")
    if pool is not None and not isinstance(pool, Mapping):
        raise InvalidInput(
            f"{DEPLOYMENTS}: deployment {entry['name']}: work_pool: got {pool!r}, expected a mapping: {{name: local}}"
        )
    texts = {key: entry[key] for key in ("name", "entrypoint")} | {"work_pool.name": (pool or {}).get("name")}
    for key, value in texts.items():
        if not isinstance(value, str | None):
            raise InvalidInput(f"{DEPLOYMENTS}: deployment {number}: {key}: got {value!r}, expected text; quote it")
    file, colon, _ = entry["entrypoint"].rpartition(":")
    if colon and not (root / file).is_file():
        raise InvalidInput(f"{DEPLOYMENTS}: deployment {entry['name']}: there is no file {file}")


def check_database(url: str, source: str = "--database") -> None:
    """Checks that the database at `url` responds; `source` is the option or variable that holds the URL.

    Raises:
        InvalidInput: The URL is not that of a database that Prefect can use, or the database is damaged.
        InkflowError: The database does not respond, or refuses the login; the message hides the password.
    """
    from sqlalchemy.engine import make_url  # late: half a second
    from sqlalchemy.exc import SQLAlchemyError

    expected = "expected postgresql+asyncpg://[USER:PASSWORD@]HOST/NAME or sqlite+aiosqlite:///PATH"
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise InvalidInput(f"{source}: not the URL of a database; {expected}") from error
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
        raise InvalidInput(f"{source}: got {shown}; {expected}")
    if parsed.drivername.startswith("sqlite") and parsed.database:
        check_undamaged(Path(parsed.database))
    try:
        asyncio.run(_connect(url))
    except (OSError, SQLAlchemyError, TimeoutError) as error:
        cause = " ".join(str(error).split("\n")[0].split()) or "no answer"
        cause = cause.replace(str(parsed.password or "\0"), "***")
        raise InkflowError(f"the database {shown} does not answer ({cause}); start it, or leave out {source}") from None


async def _connect(url: str) -> None:
    import asyncpg  # type: ignore[import-untyped]  # late, as SQLAlchemy above
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except asyncpg.PostgresError as error:
        raise OSError(str(error)) from error
    finally:
        await engine.dispose()


def _host_names(host: str) -> set[str]:
    """Returns the names under which requests may address a server that listens on `host`."""
    names = {host, "127.0.0.1", "localhost", "::1"}
    if not is_loopback_host(host):
        names |= {socket.gethostname(), *machine_addresses()}
    return {name.lower() for name in names if name} | _named_hosts()


def _named_hosts() -> set[str]:
    """Returns the names that a person has given to the server."""
    return {name.strip().lower() for name in os.environ.get(MORE_HOSTS, "").split(",")} - {""}


def _is_web_url(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https")
    except ValueError:
        return False


def _check_port(host: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"--port: got {port}, expected 1 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"--host: {host} is not an address of this machine ({reason})") from error
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise InkflowError(
                f"cannot listen on {host}:{port} ({error.strerror}); stop the program that does, or choose another "
                "--port"
            ) from error
