"""Receivers of messages: the webhook, which gets JSON, and Prefect's notification blocks, which know chat and mail.

A block is one that is stored on Prefect's server, or is made of a URL of Apprise (`ntfy://...`, `mailtos://...`).
No text that is shown has a URL of a receiver: it is enough to write to the receiver.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import httpx

from flows.core.redaction import mask
from flows.prefect_server.environment import is_loopback
from stages.base.errors import InkflowError, InvalidInput
from stages.base.shown_text import MASK, network_reason

if TYPE_CHECKING:  # the import of Prefect takes two seconds
    from prefect.blocks.abstract import NotificationBlock

NOTIFY = "INKFLOW_NOTIFY"  # receivers, with spaces between
BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")  # type and name, as Prefect's page shows them
POST_TIMEOUT_S = 10.0
WEBHOOK_PAUSE_S, BLOCK_PAUSE_S = 0.0, 300.0  # the longest between two attempts, beside the notifier's own
IS_TEMPORARY = frozenset({408, 429, *range(500, 600)})  # answers of the webhook after which it is called again
# Services that make mentions of plain text, with a character that those need and its replacement. For Slack, Apprise
# restores `<!here>`, `<@U1>` and `<URL|name>` wherever a > ends them, with or without <.
SLACK = re.compile(r"<(?=[!@#]|\w+:)")  # begins a mention, a command or a link in a chat that reads `text`
MARKUP = {"Slack": (">", "\u203a"), "Discord": ("@", "@\u2060")}
Post = Mapping[str, str]  # the JSON of the webhook: text, deployment, run, state, message, url, key


class NotDeliveredError(Exception):
    """A receiver did not accept a post, for the reason in the text, which has no secret; it may accept it later."""


class Receiver(Protocol):
    """Gets the posts."""

    label: str  # as shown to a person
    key: str  # stands for the receiver in the record of posts
    max_pause_s: float

    def send(self, post: Post) -> str:
        """Delivers `post`; returns the reason if the receiver refused it for good, else an empty text.

        Raises:
            NotDeliveredError: The receiver may accept the post later.
        """


class Webhook:
    """The receiver that gets a post as JSON; the key in it lets it drop a repetition."""

    label, key, max_pause_s = "The webhook", "webhook", WEBHOOK_PAUSE_S

    def __init__(self, url: str) -> None:
        self._url = url
        try:  # here and not at the first post: a proxy or certificate file of the environment may be unusable
            self._client = httpx.Client(timeout=POST_TIMEOUT_S, trust_env=not is_loopback(url))
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
            raise InkflowError(
                f"the webhook cannot be called ({mask(network_reason(error))}); correct the environment"
            ) from error

    def send(self, post: Post) -> str:
        """Posts `post` once."""
        try:
            content = {**post, "text": SLACK.sub("<\u2060", post["text"])}
            response = self._client.post(self._url, json=content, headers={"Idempotency-Key": post["key"]})
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may have the address
            raise NotDeliveredError(type(error).__name__) from None
        if response.status_code in IS_TEMPORARY:
            raise NotDeliveredError(f"it answered {response.status_code}")
        return "" if response.is_success else f"it answered {response.status_code}"


class BlockReceiver:
    """A notification block of Prefect: gets a subject, and a body with the reason and the run's address."""

    max_pause_s = BLOCK_PAUSE_S

    def __init__(self, label: str, key: str, block: "NotificationBlock") -> None:
        self.label, self.key, self._block = label, key, block
        client = getattr(block, "_apprise_client", None)  # other blocks have none
        services = {server.service_name for server in client} if client else set()
        self._markup = [MARKUP[service] for service in services if service in MARKUP]
        if client:
            client.asset.body_format = "text"  # else a mail, and Telegram, would get the texts of others as HTML
        logging.getLogger("apprise").propagate = False  # Prefect's block listens itself; the console would show secrets

    def send(self, post: Post) -> str:
        """Has the block notify once."""
        subject = f"Inkflow: {post['deployment']} {post['state']}"
        body = "\n".join(filter(None, [post["message"], f"{post['run']}: {post['url']}"]))
        for old, new in self._markup:
            subject, body = subject.replace(old, new), body.replace(old, new)
        try:
            with self._block.raise_on_failure():
                notify: Callable[..., object] = self._block.notify  # a coroutine only within an event loop
                notify(body, subject=subject)
        except Exception as error:  # noqa: BLE001 - a block may be of any library; the thread has to go on
            lines = str(getattr(error, "log", "")).strip().splitlines() or [type(error).__name__]
            raise NotDeliveredError(self._without_secrets(lines[-1])) from None
        return ""

    def _without_secrets(self, text: str) -> str:
        """Returns `text` with each part of the block's secrets replaced: of a URL also hosts, tokens and names."""
        secrets = [
            value.get_secret_value() for value in vars(self._block).values() if hasattr(value, "get_secret_value")
        ]
        pieces = {piece for secret in secrets for piece in re.split(r"[^\w.-]+", str(secret)) if len(piece) > 3}
        pattern = "|".join(map(re.escape, sorted(pieces, key=len, reverse=True)))
        return mask(re.sub(pattern, MASK, text) if pieces else text)


def check_receivers(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns `texts` without repetitions, each a URL of Apprise or TYPE/NAME of a block.

    Raises:
        InvalidInput: A text is neither; the message has no more of it than the part before `://`.
    """
    import apprise  # late: it comes with Prefect, and half a second is for those who use it

    for text in texts:
        if not BLOCK.fullmatch(text) and apprise.Apprise.instantiate(text) is None:
            raise InvalidInput(
                f"--notify: got {shown(text)}, expected a URL of Apprise, such as ntfys://TOPIC, slack://A/B/C or "
                "mailtos://[USER:PASSWORD@]HOST, or a notification block of Prefect, such as slack-webhook/on-call; "
                "`apprise --details` lists the services"
            )
    return tuple(dict.fromkeys(texts))


def open_receiver(text: str) -> Receiver:
    """Returns the receiver that `text`, checked by `check_receivers`, names; Prefect has read its settings.

    Raises:
        InvalidInput: The server has no such block, or it is no notification block.
    """
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block
    from prefect.blocks.notifications import AppriseNotificationBlock

    key = sha256(text.encode()).hexdigest()[:16]
    if not BLOCK.fullmatch(text):
        return BlockReceiver(shown(text), key, AppriseNotificationBlock(url=text, notify_type="warning"))
    load: Callable[[str], Block] = Block.load  # type: ignore[assignment]  # as `notify` above
    try:
        block = load(text)
    except ValueError as error:  # Prefect's answer for an unknown name
        raise InvalidInput(
            f"--notify: there is no block {text} on this server; start without it, create it on Prefect's page "
            "(Blocks), then start again with it"
        ) from error
    if not isinstance(block, NotificationBlock):
        raise InvalidInput(f"--notify: {text} is no notification block; expected one such as slack-webhook/on-call")
    return BlockReceiver(shown(text), key, block)


def shown(text: str) -> str:
    """Returns what may be shown of a receiver: the name of its service, or of the block."""
    if BLOCK.fullmatch(text):
        return text
    scheme, separator, _ = text.partition("://")
    return f"{scheme}://{MASK}" if separator and re.fullmatch(r"[\w+-]{1,20}", scheme) else "a text that is no URL"
