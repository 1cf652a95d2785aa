"""Secrets that a test plants, and the search for them in everything that was written and in command lines."""

import base64
import gzip
import json
import os
import re
import subprocess
import threading
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ODD = "*_[x]<&|`$"  # characters that HTML, Markdown and shells escape
VARIABLES: Mapping[str, str] = {
    name: f"planted-{number}-{name.lower().replace('_', '-')}{ODD if name == 'STORE_PASSWORD' else ''}"
    for number, name in enumerate(
        (
            "STORE_PASSWORD", "GITHUB_TOKEN", "INKFLOW_GITLAB_TOKEN", "PREFECT_API_KEY", "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
            "INKFLOW_SERVE_TOKEN",
        ),
        start=1,
    )
} | {
    "PREFECT_API_AUTH_STRING": "admin:planted-20-auth-string",
    "INKFLOW_WEBHOOK": "http://127.0.0.1:9/planted-21-webhook",
    "DATABASE_URL": "postgresql://me:planted-22-database@127.0.0.1:9/db",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=planted-23-azure",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Proxy": "Bearer planted-24-headers"}',
    "DOCKER_AUTH_CONFIG": '{"auths": {"registry.example": {"auth": "bWU6cGxhbnRlZC0yNS1kb2NrZXI="}}}',
    "SSHPASS": "planted-26-sshpass",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "http.https://git.example/.extraheader",
    "GIT_CONFIG_VALUE_0": "AUTHORIZATION: bearer planted-27-git-header",
}  # fmt: skip
REMOTE_PASSWORD = "planted-30-remote"
URL_PASSWORD, URL_TOKEN, URL_SIGNATURE = "planted-31-url", "planted-32-query", "planted-33-signature"
GIT_TOKEN = "planted-34-git"


def every_secret() -> list[str]:
    """Returns the texts that must not appear anywhere."""
    planted = [value.rsplit("/", 1)[-1] if "webhook" in value else value for value in VARIABLES.values()]
    parts = [
        "planted-20-auth-string", "planted-22-database", "planted-23-azure", "planted-24-headers",
        "bWU6cGxhbnRlZC0yNS1kb2NrZXI=", "planted-25-docker", "planted-27-git-header",
    ]  # fmt: skip
    return [
        *(value for value in planted if not re.search("://|[;{]|^1$", value)),
        *parts, REMOTE_PASSWORD, URL_PASSWORD, URL_TOKEN, URL_SIGNATURE, GIT_TOKEN,
    ]  # fmt: skip


def found(text: bytes, secrets: list[str]) -> list[str]:
    """Returns the secrets in `text`: as they are, as in a URL, in JSON, and in Base64."""
    return [
        secret
        for secret in secrets
        if any(
            form.encode() in text
            for form in (
                secret,
                urllib.parse.quote(secret, safe=""),
                json.dumps(secret)[1:-1],
                base64.b64encode(secret.encode()).decode()[:-4],
            )
        )
    ]


def leaks(folder: Path, planted: frozenset[str], secrets: list[str]) -> dict[str, list[str]]:
    """Returns the secrets by file below `folder`, without those that the test itself has written.

    Files of gzip are unpacked; of a repository of git, all objects are searched.
    """
    result = {}
    for path in sorted(folder.rglob(".git")):
        command = ["git", "--git-dir", str(path), "cat-file", "--batch-all-objects", "--batch"]
        objects = subprocess.run(command, capture_output=True, check=True).stdout
        if secret := found(objects, secrets):
            result[f"{path.relative_to(folder)}: objects"] = secret
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.is_symlink() and name not in planted:
            with suppress(OSError):
                content = path.read_bytes()
                if content.startswith(b"\x1f\x8b"):
                    with suppress(EOFError, zlib.error):  # a damaged file; its bytes are searched as they are
                        content += gzip.decompress(content)
                if secret := found(name.encode(errors="replace") + content, secrets):
                    result[name] = secret
    return result


@contextmanager
def watched_command_lines(secrets: list[str]) -> Iterator[set[str]]:
    """Looks at the command lines of all processes below this one; the set gets those that show a secret."""
    shown: set[str] = set()
    end = threading.Event()
    own = psutil.Process(os.getpid())

    def watch() -> None:
        while not end.wait(0.02):
            for process in own.children(recursive=True):
                with suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    if found(line.encode(errors="replace"), secrets):
                        shown.add(line)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        end.set()
        thread.join()
