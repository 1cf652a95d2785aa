"""Replaces secrets with `***` in every text that a person or another service reads.

Secrets are: the value of an environment variable whose name says so (`AWS_SECRET_ACCESS_KEY`, `GITHUB_TOKEN`), the
value of a credential option in DVC's configuration, and a password in a URL. They are replaced in the lines of a stage
before any display or log receives them, in log records, states, artifacts and errors.
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
MIN_LENGTH = 5  # characters: a shorter value would also hide parts of ordinary words
# Words in the name of a variable. KEY counts as the last word only: KEY_BINDINGS holds no secret.
SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|(^|_)(PASS|PWD|TOKENS?|CREDENTIALS?|APIKEY|AUTH)(_|$)"
    r"|(^|_)(KEY|KEY_ID)$"
    r"|(^|_)AUTH_STRING$|CONNECTION_STRING$"
    r"|(^|_)WEBHOOK(_URL)?$",  # the URL of a webhook is enough to post to it
    re.IGNORECASE,
)
NOT_SECRET = {"PWD", "OLDPWD"}  # folders
# Options of DVC's remotes whose value is a credential; `keyfile` and the like are not listed: they hold a path.
OPTIONS = (
    "password", "passphrase", "token", "custom_auth_header", "access_key_id", "secret_access_key", "session_token",
    "sse_customer_key", "account_key", "sas_token", "client_secret", "connection_string", "oss_key_id",
    "oss_key_secret", "gdrive_client_secret", "gdrive_service_account_json",
)  # fmt: skip
# The syntax of DVC's files: option names in any case; a value ends at its closing quote, or where a comment begins.
OPTION = re.compile(
    rf"""^[ \t]*(?P<name>{"|".join(OPTIONS)})[ \t]*=[ \t]*"""
    r"""(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s#"'][^#\n]*?)[ \t\r]*(?:\#|$))""",
    re.MULTILINE | re.IGNORECASE,
)
# `scheme://user:password@`, and a token in place of the user in an HTTP URL.
URL_PASSWORD = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'\"]*:|https?://)(?P<password>[^\s/@'\"]+)@")
SWITCH_VALUES = {"false", "none"}  # the variable only switches a feature off


def mask(text: str) -> str:
    """Returns `text` with each secret replaced by `***`."""
    pattern = _pattern(_sources())
    hidden = pattern.sub(MASK, text) if pattern else text
    return URL_PASSWORD.sub(rf"\g<before>{MASK}@", hidden) if "://" in hidden else hidden


def mask_logs() -> None:
    """Replaces secrets in all further log records of this process, including tracebacks."""
    factory = logging.getLogRecordFactory()
    if getattr(factory, "masks", False):
        return

    def masked_record(*args: object, **options: object) -> logging.LogRecord:
        record = factory(*args, **options)
        with suppress(TypeError, ValueError):  # logging itself reports a message that cannot be formatted
            record.msg, record.args = mask(record.getMessage()), None
        if record.exc_info:
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
        return record

    masked_record.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(masked_record)


def secrets_in_config(text: str) -> dict[str, str]:
    """Returns the credentials in the text of a DVC configuration file, by the name of the option."""
    secrets = {
        match["name"].lower(): match["double"] or match["single"] or match["plain"] or ""
        for match in OPTION.finditer(text)
    }
    passwords = _url_passwords(text)
    return secrets | ({"url": "\n".join(passwords)} if passwords else {})


def _environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the values of variables whose name marks a secret, and the passwords in the URLs of any variable."""
    for name, value in environment.items():
        if SECRET_NAME.search(name) and name not in NOT_SECRET and not _is_path(value):
            yield value
            yield from value.split(":")[1:] if "AUTH" in name.upper() else ()  # user:password
        for password in _url_passwords(value):
            yield from (password, urllib.parse.unquote(password))


def _url_passwords(text: str) -> list[str]:
    """Returns the passwords in the URLs of `text`."""
    return [match["password"] for match in URL_PASSWORD.finditer(text)]


def _is_path(value: str) -> bool:
    """Returns True if `value` is the path of a file: the content of a key file is secret, its path is not."""
    return "/" in value and "\n" not in value and Path(value).is_absolute() and Path(value).exists()


def _config_files() -> list[Path]:
    """Returns the paths at which DVC looks for its configuration."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dvc"
    folders = [
        os.environ.get("DVC_GLOBAL_CONFIG_DIR") or user,
        os.environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc",
    ]
    return [Path(".dvc/config"), Path(".dvc/config.local"), *(Path(folder) / "config" for folder in folders)]


Sources = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, int], ...]]


def _sources() -> Sources:
    """Returns all sources of secrets: variables with their values, configuration files with their times in ns."""
    variables = tuple((name, value) for name, value in os.environ.items() if SECRET_NAME.search(name) or "://" in value)
    files = []
    for path in _config_files():
        with suppress(OSError):
            files.append((str(path.absolute()), path.stat().st_mtime_ns))
    return variables, tuple(files)


@functools.lru_cache(maxsize=8)
def _pattern(sources: Sources) -> re.Pattern[str] | None:
    """Returns a pattern that matches every secret of `sources`, longest first; None if there are no secrets."""
    variables, files = sources
    secrets = set(_environment_secrets(dict(variables)))
    for name, _ in files:
        with suppress(OSError, UnicodeDecodeError):
            secrets |= set(secrets_in_config(Path(name).read_text(encoding="utf-8")).values())
    forms = {form for secret in secrets for form in _forms(secret)}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def _forms(secret: str) -> Iterable[str]:
    """Yields the texts to replace for a secret: it and each of its lines, also as in URLs, JSON and Basic auth."""
    pieces = {secret, *secret.splitlines()}
    for piece in {piece.strip() for piece in pieces}:
        if len(piece) >= MIN_LENGTH and piece.lower() not in SWITCH_VALUES:
            yield from {piece, urllib.parse.quote(piece, safe=""), json.dumps(piece)[1:-1], repr(piece)[1:-1]}
            yield base64.b64encode(piece.encode()).decode().rstrip("=")
