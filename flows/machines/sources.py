"""The other machine's records: its dvc.lock and environment.lock, from a file, a version of the project, or a URL."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from flows.core.errors import GitFailed
from flows.core.git import git_text, is_in_repository, run_git
from flows.dvc_repo.versions.version_diff import commit_of
from stages.base.digests import LOCK
from stages.base.errors import InvalidInput, SourceUnavailable
from stages.base.files import is_file
from stages.base.shown_text import network_reason

ENVIRONMENT, PIPELINE = "environment.lock", "dvc.yaml"
MAX_BYTES = 50_000_000  # of a file with records: a dvc.lock of 10,000 stages has 20 MB
TIMEOUT_S, WHOLE_S = 20.0, 60.0  # for each part of an answer, and for all of it
EXPECTED = (
    "expected a dvc.lock, a folder with one, a commit, branch, tag or experiment, or an http(s) URL of a dvc.lock"
)

Read = Callable[[str], bytes | None]  # the content of a file by its path below the project; None without one


@dataclass(frozen=True)
class Source:
    """The records of another machine.

    Attributes:
        name: as the user gave it.
        commit: the commit that holds them; empty for a file or a URL.
        read: reads a file beside its dvc.lock: the records, and results that git keeps.
        folder: the folder of its dvc.lock on this machine, with the other's own workspace; None for others.
    """

    name: str
    commit: str
    read: Read
    folder: Path | None = None


def open_source(root: Path, against: str) -> Source:
    """Returns the records that `against` names: a path, a URL, or else a version of the project in `root`.

    Raises:
        InvalidInput: it names nothing of these, or something without a dvc.lock.
        RevisionUnusable: there is no such version.
        SourceUnavailable: the server of a URL does not answer with the file.
    """
    if not against.strip() or "\0" in against:
        raise InvalidInput(f"--against: got {against!r}, {EXPECTED}")
    path = Path(against)
    if "://" in against:
        source = _of_url(against)
    elif is_file(path):
        source = Source(against, "", _beside(path), path.parent.resolve())
    elif is_file(path / LOCK):
        source = Source(against, "", _beside(path / LOCK), path.resolve())
    elif path.is_absolute() or not is_in_repository(root):
        raise InvalidInput(f"--against: no dvc.lock at {against}; {EXPECTED}")
    else:
        source = _of_commit(root, against)
    if source.read(LOCK) is None:
        raise InvalidInput(f"--against: {against} has no dvc.lock; name a version that was run and committed")
    return source


def _beside(lock: Path) -> Read:
    """Reads the file `lock` as dvc.lock, whatever its name, and all others beside it."""

    def read(name: str) -> bytes | None:
        path = lock if name == LOCK else lock.parent / name
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            if name == LOCK:
                raise InvalidInput(f"--against: {lock} cannot be read ({error.strerror})") from error
            return None
        return _limited(content, str(path))

    return read


def _limited(content: bytes, name: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"--against: {name} has more than {MAX_BYTES:,} bytes, so it is no file with records")
    return content


def _of_commit(root: Path, revision: str) -> Source:
    commit = commit_of(root, revision)
    prefix = git_text(["rev-parse", "--show-prefix"], root)

    def read(name: str) -> bytes | None:
        try:
            return _limited(run_git(["cat-file", "blob", f"{commit}:{prefix}{name}"], root), name)
        except GitFailed:  # this commit has no such file
            return None

    return Source(revision, commit, read)


def _of_url(url: str) -> Source:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidInput(f"--against: got {url}, {EXPECTED}")
    folder, _, name = parts.path.rpartition("/")
    lock = _download(url)
    if lock is None:
        raise SourceUnavailable(f"--against: {url} does not exist there (HTTP 404); give the URL of the file itself")
    environment: list[bytes | None] = []

    def read(wanted: str) -> bytes | None:
        if wanted == LOCK:
            return lock
        if wanted != ENVIRONMENT or name != LOCK:  # a name of its own has no neighbour that is known
            return None
        if not environment:
            environment.append(_download(urlunsplit(parts._replace(path=f"{folder}/{ENVIRONMENT}"))))
        return environment[0]

    return Source(url, "", read)


def _download(url: str) -> bytes | None:
    """Returns the content at a URL; None if the server has none. Redirects are not followed.

    Raises:
        SourceUnavailable: the server does not answer, or with something else.
    """
    import httpx  # late: other sources need no network

    end, content = time.monotonic() + WHOLE_S, b""
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 404:
                return None
            if answer.status_code != 200:
                where = f", a redirect to {answer.headers['location']}" if answer.has_redirect_location else ""
                raise SourceUnavailable(f"--against: {url} was answered with HTTP {answer.status_code}{where}")
            for chunk in answer.iter_bytes():
                content = _limited(content + chunk, url)
                if time.monotonic() > end:
                    raise SourceUnavailable(f"--against: {url} took more than {WHOLE_S:g} s; try again later")
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:  # also proxies, certificates
        raise SourceUnavailable(f"--against: {url} cannot be read ({network_reason(error)})") from error
    return content
