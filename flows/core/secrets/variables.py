"""The environment variables that hold secrets: by the words in their names, and what is secret in their values."""

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from stages.base.shown_text import url_secrets

# Words in the name of a variable. KEY counts as the last word only: KEY_BINDINGS holds no secret.
SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASSCODE|SECRET|COOKIE|TOKENS?(_|$)|(API|ACCESS|PRIVATE)KEYS?(_|$)"
    r"|(^|_)(PASS|PWD|PW|CREDENTIALS?|CREDS?|AUTH|AUTHORIZATION|BEARER|PAT|JWT|SAS|PSK)S?(_|$)"
    r"|(^|_)KEYS?(_(ID|B64|BASE64|JSON|PEM|DATA))?$"
    r"|CONNECTION_STRING$|(^|_)(OTLP_(\w+_)?|CUSTOM_|EXTRA_|HTTP_|REQUEST_)HEADERS$|^SSHPASS$"
    r"|(^|_)WEBHOOK(_URL)?$|(^|_)NOTIFY$",  # the URL of a webhook is enough to post to it
    re.IGNORECASE,
)
NOT_SECRET = {"PWD", "OLDPWD"}  # folders
PLAIN_HEADER = re.compile("accept|content-|user-agent", re.IGNORECASE)
GIT = "GIT_CONFIG_"  # options of git in the environment: GIT_CONFIG_KEY_0 and GIT_CONFIG_VALUE_0, and so on
SECRET_GIT_KEY = re.compile(r"extraheader$|password", re.IGNORECASE)
is_secret_name = functools.lru_cache(maxsize=1000)(SECRET_NAME.search)  # asked for each line of output
LIST_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|COOKIE|HEADER)S$|COOKIE|NOTIFY$", re.IGNORECASE)  # several secrets


def environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the values of variables whose name marks a secret, and the passwords in the URLs of any variable."""
    for name, value in environment.items():
        of_git = environment.get(name.replace("VALUE", "KEY"), "") if name.startswith(f"{GIT}VALUE_") else ""
        if SECRET_GIT_KEY.search(of_git):
            yield from _header_secrets(value)
        elif is_secret_name(name) and name not in NOT_SECRET and not _is_path(value):
            yield from _value_secrets(name, value)
        for password in url_secrets(value):
            yield from (password, urllib.parse.unquote(password))


def _value_secrets(name: str, value: str) -> Iterator[str]:
    """Yields the value of a secret variable, and the secrets that it holds: in JSON, in a list, in user:password."""
    yield value
    if texts := list(_json_texts(value)):
        is_header = name.upper().endswith("HEADERS")
        for key, text in texts:  # not a type of content, the name of a project, the address of a service
            if not PLAIN_HEADER.match(key) if is_header else not key or is_secret_name(key):
                yield from _header_secrets(text) if is_header or key == "auth" else (text,)
        return
    yield from value.split(":")[1:] if "AUTH" in name.upper() else ()  # user:password
    for item in re.split(r"[,;\s]+", value) if LIST_NAME.search(name) else ():
        yield from (item, item.partition("=")[2])


def _json_texts(value: str) -> Iterator[tuple[str, str]]:
    """Yields the texts in JSON after their keys, which are empty outside of objects; none if `value` is no JSON."""
    try:
        waiting = [("", json.loads(value))] if value.lstrip().startswith(("{", "[", '"')) else []
    except (ValueError, RecursionError):
        return
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, str):
            yield key, item
        elif isinstance(item, dict):
            waiting += item.items()
        elif isinstance(item, list):
            waiting += [(key, part) for part in item]


def _header_secrets(text: str) -> Iterator[str]:
    """Yields the value of an HTTP header, its last word as in `Bearer X`, and the password in `Basic BASE64`."""
    word = text.rpartition(" ")[2]
    yield from (text, word)
    with suppress(ValueError):  # no Base64, or not of a text
        yield base64.b64decode(word, validate=True).decode().partition(":")[2]


def _is_path(value: str) -> bool:
    """Returns True if `value` is the path of a file: the content of a key file is secret, its path is not."""
    return "/" in value and "\n" not in value and Path(value).is_absolute() and Path(value).exists()
