"""Keeping secrets out of what people and machines read: one function through which all such text goes.

A secret is the value of an environment variable whose name says so (`AWS_SECRET_ACCESS_KEY`, `GITHUB_TOKEN`), of an
option of DVC's configuration that holds a credential, and the password in an address. Wherever one stands in a text,
`***` stands in its place: in a stage's lines before anybody hears them, in log records, states, artifacts and errors.
"""

import base64
import functools
import json
import logging
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

MASK = "***"
SHORTEST = 5  # characters: what is shorter is found in every other word
# Words of a variable's name. A key alone may be a key of anything (KEY_BINDINGS): it counts as the last word.
SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|(^|_)(PASS|PWD|TOKENS?|CREDENTIALS?|APIKEY|AUTH)(_|$)"
    r"|(^|_)(KEY|KEY_ID)$"
    r"|(^|_)AUTH_STRING$|CONNECTION_STRING$"
    r"|(^|_)WEBHOOK(_URL)?$",  # whoever knows the address of a chat's hook may write there
    re.IGNORECASE,
)
NO_SECRET = {"PWD", "OLDPWD"}  # folders
# Options of DVC's remotes that hold a credential itself; `keyfile` and its like hold the path of one.
OPTIONS = (
    "password", "passphrase", "token", "custom_auth_header", "access_key_id", "secret_access_key", "session_token",
    "sse_customer_key", "account_key", "sas_token", "client_secret", "connection_string", "oss_key_id",
    "oss_key_secret", "gdrive_client_secret", "gdrive_service_account_json",
)  # fmt: skip
# As DVC reads its files: options in any case, a value in quotes, or as far as a comment begins.
OPTION = re.compile(
    rf"""^[ \t]*(?P<name>{"|".join(OPTIONS)})[ \t]*=[ \t]*"""
    r"""(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s#"'][^#\n]*?)[ \t\r]*(?:\#|$))""",
    re.MULTILINE | re.IGNORECASE,
)
# `scheme://user:password@`, and a token in the user's place where a page is meant.
IN_ADDRESS = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'\"]*:|https?://)(?P<password>[^\s/@'\"]+)@")
WORDS = {"false", "none"}  # values of switches, not secrets


def mask(text: str) -> str:
    """`text` with `***` for each secret in it."""
    pattern = _pattern(_stamp())
    hidden = pattern.sub(MASK, text) if pattern else text
    return IN_ADDRESS.sub(rf"\g<before>{MASK}@", hidden) if "://" in hidden else hidden


def mask_logs() -> None:
    """From now on hide secrets in every log record of this process, tracebacks too."""
    make = logging.getLogRecordFactory()
    if getattr(make, "masks", False):
        return

    def make_masked(*args: object, **named: object) -> logging.LogRecord:
        record = make(*args, **named)
        with suppress(TypeError, ValueError):  # what cannot be formatted, logging itself complains of
            record.msg, record.args = mask(record.getMessage()), None
        if record.exc_info:
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
        return record

    make_masked.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_masked)


def secrets_in_config(text: str) -> dict[str, str]:
    """Credentials that a file of DVC's configuration holds, by the option's name."""
    found = {
        match["name"].lower(): match["double"] or match["single"] or match["plain"] or ""
        for match in OPTION.finditer(text)
    }
    in_addresses = [password for _, password in _passwords(text)]
    return found | ({"url": "\n".join(in_addresses)} if in_addresses else {})


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """Values of the variables whose names say that they are secret, and passwords in addresses."""
    for name, value in environment.items():
        if SECRET_NAME.search(name) and name not in NO_SECRET and not _is_path(value):
            yield value
            yield from value.split(":")[1:] if "AUTH" in name.upper() else ()  # user:password
        for _, password in _passwords(value):
            yield from (password, urllib.parse.unquote(password))


def _passwords(text: str) -> Iterator[tuple[str, str]]:
    """Passwords in the addresses of `text`, each with what stands before it."""
    yield from ((match["before"], match["password"]) for match in IN_ADDRESS.finditer(text))


def _is_path(value: str) -> bool:
    """True for the name of a file, which many such variables hold: the file is secret, its name is not."""
    return "/" in value and "\n" not in value and Path(value).is_absolute() and Path(value).exists()


def _config_files() -> list[Path]:
    """DVC's configuration, where DVC looks for it."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dvc"
    folders = [
        os.environ.get("DVC_GLOBAL_CONFIG_DIR") or user,
        os.environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc",
    ]
    return [Path(".dvc/config"), Path(".dvc/config.local"), *(Path(folder) / "config" for folder in folders)]


Stamp = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, int], ...]]


def _stamp() -> Stamp:
    """All that secrets are taken from: while it stays, they stay."""
    variables = tuple((name, value) for name, value in os.environ.items() if SECRET_NAME.search(name) or "://" in value)
    files = []
    for path in _config_files():
        with suppress(OSError):
            files.append((str(path.absolute()), path.stat().st_mtime_ns))
    return variables, tuple(files)


@functools.lru_cache(maxsize=8)
def _pattern(stamp: Stamp) -> re.Pattern[str] | None:
    variables, files = stamp
    found = set(secrets_in(dict(variables)))
    for name, _ in files:
        with suppress(OSError, UnicodeDecodeError):
            found |= set(secrets_in_config(Path(name).read_text(encoding="utf-8")).values())
    forms = {form for secret in found for form in _forms(secret)}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def _forms(secret: str) -> Iterable[str]:
    """A secret as it may stand in a text: as it is, each line of a long one, quoted for addresses, JSON and Basic."""
    pieces = {secret, *secret.splitlines()}
    for piece in {piece.strip() for piece in pieces}:
        if len(piece) >= SHORTEST and piece.lower() not in WORDS:
            yield from {piece, urllib.parse.quote(piece, safe=""), json.dumps(piece)[1:-1], repr(piece)[1:-1]}
            yield base64.b64encode(piece.encode()).decode().rstrip("=")
