"""What `inkflow up` is told, checked before anything starts: address, database, password, deployments."""

import argparse
import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.core.code_path import python_path
from flows.prefect_server.environment import DATABASE, HEARTBEAT, ORIGINS, PASSWORD
from stages.base.errors import InkflowError, InvalidInput

STATE = Path(".inkflow/up")  # PREFECT_HOME of the server and the workers
WEBHOOK = "INKFLOW_WEBHOOK"
ADDRESS = "address"  # file in which it says where the server listens, as long as it does
DEPLOYMENTS = Path("prefect.yaml")
DATABASE_S = 10.0  # for the database to answer


@dataclass(frozen=True)
class Settings:
    """Where the server listens, what it keeps its records in, and who may come in."""

    root: Path
    host: str
    port: int
    database: str | None
    password: str | None
    webhook: str | None

    @property
    def home(self) -> Path:
        """Folder of all that is kept."""
        return self.root / STATE

    @property
    def page(self) -> str:
        """Address of Prefect's page, as seen from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def api(self) -> str:
        """Address for programs."""
        return f"{self.page}/api"

    def for_clients(self) -> dict[str, str]:
        """Environment in which Prefect's programs find the server and its workers do their work."""
        found = {
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **HEARTBEAT,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PYTHONPATH": python_path(),
            "DO_NOT_TRACK": "1",
        }
        return found | ({"PREFECT_API_AUTH_STRING": self.password} if self.password else {})

    def for_server(self) -> dict[str, str]:
        """Environment of the server."""
        found = self.for_clients() | {
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_API_URL": "/api",  # the page asks where it came from, whatever name that has
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_UI_URL": self.page,
            ORIGINS: ",".join([self.page, *(f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost"))]),
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",  # what pruned runs leave
        }
        found |= {DATABASE: self.database} if self.database else {}
        return found | ({PASSWORD: self.password} if self.password else {})


def settings(arguments: argparse.Namespace, root: Path) -> Settings:
    """What was told, checked, with a password where one is needed.

    Raises:
        InvalidInput: an address, a URL or prefect.yaml cannot be used.
        InkflowError: the port is taken, or the database does not answer.
    """
    root = root.resolve()
    check_deployments(root)
    _check_port(arguments.host, arguments.port)
    webhook = arguments.webhook or os.environ.get(WEBHOOK) or None
    if webhook and urlsplit(webhook).scheme not in ("http", "https"):
        raise InvalidInput("the webhook is no address: expected http://... or https://...")
    database = arguments.database or os.environ.get(DATABASE) or None
    if database:
        check_database(database, "--database" if arguments.database else DATABASE)
    password = os.environ.get(PASSWORD) or None
    if password and ":" not in password:
        raise InvalidInput(f"{PASSWORD}: expected NAME:PASSWORD, got no colon")
    (root / STATE).mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / STATE).chmod(0o700)  # an older version left it open
    if not password and not _is_loopback(arguments.host):
        password = kept_password(root / STATE / "auth")
    return Settings(root, arguments.host, arguments.port, database, password, webhook)


def kept_password(path: Path) -> str:
    """The password in a file that nobody else can read, made where there is none."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"inkflow:{secrets.token_urlsafe(24)}")
    path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()


def check_deployments(root: Path) -> list[Mapping[str, Any]]:
    """The deployments of prefect.yaml.

    Raises:
        InvalidInput: there is no such file, or it is none.
    """
    try:
        content = YAML(typ="safe", pure=True).load((root / DEPLOYMENTS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{root} has no {DEPLOYMENTS}: nothing to deploy; see docs/deploy.md") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InvalidInput(f"{DEPLOYMENTS} cannot be read: {' '.join(str(error).split())}") from error
    found = content.get("deployments") if isinstance(content, Mapping) else None
    if not isinstance(found, list) or not found or not all(isinstance(item, Mapping) for item in found):
        raise InvalidInput(f"{DEPLOYMENTS}: `deployments` is missing or no list of deployments; see docs/deploy.md")
    for number, item in enumerate(found, 1):
        missing = [key for key in ("name", "entrypoint") if not item.get(key)]
        file, colon, _ = str(item.get("entrypoint")).rpartition(":")
        if colon and not (root / file).is_file():
            raise InvalidInput(f"{DEPLOYMENTS}: deployment {item.get('name')}: there is no file {file}")
        if missing:
            raise InvalidInput(f"{DEPLOYMENTS}: deployment {number} has no {' and no '.join(missing)}")
    return found


def check_database(url: str, source: str = "--database") -> None:
    """See that the database answers whose URL `source` gave.

    Raises:
        InvalidInput: the URL is of no database that Prefect can use.
        InkflowError: it does not answer, or does not let us in; the password is not told.
    """
    from sqlalchemy.engine import make_url  # late: half a second
    from sqlalchemy.exc import SQLAlchemyError

    expected = "expected postgresql+asyncpg://USER:PASSWORD@HOST/NAME or sqlite+aiosqlite:///PATH"
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise InvalidInput(f"{source}: no URL of a database; {expected}") from error
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
        raise InvalidInput(f"{source}: got {shown}; {expected}")
    try:
        asyncio.run(_connect(url))
    except (OSError, SQLAlchemyError, TimeoutError) as error:
        cause = " ".join(str(error).split("\n")[0].split()) or "no answer"
        cause = cause.replace(str(parsed.password or "\0"), "***")
        raise InkflowError(f"the database {shown} does not answer ({cause}); start it, or leave out {source}") from None


async def _connect(url: str) -> None:
    import asyncpg  # type: ignore[import-untyped]
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with asyncio.timeout(DATABASE_S), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except asyncpg.PostgresError as error:
        raise OSError(str(error)) from error
    finally:
        await engine.dispose()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_port(host: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise InvalidInput(f"--port: got {port}, expected 1 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidInput(f"--host: {host} is no address of this machine ({error.strerror})") from error
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise InkflowError(
                f"{host}:{port} cannot be listened on ({error.strerror}); end what does, or take another --port"
            ) from error
