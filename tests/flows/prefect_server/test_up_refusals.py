"""`inkflow up` refuses bad input in one sentence, before anything starts; a temporary server refuses other pages."""

import socket

import psutil
import pytest

from flows.prefect_server.environment import DATABASE, OLD_DATABASE, ORIGINS, PASSWORD
from flows.prefect_server.notifications.receivers import NOTIFY
from flows.prefect_server.server import Server
from flows.prefect_server.temporary_server import APP
from tests.conftest import Toy, wait_until
from tests.support.loopback import free_port
from tests.support.up_process import SERVER_VARIABLES, run_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a busy machine

SECRET = "hunter2"
DEPLOYMENTS = """
deployments:
  - name: nightly
    entrypoint: flows.scheduled.scheduled
    work_pool: {name: local}
"""


@pytest.mark.server
def test_other_pages_are_refused_by_a_temporary_server(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary server allows its own origin alone, as the server of `inkflow up` does."""
    for name in SERVER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(toy.folder / "home"))
    with Server(toy.folder) as server:
        origins = str(server.url).removesuffix("/api")
        wait_until(lambda: [own.environ()[ORIGINS] for own in servers()] == [origins], timeout_s=60)


def servers() -> list[psutil.Process]:
    """Returns the temporary servers of this process; a process that just started has no command line for a moment."""
    return [process for process in psutil.Process().children() if APP in process.cmdline()]


def test_port_that_is_taken(toy: Toy) -> None:
    """A port in use is reported in one sentence, and nothing starts."""
    toy.write({"prefect.yaml": DEPLOYMENTS})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_up(toy.folder, "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port} (Address already in use);")
    assert len(done.stderr.splitlines()) == 1


def test_folder_with_a_template_in_its_name(toy: Toy) -> None:
    """A folder in whose name Prefect would replace a part is refused: runs would work in another folder."""
    toy.write({"prefect.yaml": DEPLOYMENTS})
    folder = toy.folder.rename(toy.folder.with_name("{{ cookiecutter.name }}"))
    done = run_up(folder, "--port", str(free_port()))
    assert done.returncode == 2
    sentence = "Prefect would replace {{ cookiecutter.name }} in the name of the folder; rename the folder"
    assert done.stderr == f"error: {folder}: {sentence}\n"


@pytest.mark.parametrize("is_named", [False, True])
def test_damaged_database(toy: Toy, is_named: bool) -> None:
    """A damaged SQLite database, its own or that of --database, is named in one sentence, and stays as it is."""
    path, content = toy.folder / ".inkflow/up/prefect.db", "no database" * 1000
    toy.write({"prefect.yaml": DEPLOYMENTS, ".inkflow/up/prefect.db": content})
    words = ["--database", f"sqlite+aiosqlite:///{path}"] if is_named else []
    done = run_up(toy.folder, "--port", str(free_port()), *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the database {path} is damaged (file is not a database); put a copy of it")
    assert len(done.stderr.splitlines()) == 1
    assert path.read_text() == content


@pytest.mark.parametrize("name", ["--database", DATABASE, OLD_DATABASE])
def test_database_that_does_not_answer(toy: Toy, name: str) -> None:
    """A database that is down is reported in one sentence with its URL, without the password, whoever names it."""
    toy.write({"prefect.yaml": DEPLOYMENTS})
    url = f"postgresql+asyncpg://me:{SECRET}@127.0.0.1:9/prefect"
    words, variables = ([name, url], {}) if name == "--database" else ([], {name: url})
    done = run_up(toy.folder, "--port", str(free_port()), *words, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the database postgresql+asyncpg://me:***@127.0.0.1:9/prefect does not answer")
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("deployments: [", "prefect.yaml cannot be read: "),
        ("deployments: {}", "prefect.yaml: `deployments` is missing or no list"),
        ("deployments: [{name: a}]", "prefect.yaml: deployment 1 has no entrypoint"),
        ("deployments: [{name: a, entrypoint: 'flows/no.py:a'}]", "deployment a: there is no file flows/no.py"),
    ],
)
def test_broken_deployments(toy: Toy, content: str, sentence: str) -> None:
    """A mistake in prefect.yaml is reported before anything starts."""
    toy.write({"prefect.yaml": content})
    done = run_up(toy.folder)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "more", "sentence"),
    [
        (
            [],
            {DATABASE: f"mysql://x:{SECRET}@y/z"},
            f"{DATABASE}: got mysql://x:***@y/z; expected postgresql+asyncpg://",
        ),
        (["--database", "mysql://x/y"], {}, "--database: got mysql://x/y; expected postgresql+asyncpg://"),
        (["--webhook", "ftp://x"], {}, "the webhook is not a URL: expected http"),
        (["--notify", f"slack://{SECRET}"], {}, "--notify: got slack://***, expected a URL of Apprise"),
        ([], {NOTIFY: f"ntfy://host/topic {SECRET}"}, "--notify: got a text that is no URL, expected a URL of Apprise"),
        (["--port", "70000"], {}, "--port: got 70000, expected 1 to 65535"),
        (["--host", "no such host"], {}, "--host: no such host is not an address of this machine"),
        ([], {PASSWORD: SECRET}, "expected NAME:PASSWORD, got no colon"),
        ([], {PASSWORD: f"me:{SECRET}\xfc"}, f"{PASSWORD}: Prefect's server accepts ASCII characters alone"),
    ],
)
def test_bad_arguments(toy: Toy, arguments: list[str], more: dict[str, str], sentence: str) -> None:
    """Each mistake in the arguments is reported in one sentence, with exit code 2."""
    toy.write({"prefect.yaml": DEPLOYMENTS})
    done = run_up(toy.folder, *(["--port", str(free_port())] if "--port" not in arguments else []), *arguments, **more)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert SECRET not in done.stderr
