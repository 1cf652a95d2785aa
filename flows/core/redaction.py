"""Replaces secrets with `***` in every text that a person or another service reads.

Secrets are: the value of an environment variable whose name says so (`AWS_SECRET_ACCESS_KEY`, `GITHUB_TOKEN`), the
value of a credential option in DVC's configuration, and a password or token in a URL. They are replaced in the lines of
a stage before any display or log receives them, in log records, states, artifacts and errors.

`mask` is the only function that does so. It removes terminal control sequences first, which could divide a secret, and
nothing may change a text after it.
"""

import base64
import functools
import json
import logging
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from flows.core.secrets.variables import GIT, environment_secrets, is_secret_name
from stages.base.dvc_settings import settings_files
from stages.base.shown_text import (
    MASK,
    markdown_code,
    markdown_sentence,
    mask_urls,
    remove_controls,
    url_secrets,
)
from stages.base.streams import tell

MIN_LENGTH = 5  # characters: a shorter value would also hide parts of ordinary words
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

SWITCH_VALUES = {"false", "none"}  # the variable only switches a feature off
BASE64_WORD = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_earlier: list[tuple[str, str]] = []  # variables that this process has replaced for a time, and their values
MAX_PREFIX = 100  # characters of the start of a secret, at the end of a line that a carriage return cut


def mask(text: str) -> str:
    """Returns `text` without terminal control sequences, and with each secret replaced by `***`."""
    return _mask(text, _patterns(_sources()))


def _mask(text: str, patterns: "Patterns") -> str:
    plain, encoded, _ = patterns
    text = remove_controls(text)
    if plain:
        text = plain.sub(MASK, text)
    if encoded and encoded.search(text):
        text = BASE64_WORD.sub(lambda word: MASK if encoded.search(word[0]) else word[0], text)
    return mask_urls(text)


def holds_known_secret(text: str) -> bool:
    """Returns True if `text` holds a secret of the environment or of DVC's configuration; of URLs it does not tell."""
    plain, encoded, _ = _patterns(_sources())
    text = remove_controls(text)
    return any(pattern is not None and pattern.search(text) is not None for pattern in (plain, encoded))


def masked_markdown(text: str) -> str:
    """Returns `text` masked, then as Markdown on one line: escaping first would change a secret's characters."""
    return markdown_sentence(mask(text))


def masked_code(text: str, *, in_table: bool = False) -> str:
    """Returns `text` masked, as code of Markdown."""
    return markdown_code(mask(text), in_table=in_table)


@contextmanager
def also_masked(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Masks the secrets in these variables during the block, in which the environment may lack them: stages have them.

    Args:
        variables: values by name; None for a variable that does not exist.
    """
    items = [(name, value) for name, value in variables.items() if value]
    _earlier.extend(items)
    try:
        yield
    finally:
        for item in items:
            _earlier.remove(item)


def say(text: str, *, error: bool = False) -> None:
    """Prints a line to standard output or standard error at once, masked: the way to print in `flows`.

    A line for standard error is a note, without which the work goes on if it cannot be written.
    """
    if error:
        tell(mask(text))
    else:
        print(mask(text), flush=True)


def say_if_possible(text: str, *, error: bool = False) -> None:
    """Prints a line as `say` does, or not at all: for what has to go on with a full disk or without its reader."""
    with suppress(OSError, ValueError):  # a ValueError if the stream is closed, or lacks a character
        say(text, error=error)


def mask_content(content: Any) -> Any:
    """Returns `content`, made of mappings, sequences and values, with `mask` applied to all of its texts."""
    patterns = _patterns(_sources())

    def masked(item: Any) -> Any:
        if isinstance(item, str):
            return _mask(item, patterns)
        if isinstance(item, Mapping):
            return {masked(key): masked(value) for key, value in item.items()}
        return [masked(each) for each in item] if isinstance(item, list | tuple) else item

    return masked(content)


def masked_lines(chunks: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of `chunks`, masked and without their ends.

    A carriage return ends a line, since progress bars use it; but lines that hold one secret together become one line.

    Args:
        chunks: lines with their ends, as a text file with `newline=""` gives them; one call of `mask` takes a chunk of
            them without carriage returns. An empty chunk says that nothing follows for now.
    """
    held: list[str] = []  # lines that end with a carriage return after the start of a secret
    for chunk in chunks:
        if not chunk:
            yield from map(_masked_line, held)
            held.clear()
        elif held or any(text.endswith("\r") for text in chunk):
            yield from _lines_with_returns(chunk, held)
        else:
            yield from mask("".join(chunk).replace("\r\n", "\n").removesuffix("\n")).split("\n")
    yield from map(_masked_line, held)


def _lines_with_returns(lines: Iterable[str], held: list[str]) -> Iterator[str]:
    """Yields masked lines; `held` keeps those that end with a carriage return after the start of a secret."""
    for text in lines:
        joined = "".join([*held, text])
        if held and mask(joined).count(MASK) > sum(mask(line).count(MASK) for line in [*held, text]):
            yield _masked_line(joined)
            held.clear()
            continue
        length = _prefix_length(joined) if text.endswith("\r") else 0
        if length <= len(remove_controls(text.rstrip("\r\n"))):  # no secret continues from the held lines
            yield from map(_masked_line, held)
            held.clear()
        if length:
            held.append(text)
        else:
            yield _masked_line(text)


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
        record.stack_info = mask(record.stack_info) if record.stack_info else None
        return record

    masked_record.masks = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(masked_record)


def secrets_in_config(text: str) -> dict[str, str]:
    """Returns the credentials in the text of a DVC configuration file, by the name of the option."""
    secrets = {
        match["name"].lower(): match["double"] or match["single"] or match["plain"] or ""
        for match in OPTION.finditer(text)
    }
    passwords = url_secrets(text)
    return secrets | ({"url": "\n".join(passwords)} if passwords else {})


Variables = tuple[tuple[str, str], ...]
Sources = tuple[Variables, Variables, tuple[tuple[str, int], ...]]


def _sources() -> Sources:
    """Returns all sources of secrets: variables now and earlier, and configuration files with their times in ns."""
    items = ((name, os.environ.get(name, "")) for name in list(os.environ))  # another thread may remove a variable
    variables, earlier = (
        tuple((name, value) for name, value in found if is_secret_name(name) or "://" in value or name.startswith(GIT))
        for found in (items, list(_earlier))
    )
    files = []
    for path in settings_files():
        with suppress(OSError):
            files.append((str(path.absolute()), path.stat().st_mtime_ns))
    return variables, earlier, tuple(files)


class Patterns(NamedTuple):
    """Patterns of all secrets: their texts, and the middle of their Base64 texts; and the starts of their texts."""

    plain: re.Pattern[str] | None
    encoded: re.Pattern[str] | None
    prefixes: frozenset[str]


@functools.lru_cache(maxsize=8)
def _patterns(sources: Sources) -> Patterns:
    """Returns the patterns of every secret of `sources`, longest first."""
    variables, earlier, files = sources
    secrets = {*environment_secrets(dict(variables)), *environment_secrets(dict(earlier))}
    for name, _ in files:
        with suppress(OSError, UnicodeDecodeError):
            secrets |= set(secrets_in_config(Path(name).read_text(encoding="utf-8")).values())
    pieces = {piece for secret in secrets for piece in _pieces(secret)}
    forms = {form for piece in pieces for form in _forms(piece)}
    prefixes = {form[:length] for form in forms for length in range(1, min(len(form), MAX_PREFIX + 1))}
    encoded = {part for piece in pieces for part in _base64_parts(piece.encode(errors="surrogateescape"))}
    return Patterns(_any_of(forms), _any_of(encoded), frozenset(prefixes))


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _pieces(secret: str) -> set[str]:
    """Returns the secret and each of its lines, without texts that are too short to be replaced."""
    pieces = {piece.strip() for piece in (secret, *secret.splitlines())}
    return {piece for piece in pieces if len(piece) >= MIN_LENGTH and piece.lower() not in SWITCH_VALUES}


def _forms(piece: str) -> Iterable[str]:
    """Yields the texts to replace for a secret, without control characters: it as it is, and as in URLs and JSON."""
    quoted = urllib.parse.quote(piece, safe="", errors="surrogateescape")
    return filter(None, map(remove_controls, (piece, quoted, json.dumps(piece)[1:-1], repr(piece)[1:-1])))


def _base64_parts(secret: bytes) -> Iterator[str]:
    """Yields the Base64 characters that `secret` alone determines, after any bytes, as in the Base64 of user:secret."""
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + secret)[skipped : (before + len(secret)) * 8 // 6].decode()
        yield from {encoded, encoded.translate(str.maketrans("+/", "-_"))}


def _masked_line(text: str) -> str:
    return mask(text.rstrip("\r\n"))


def _prefix_length(text: str) -> int:
    """Returns the number of characters at the end of `text` that are the start of a secret."""
    end = remove_controls(text[-10 * MAX_PREFIX :].rstrip("\r\n"))
    prefixes = _patterns(_sources()).prefixes
    return next((length for length in range(min(len(end), MAX_PREFIX), 0, -1) if end[-length:] in prefixes), 0)
