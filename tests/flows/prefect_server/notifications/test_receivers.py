"""Receivers of messages: chat, mail and push services by Apprise, tested with real servers on loopback."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.core.notices import note_once
from flows.prefect_server.notifications.notifier import Notifier
from flows.prefect_server.notifications.outbox import Outbox
from flows.prefect_server.notifications.receivers import (
    BlockReceiver,
    NotDeliveredError,
    Webhook,
    check_receivers,
    open_receiver,
    shown,
)
from stages.base.digests import read_sealed
from stages.base.errors import InvalidInput
from tests.support.http_receiver import Receiver
from tests.support.smtp_server import MailServer

SECRET = "hunter2-hunter2"
POST = {
    "text": "Inkflow: nightly Failed no model",
    "deployment": "nightly",
    "run": "wise-owl",
    "state": "Failed",
    "message": "no model",
    "url": "http://127.0.0.1:4200/runs/flow-run/1",
    "key": "k1",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes JSON."""
    with Receiver().running() as receiver:
        yield receiver


def test_push_service_gets_subject_reason_and_address(receiver: Receiver) -> None:
    """An ntfy server gets the deployment and state as the title, and the reason and the run's address as the text."""
    receiver.status = 200
    assert open_receiver(f"ntfy://127.0.0.1:{receiver.port}/on-call").send(POST) == ""
    [posted] = receiver.posted
    assert (posted["topic"], posted["title"]) == ("on-call", "Inkflow: nightly Failed")
    assert posted["message"] == "no model\nwise-owl: http://127.0.0.1:4200/runs/flow-run/1"


def test_mail_server_gets_a_mail() -> None:
    """A mail goes to the recipients of the URL, with the subject and the reason."""
    with MailServer().running() as server:
        open_receiver(f"mailto://localhost:{server.port}/?from=inkflow@example.com&to=a@example.com").send(POST)
    [(recipients, mail)] = server.mails
    body = mail.get_body(("plain", "html"))
    assert recipients == ["a@example.com"]
    assert mail["Subject"] == "Inkflow: nightly Failed"
    assert body is not None
    assert "no model" in body.get_content()


def test_texts_of_others_are_no_markup_of_a_mail() -> None:
    """A mail in HTML shows tags in a message as text."""
    with MailServer().running() as server:
        receiver = open_receiver(f"mailto://localhost:{server.port}/?from=inkflow@example.com&to=a@example.com")
        receiver.send(POST | {"message": "<img src=http://127.0.0.1:9/x> & <b>"})
    [(_, mail)] = server.mails
    html = mail.get_body(("html",))
    assert html is not None
    assert "<img" not in html.get_content() and "&lt;img" in html.get_content()


def test_texts_of_others_are_no_mention_in_the_webhook(receiver: Receiver) -> None:
    """The text for Slack has its three special characters as entities; the other fields stay as they are."""
    named = POST | {"text": "Inkflow: <!here> a & <@U1>", "message": "<!here> a & <@U1>"}
    assert Webhook(f"http://127.0.0.1:{receiver.port}/hook").send(named) == ""
    [posted] = receiver.posted
    assert posted == named | {"text": "Inkflow: <\u2060!here> a & <\u2060@U1>"}


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", ("<!here", "<@U1", "<http://127.0.0.1:9/|")),
        ("discord://123456789012345678/" + "a" * 68, ("@everyone", "<@1>")),
    ],
)
def test_texts_of_others_are_no_mention_in_a_chat(receiver: Receiver, address: str, forbidden: tuple[str, ...]) -> None:
    """Slack and Discord get a message that mentions nobody and names no other address than it shows."""
    message = "<!here> !here> <@U1> <http://127.0.0.1:9/|good> @everyone <@1>"
    block = open_receiver(address)
    assert isinstance(block, BlockReceiver)
    [server] = block._block._apprise_client  # type: ignore[attr-defined]
    here = f"http://127.0.0.1:{receiver.port}/hook"
    for name in ("webhook_url", "notify_url"):  # of Slack, of Discord
        setattr(server, name, here)
    receiver.status = 200
    with suppress(NotDeliveredError):  # it is no Slack that answers
        block.send(POST | {"deployment": "@everyone", "message": message})
    [posted] = receiver.posted
    text = json.dumps(posted, ensure_ascii=False)
    assert "no model" not in text and "here" in text
    assert [part for part in forbidden if part in text] == []


def test_refused_mail_is_not_delivered() -> None:
    """A mail server that refuses the mail is tried again later; the reason has neither user nor password."""
    with MailServer().running() as server:
        server.answer = "554 no"
        receiver = open_receiver(f"mailto://localhost:{server.port}/?from=inkflow@example.com&to=a@example.com")
        with pytest.raises(NotDeliveredError):
            receiver.send(POST)
        assert server.mails == []


@pytest.mark.parametrize("scheme", ["json", "ntfy"])
def test_reason_has_no_secret(receiver: Receiver, scheme: str) -> None:
    """The reason of a failure names no part of the receiver's URL; the shown name is that of the service."""
    receiver.status = 403
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}-path"
    with pytest.raises(NotDeliveredError) as caught:
        open_receiver(url).send(POST)
    assert "403" in str(caught.value)
    assert SECRET not in str(caught.value) + shown(url)
    assert [shown(url), shown("slack-webhook/on-call")] == [f"{scheme}://***", "slack-webhook/on-call"]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (f"slack://{SECRET}", "slack://***"),
        (f"https://{SECRET}.example/x", "https://***"),
        (f"nothing://{SECRET}", "nothing://***"),
        (SECRET, "a text that is no URL"),
        ("Slack-Webhook/a", "a text that is no URL"),
        ("", "a text that is no URL"),
    ],
)
def test_unusable_receiver_is_refused(text: str, got: str) -> None:
    """A text that is neither a URL of Apprise nor a block is refused in one sentence without the text itself."""
    with pytest.raises(InvalidInput, match=r"--notify: got .*, expected a URL of Apprise") as caught:
        check_receivers(["ntfy://127.0.0.1/topic", text])
    assert f"got {got}," in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.farm
def test_receiver_that_is_away_delays_no_other(receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """Each receiver has its own queue: one gets its post at once, another later, once, in order, by a later process."""
    away, saved = open_receiver(f"ntfy://127.0.0.1:9/{SECRET}"), []
    now = datetime.now(UTC).isoformat()
    waiting: list[tuple[str, dict[str, str]]] = [(now, POST), (now, POST | {"state": "Completed"})]
    at_hook, elsewhere = list(waiting), list(waiting)
    hook = Webhook(f"http://127.0.0.1:{receiver.port}/hook")
    for receiver_, posts in ((away, elsewhere), (hook, at_hook)):
        Outbox(receiver_, posts).deliver(lambda: saved.append(1))  # type: ignore[arg-type]
    assert (elsewhere, at_hook, len(saved)) == (waiting, [], 2)
    assert [post["state"] for post in receiver.posted] == ["Failed", "Completed"]
    printed = capsys.readouterr().out
    assert printed.startswith("ntfy://*** cannot be called: ")
    assert SECRET not in printed
    receiver.status = 200
    back = open_receiver(f"ntfy://127.0.0.1:{receiver.port}/x")
    Outbox(back, elsewhere).deliver(lambda: None)  # type: ignore[arg-type]
    assert [post["title"] for post in receiver.posted[2:]] == ["Inkflow: nightly Failed", "Inkflow: nightly Completed"]
    assert elsewhere == []


def test_post_that_nobody_takes_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """After a day a post is dropped with a printed line, so that it does not hold back later ones for ever."""
    before = (datetime.now(UTC) - timedelta(days=1, seconds=1)).isoformat()
    waiting = [(before, POST)]
    Outbox(open_receiver("ntfy://127.0.0.1:9/x"), waiting).deliver(lambda: None)  # type: ignore[arg-type]
    assert waiting == []
    assert "given up after a day: Inkflow: nightly Failed no model" in capsys.readouterr().out


def test_record_that_cannot_be_written_stops_no_message(tmp_path: Path, receiver: Receiver) -> None:
    """A message is delivered though its record cannot be written: a full disk may be what it tells."""
    (tmp_path / "file").touch()
    notifier = Notifier("http://127.0.0.1:9/api", None, tmp_path / "file" / "notified.json")
    notifier.set_receivers([Webhook(f"http://127.0.0.1:{receiver.port}/hook")])
    notifier._post("k1", "nightly", "1", "wise-owl", "Failed", "no space left")
    with pytest.raises(httpx.ConnectError), notifier._api as api:
        notifier.poll(api)
    assert [post["message"] for post in receiver.posted] == ["no space left"]


def test_record_of_an_earlier_version_is_kept(tmp_path: Path) -> None:
    """A record without queues goes on: what was posted is not posted again, a failing deployment still recovers."""
    earlier = {"since": "2026-01-01T00:00:00+00:00", "seen": {}, "posted": {"a": "2026-01-01T00:00:00+00:00"}}
    failing = {"c": ["Failed no model", "2026-01-01T00:00:00+00:00"]}
    (tmp_path / "notified.json").write_text(json.dumps(earlier | {"failing": failing, "waiting": {}}))
    notifier = Notifier("http://127.0.0.1:9/api", None, tmp_path / "notified.json")
    notifier.set_receivers([])
    notifier._save()
    kept = earlier | {"failing": {"c": dict([failing["c"]])}, "waiting": {}, "waiting_posts": {}}
    assert read_sealed(tmp_path / "notified.json") == kept


def test_a_damaged_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record in which a bit has changed posts nothing of before; a line names it and says what is lost."""
    note_once.cache_clear()
    path = tmp_path / "notified.json"
    notifier = Notifier("http://127.0.0.1:9/api", None, path)
    notifier.set_receivers([Webhook("http://127.0.0.1:9/hook")])
    notifier._post("k1", "nightly", "1", "wise-owl", "Failed", "no space left")
    notifier._save()
    assert path.read_text().count("nightly Failed") == 1
    path.write_text(path.read_text().replace("nightly Failed", "nightly Gailed"))
    assert Notifier("http://127.0.0.1:9/api", None, path)._record["waiting_posts"] == {}
    assert f"{path} cannot be read (its content has another digest than it states): " in capsys.readouterr().err


@pytest.mark.server
def test_block_of_the_server_gets_the_post(prefect_url: str, receiver: Receiver) -> None:
    """A notification block that a person saved on Prefect's page is loaded by type and name, and gets the post.

    A name that the server does not have, and a block of another kind, are refused in one sentence.
    """
    url = f"http://127.0.0.1:{receiver.port}/hook"
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        blocks: list[tuple[str, Block]] = [
            ("told-chat", CustomWebhookNotificationBlock(name="chat", url=url, json_data={"is": "{{subject}}"})),
            ("told-secret", Secret(value=SECRET)),
        ]
        for name, block in blocks:
            block.save(name, overwrite=True)
        opened = open_receiver("custom-webhook/told-chat")
        assert opened.label == "custom-webhook/told-chat"
        opened.send(POST)
        assert receiver.posted == [{"is": "Inkflow: nightly Failed"}]
        with pytest.raises(InvalidInput, match="there is no block slack-webhook/nobody on this server; start without"):
            open_receiver("slack-webhook/nobody")
        with pytest.raises(InvalidInput, match="secret/told-secret is no notification block; expected one such as"):
            open_receiver("secret/told-secret")
