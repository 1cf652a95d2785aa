"""Records that Inkflow reads back: how its own commands or functions make them, and the commands that read them."""

import io
import json
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from flows.cli.main import main
from flows.core.notices import note_once
from flows.prefect_server.credentials import HOME
from flows.prefect_server.deployments import DEPLOYED, finish_deployments, write_deployments
from flows.prefect_server.notifications.notifier import Notifier
from flows.prefect_server.notifications.receivers import Webhook
from flows.prefect_server.up import NOTIFIED
from flows.registry.promotion import roll_back
from flows.status import server
from stages.base.errors import InkflowError, SourceUnavailable
from stages.download.sources import DOWNLOADS, Source, local_file
from tests.conftest import Toy
from tests.flows.cli.test_data import NAMES, PARAMS, X, Y
from tests.flows.registry.conftest import commit, make_models
from tests.flows.test_search import RUNS, SearchProject
from tests.support.http_server import Server, serve, status, truncate
from tests.support.own_forms import write_pictures
from tests.support.root import ROOT
from tests.support.tiny_data import save, write_params
from tests.torture.support.forked import Forked, Outcome

NO_SERVER = "http://127.0.0.1:9/api"
TIME = "2026-11-28T00:00:00+00:00"
RUN = {"id": "i", "of": "inkflow/nightly", "state": "Failed", "message": "no model", "pool": None, "due": None}
NIGHTLY = {"name": "inkflow/nightly", "paused": False, "scheduled": True, "created": TIME, "last_good": None}
OWN_PIPELINE = "stages: {use: {cmd: cp data/own/pets.npz used, deps: [data/own/pets.npz], outs: [used]}}\n"
SPACE = ("--space", "space.yaml:x=1..9:int", "--trials", "3")
ENTRY = "deployments: [{{name: nightly, entrypoint: 'one.py:one', schedules: [{{cron: '0 {hour} * * *'}}]}}]\n"

Read = Callable[[Path, Forked], Outcome]


class Record(NamedTuple):
    """One kind of file.

    Attributes:
        pattern: below the project.
        make: makes a project that has the file, in an empty folder, which is the current one.
        readers: commands that read it, by name.
        made: what a command has made, which damage must not change.
        called: what messages call such a file, instead of its name.
    """

    pattern: str
    make: Callable[[Path, Forked], object]
    readers: dict[str, Read]
    made: Callable[[Path], object] = lambda folder: None
    called: tuple[str, ...] = ()


def called(*words: str, **environment: str) -> Read:
    """Returns the reader that is a command of Inkflow."""
    return lambda folder, inkflow: inkflow(*words, folder=folder, **environment)


def captured(function: Callable[[Path], object]) -> Read:
    """Returns the reader that calls a function in this process and prints what it returns, as JSON."""

    def read(folder: Path, _: Forked) -> Outcome:
        note_once.cache_clear()
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = 0
            try:
                print(json.dumps(function(folder), default=str))
            except InkflowError as error:
                code = error.exit_code
                print(f"error: {error}", file=err)
            except Exception:  # noqa: BLE001 - as Python itself ends, with a traceback
                code = 1
                print(traceback.format_exc(), file=err)
        return Outcome(code, out.getvalue(), err.getvalue())

    return read


def killed_rollback(folder: Path, inkflow: Forked) -> None:
    """Rolls a model back by one version, as a call that is killed before it has printed the result."""
    make_models(folder)
    for content in ("two", "three", "four"):
        commit(content)
        assert main(["promote", "net", "prod"]) == 0
    roll_back(Path(), None, "prod", push=False)


def tags(folder: Path) -> str:
    """Returns the tags of a project."""
    return subprocess.run(["git", "tag"], cwd=folder, check=True, capture_output=True, text=True).stdout


def changed_sources(folder: Path, inkflow: Forked) -> None:
    """Adds own data, checks them, and changes a picture that they were made from."""
    Toy(folder).write({"params.yaml": PARAMS, "dvc.yaml": OWN_PIPELINE})
    shutil.copyfile(ROOT / "params.schema.json", "params.schema.json")
    write_pictures(folder / "pets", X, Y, NAMES)
    for words in (("data", "add", "pets", "pets", "--use"), ("plan",)):
        outcome = inkflow(*words, folder=folder)
        assert outcome.code == 0, outcome
    write_pictures(folder / "pets", X[:4] // 2, Y[:4], NAMES)


def used(folder: Path) -> bytes:
    """Returns the output of the pipeline with own data, empty if it has not run."""
    path = folder / "used"
    return path.read_bytes() if path.exists() else b""


def searched(folder: Path, inkflow: Forked) -> None:
    """Makes the trials of a search."""
    (folder.parent / "runs").mkdir()
    os.environ[RUNS] = str(folder.parent / "runs")
    project = SearchProject(folder, folder.parent / "runs")
    project.search(*SPACE)


def search(folder: Path) -> list[Any]:
    """Goes on with the search, and returns its trials."""
    found = SearchProject.__new__(SearchProject).search(*SPACE)  # of the project that is there
    return [[trial.number, trial.params, trial.value, trial.state.name] for trial in found.study.trials()]


def known_server(folder: Path, inkflow: Forked) -> None:
    """Keeps the answers of a server."""
    Toy(folder).write({"dvc.yaml": "stages: {}\n"})
    run = RUN | {"started": TIME, "ended": TIME}
    answers = {"deployments": [NIGHTLY | {"last_bad": run}], "active": [], "scheduled": [], "pools": []}
    with (
        patch.object(server, "_client", lambda *_: nullcontext()),
        patch.object(server, "_ask", lambda *_: answers),
        patch.dict(os.environ, PREFECT_API_URL=NO_SERVER),
    ):
        server.read_server(folder)


def notified(folder: Path, inkflow: Forked) -> None:
    """Keeps a message that a receiver has not accepted, and a failure that was posted."""
    (folder / HOME).mkdir(parents=True)
    notifier = Notifier(NO_SERVER, None, folder / HOME / NOTIFIED)
    notifier.set_receivers([Webhook("http://127.0.0.1:9/hook")])
    notifier._post_failure(TIME, ("k1", "nightly", "1", "wise-owl", "Failed", "no space left"))
    notifier._save()


def posts(folder: Path) -> dict[str, Any]:
    """Returns what the next `inkflow up` knows of them."""
    return Notifier(NO_SERVER, None, folder / HOME / NOTIFIED)._record


def deployments(folder: Path) -> str:
    """Returns what `inkflow up` deploys where the server has the deployment of prefect.yaml."""
    found = {"entrypoint": "one.py:one", "name": "nightly", "paused": False, "id": 1}
    found |= {"parameter_openapi_schema": None, "enforce_parameter_schema": False}
    client: Any = SimpleNamespace(
        request=lambda *_, **__: SimpleNamespace(json=lambda: [found]), read_resource_related_automations=lambda _: []
    )
    if not (folder / HOME / DEPLOYED).exists():
        finish_deployments(client, folder, folder / HOME)
    return write_deployments(client, folder, folder / HOME).read_text()


def deployed(folder: Path, inkflow: Forked) -> None:
    """Deploys prefect.yaml, which then gets another schedule."""
    (folder / HOME).mkdir(parents=True)
    (folder / "prefect.yaml").write_text(ENTRY.format(hour=1))
    deployments(folder)
    (folder / "prefect.yaml").write_text(ENTRY.format(hour=3))


@contextmanager
def begun_downloads() -> Iterator[Record]:
    """Yields the record of a download that was cut off, whose server runs until the end of the block."""
    with Server().running() as source:
        url = f"{source.url}/tiny.npz"

        def make(folder: Path, inkflow: Forked) -> None:
            content = save(folder.parent / "valid.npz").read_bytes()
            write_params(folder, url)
            source.respond_with(truncate(content, len(content) // 2), status(404))
            try:
                with local_file(Source(url, url), "tiny", 10**9, 60, folder / DOWNLOADS):
                    raise AssertionError("it is whole")
            except SourceUnavailable:
                source.respond_with(serve(content))

        def download(folder: Path, inkflow: Forked) -> Outcome:
            outcome = inkflow("--out", "data/raw", folder=folder, module="download.download")
            assert outcome.code == 0, f"the source is right: {outcome}"
            return outcome

        yield Record(f"{DOWNLOADS}/*", make, {"download": download}, raw_data, (url,))


def raw_data(folder: Path) -> list[bytes]:
    """Returns the outputs of the stage `download`."""
    return [path.read_bytes() for path in sorted((folder / "data/raw").glob("*"))]


RECORDS = {
    "notes of rollbacks": Record(
        ".inkflow/rollbacks/*.json", killed_rollback, {"rollback": called("rollback", "prod")}, tags
    ),
    "own data": Record(
        ".inkflow/own_data.json", changed_sources,
        {"plan": called("plan"), "run": called("run", "--no-server")}, used,
    ),
    "journals of searches": Record(".inkflow/search/*/journal", searched, {"search": captured(search)}),
    "answers of a server": Record(
        ".inkflow/status.json", known_server, {"status": called("status", PREFECT_API_URL=NO_SERVER)}
    ),
    "posts": Record(f"{HOME}/{NOTIFIED}", notified, {"up": captured(posts)}),
    "deployed schedules": Record(f"{HOME}/{DEPLOYED}", deployed, {"up": captured(deployments)}),
}  # fmt: skip
PATTERNS = [*(record.pattern for record in RECORDS.values()), f"{DOWNLOADS}/*"]
