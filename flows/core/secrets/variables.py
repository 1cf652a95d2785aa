"""The environment variables that hold secrets: by the words in their names, and what is secret in their values."""

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from stages.base.files import exists
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
# Names of headers, and of the parameters in them, whose values are ordinary words.
PLAIN_HEADER = re.compile("accept|content-|user-agent|(charset|boundary|q)$", re.IGNORECASE)
HEADER = re.compile(r"""\s*['"]?([\w-]+)\s*[:=]\s*([^=\s].*)""")  # `NAME: VALUE`, and `NAME=VALUE` as of OpenTelemetry
SCHEME = re.compile(r"(?:basic|bearer|token|\w*key)\s+(\S+)", re.IGNORECASE)  # before the credential in a header
GIT = "GIT_CONFIG_"  # options of git in the environment: GIT_CONFIG_KEY_0 and GIT_CONFIG_VALUE_0, and so on
SECRET_GIT_KEY = re.compile(r"extraheader$|password", re.IGNORECASE)
# In `'KEY=VALUE'` and `'KEY'='VALUE'` of GIT_CONFIG_PARAMETERS, and in the command of a credential helper.
GIT_HEADER = re.compile(r"extraheader'?='?([^'\n]+)", re.IGNORECASE)
GIT_PASSWORD = re.compile(r"""password'?=['"]?(?!\$)([^\s'";]+)""", re.IGNORECASE)
is_secret_name = functools.lru_cache(maxsize=1000)(SECRET_NAME.search)  # asked for each line of output
LIST_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|COOKIE)S(_JSON)?$|COOKIE|NOTIFY$", re.IGNORECASE)  # several secrets
HOLDS_NAMES = re.compile(r"auths?|cred\w*", re.IGNORECASE)  # keys of JSON objects with users and projects in them


def environment_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the values of variables whose name marks a secret, and the passwords in the URLs of any variable."""
    for name, value in environment.items():
        if name.startswith(GIT):
            key = environment.get(name.replace("VALUE", "KEY"), "") if name.startswith(f"{GIT}VALUE_") else ""
            yield from _git_secrets(key, value)
        elif is_secret_name(name) and name not in NOT_SECRET and not _is_path(value):
            yield from _value_secrets(name, value)
        for password in url_secrets(value):
            yield from (password, urllib.parse.unquote(password))


def _value_secrets(name: str, value: str) -> Iterator[str]:
    """Yields the value of a secret variable, and the secrets that it holds: in JSON, in a list, in user:password."""
    texts = list(_json_texts(value))
    is_header, is_list = name.upper().endswith("HEADERS"), LIST_NAME.search(name)
    if texts or not is_header:
        yield value
    for key, text in texts or [("", value)]:
        if is_header:
            yield from _header_secrets(text, key)
        elif key == "auth":
            yield from _credentials(text)
        elif not key:
            yield from _parts(name, text)
        elif is_list or is_secret_name(key):  # not the name of a project, the address of a service
            yield text


def _parts(name: str, text: str) -> Iterator[str]:
    """Yields the text of a secret variable, the password in user:password, and the items of a list."""
    yield text
    yield from text.split(":")[1:] if "AUTH" in name.upper() else ()
    for item in re.split(r"[,;\s]+", text) if LIST_NAME.search(name) else ():
        yield from (item, item.partition("=")[2])


def _json_texts(value: str) -> Iterator[tuple[str, str]]:
    """Yields the texts in JSON after their keys, which are empty outside of objects; none if `value` is no JSON.

    What is within the object of a secret key, such as {"password": {"value": "X"}}, has that key.
    """
    try:
        waiting = [("", json.loads(value))] if value.lstrip().startswith(("{", "[", '"')) else []
    except (ValueError, RecursionError):
        return
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, str):
            yield key, item
        elif isinstance(item, dict):
            outer = key if is_secret_name(key) and not HOLDS_NAMES.fullmatch(key) else ""
            waiting += [(inner if is_secret_name(inner) else outer or inner, part) for inner, part in item.items()]
        elif isinstance(item, list):
            waiting += [(key, part) for part in item]


def _git_secrets(key: str, value: str) -> Iterator[str]:
    """Yields the secrets in the value of git's option `key`, in several options, or in the command of a helper."""
    if SECRET_GIT_KEY.search(key):
        yield from _header_secrets(value)
    for header in GIT_HEADER.findall(value):
        yield from _header_secrets(header)
    yield from GIT_PASSWORD.findall(f"{key}={value}")


def _header_secrets(text: str, name: str = "") -> Iterator[str]:
    """Yields the values of HTTP headers on lines or between commas, but none of those that are ordinary words.

    Args:
        text: the headers; a part without a name is more of the last one.
        name: of the header whose value `text` is; without it, the names are in `text`.
    """
    if name and not PLAIN_HEADER.match(name):
        yield text
    for line in text.splitlines():
        for part in (line, *re.split("[,;]", line)):
            name, value = found.groups() if (found := HEADER.match(part)) else (name, part)
            if not PLAIN_HEADER.match(name):
                yield from _credentials(value.strip("'\" "))


def _credentials(text: str) -> Iterator[str]:
    """Yields the value of an HTTP header, the credential in `Bearer X`, and the password in `Basic BASE64`."""
    found = SCHEME.match(text)
    word = found[1] if found else text
    yield from (text, word)
    with suppress(ValueError):  # no Base64, or not of a text
        yield base64.b64decode(word, validate=True).decode().partition(":")[2]


def _is_path(value: str) -> bool:
    """Returns True if `value` is the path of a file: the content of a key file is secret, its path is not."""
    return "/" in value and "\n" not in value and Path(value).is_absolute() and exists(value)
