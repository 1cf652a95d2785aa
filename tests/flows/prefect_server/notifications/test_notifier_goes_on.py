"""The thread of the notifier ends with `inkflow up` alone: lines that cannot be printed and strange answers pass."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.prefect_server.notifications import notifier as notifier_module
from flows.prefect_server.notifications.notifier import Notifier
from flows.prefect_server.notifications.receivers import Webhook
from tests.conftest import wait_until
from tests.support.http_receiver import Receiver
from tests.support.loopback import JsonHandler, serving


class Api(JsonHandler):
    """Prefect's API without events; a page of a proxy stands before it while `is_away`."""

    is_away = False

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Answers a request for events."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if not Api.is_away:
            self.answer(200, {"events": [], "next_page": None})
            return
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")


@contextmanager
def started(folder: Path, receiver: Receiver) -> Iterator[Notifier]:
    """Runs the thread of a notifier with one post that waits."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    notifier = Notifier(f"http://127.0.0.1:{http.server_port}/api", None, folder / "notified.json")
    notifier.set_receivers([Webhook(f"http://127.0.0.1:{receiver.port}/hook")])
    notifier._post("key", "nightly", "run", "name", "Failed", "why")
    with serving(http), receiver.running():
        notifier.start()
        try:
            yield notifier
        finally:
            notifier.stop()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the notifier poll at once."""
    monkeypatch.setattr(notifier_module, "POLL_S", 0.01)


@pytest.mark.parametrize("stream", ["full", "closed"])
def test_a_line_that_cannot_be_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    """With its output on a full disk, or closed, the post that was refused is sent again."""
    receiver = Receiver()
    receiver.status = 503
    output = Path("/dev/full").open("w")  # noqa: SIM115 - closed below
    if stream == "closed":
        output.close()
    monkeypatch.setattr("sys.stdout", output)
    with started(tmp_path, receiver) as notifier:
        wait_until(lambda: receiver.posted != [], timeout_s=60)
        receiver.status = 204
        wait_until(lambda: not notifier._record["waiting_posts"]["webhook"], timeout_s=60)
        assert notifier.is_alive()
    monkeypatch.undo()
    with pytest.raises(OSError, match="space") if stream == "full" else nullcontext():
        output.close()


def test_an_answer_that_is_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line tells of the answer, however often it comes; the thread asks again."""
    polls: list[str] = []
    monkeypatch.setattr(Notifier, "_save", lambda _: polls.append(""))
    monkeypatch.setattr(Api, "is_away", True)
    with started(tmp_path, Receiver()) as notifier:
        wait_until(lambda: len(polls) > 5, timeout_s=60)
        assert notifier.is_alive()
    assert capsys.readouterr().out == (
        "The events of Prefect's server cannot be read (DecodingError('the answer to POST /events/filter is no JSON'));"
        " it is tried again\n"
    )
