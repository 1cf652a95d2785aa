"""What `inkflow up` outlasts: a lost server, a terminal that is gone, and mistakes that it finds before it starts."""

import argparse
import io
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.prefect_server import up as up_command
from flows.prefect_server.api_client import ServerLost, prefect_client
from flows.prefect_server.crashes import DIED, STOPPED, end_message
from flows.prefect_server.up_settings import Settings, read_deployments
from stages.base.errors import InvalidInput
from tests.support.loopback import free_port


class Gone(io.StringIO):
    """A terminal that is gone; it keeps what `inkflow up` had noted of its end when it printed each line."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home, self.ends = home, dict[str, str]()

    def write(self, text: str) -> int:
        """Fails, as a terminal without its window."""
        self.ends[text.partition(" ")[0]] = end_message(self._home)
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("step", "end"),
    [("_wait_for_server", DIED), ("_start_workers", DIED), ("_deploy", DIED), ("_mark_dead_runs", STOPPED)],
)
def test_a_stop_counts_for_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, end: str) -> None:
    """The end of the terminal stops `inkflow up` in order: the stop is noted before a line may hold it up.

    During a start it is none of the runs that an earlier one left by its death, and that are not yet marked.
    """
    settings = Settings(tmp_path, "127.0.0.1", free_port(), None, "", None)
    settings.home.mkdir(parents=True)
    stop, output = threading.Event(), Gone(settings.home)

    def take(name: str) -> tuple[list[str], list[str]]:
        if name == step:
            stop.set()
        return [], []

    for name in ("_wait_for_server", "_start_workers", "_deploy", "_mark_dead_runs"):
        monkeypatch.setattr(up_command, name, lambda *_, name=name: take(name))
    monkeypatch.setattr(up_command, "_instructions", lambda *_: "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(up_command, "_stop_event", lambda: stop)
    monkeypatch.setattr(up_command, "read_settings", lambda *_: settings)
    supervisor = SimpleNamespace(add=lambda *_: None)
    monkeypatch.setattr(up_command, "Supervisor", lambda *_: nullcontext(supervisor))
    monkeypatch.setattr("sys.stdout", output)
    assert up_command.up(argparse.Namespace(host="127.0.0.1", open=False)) == 0
    assert output.ends["Stopping"] == end


def test_a_lost_server_is_one_sentence() -> None:
    """A server that no longer responds is named with its log."""
    lost = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    sentence = r"^Prefect's server no longer responds \(.+\); its log is \.inkflow/up/server\.log$"
    with temporary_settings(lost), pytest.raises(ServerLost, match=sentence), prefect_client() as client:
        client.read_work_pool("local")


def test_a_step_is_repeated_once_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the start that the server's death has ended is taken again, once."""
    waits: list[object] = []
    monkeypatch.setattr(up_command, "_wait_for_server", lambda *_: waits.append(None))
    lost = ServerLost(httpx.ConnectError("refused"))
    outcomes: list[Any] = [lost, "done", lost, lost]

    def step() -> str:
        outcome: str | ServerLost = outcomes.pop(0)
        if isinstance(outcome, ServerLost):
            raise outcome
        return outcome

    unused: Any = None
    assert (up_command._take_step(unused, unused, threading.Event(), step), len(waits)) == ("done", 1)
    with pytest.raises(ServerLost, match="refused"):
        up_command._take_step(unused, unused, threading.Event(), step)
    assert (outcomes, len(waits)) == ([], 2)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("work_pool: local", r"deployment n: work_pool: got 'local', expected a mapping: \{name: local\}"),
        ("work_pool: [local]", r"deployment n: work_pool: got \['local'\], expected a mapping"),
        ("work_pool: {name: [a]}", r"deployment 1: work_pool\.name: got \['a'\], expected text"),
        ("work_pool: {name: 3}", r"deployment 1: work_pool\.name: got 3, expected text; quote it"),
        ("name: 3", "deployment 1: name: got 3, expected text"),
        ("entrypoint: [a.b]", r"deployment 1: entrypoint: got \['a\.b'\], expected text"),
    ],
)
def test_names_that_are_no_text(tmp_path: Path, entry: str, sentence: str) -> None:
    """A name of a deployment or of its pool that is no text is refused in one sentence before the server starts."""
    file, key = tmp_path / "prefect.yaml", entry.partition(":")[0]
    lines = [line for line in ("name: n", "entrypoint: a.b") if not line.startswith(f"{key}:")]
    file.write_text("deployments:\n  - " + "\n    ".join([*lines, entry]) + "\n")
    with pytest.raises(InvalidInput, match=sentence):
        read_deployments(tmp_path)
    file.write_text("deployments:\n  - {name: n, entrypoint: a.b, work_pool: }\n  - {name: '3', entrypoint: a.b}\n")
    assert [item["name"] for item in read_deployments(tmp_path)] == ["n", "3"]
