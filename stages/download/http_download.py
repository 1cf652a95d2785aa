"""Fetching one file over HTTP, however bad the line: time-outs, retries, resuming, a size limit.

What has arrived stays in a part file. The next attempt, in this run or a later one, asks for the
rest only, on the condition (If-Range) that the file on the server is still the one it was.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity import wait_random_exponential as backoff

from stages.base.errors import DataError, OutputError, SourceUnavailable

CONNECT_S = 5.0  # to reach the server
READ_S = 10.0  # without a byte, or below SLOWEST
SLOWEST = 1_000  # bytes a second: less than this, and the line has as good as stalled
ATTEMPTS = 3
FIRST_WAIT_S = 0.5  # on average half of it is waited, then of twice as much, and so on
LONGEST_WAIT_S = 10.0
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be better a moment later


@dataclass(frozen=True)
class Patience:
    """How long a transfer is given, in seconds, and how many attempts."""

    connect_s: float = CONNECT_S
    read_s: float = READ_S
    attempts: int = ATTEMPTS
    first_wait_s: float = FIRST_WAIT_S


class _Passing(SourceUnavailable):
    """This attempt failed; the next may not. The server may have said how long to wait."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        self.wait_s = min(wait_s, LONGEST_WAIT_S)
        super().__init__(reason)


def fetch(url: str, part: Path, max_bytes: int, patience: Patience = Patience()) -> None:
    """Bring the file at `url` to `part`, going on from what is there already.

    Raises:
        SourceUnavailable: not reachable or not there, after all attempts; says why.
        DataError: larger than `max_bytes`.
        OutputError: `part` cannot be written.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(_Passing),
        stop=stop_after_attempt(patience.attempts),
        wait=_wait(patience),
        before_sleep=_say,
        reraise=True,
    )
    with _client(patience) as client, _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        retrying(_attempt, client, url, part, max_bytes, patience)


def shown(url: str) -> str:
    """`url` without a password or a query, which may be secret."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None))
    except httpx.InvalidURL:
        return url


def forget(part: Path) -> None:
    """Remove a part file and what is known of it."""
    with _writing(part):
        _validator_file(part).unlink(missing_ok=True)
        part.unlink(missing_ok=True)


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Errors of writing, as ours. httpx's own errors are no OSErrors."""
    try:
        yield
    except OSError as error:
        raise OutputError(part, error) from error


def _wait(patience: Patience) -> Callable[[RetryCallState], float]:
    jittered = backoff(multiplier=patience.first_wait_s, max=LONGEST_WAIT_S)

    def wait_s(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        asked_s = failure.wait_s if isinstance(failure, _Passing) else 0.0
        return max(asked_s, jittered(state))

    return wait_s


def _say(state: RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    print(f"  attempt {state.attempt_number}: {failure}; trying again", flush=True)


def _client(patience: Patience) -> httpx.Client:
    timeout = httpx.Timeout(patience.read_s, connect=patience.connect_s)
    try:
        # identity: lengths and positions then count the file's own bytes
        return httpx.Client(timeout=timeout, follow_redirects=True, headers={"Accept-Encoding": "identity"})
    except (ValueError, ImportError, OSError) as error:  # proxies, certificates
        raise SourceUnavailable(f"the network settings cannot be used ({error})") from error


def _attempt(client: httpx.Client, url: str, part: Path, max_bytes: int, patience: Patience) -> None:
    start, validator = _arrived(part)
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    try:
        with client.stream("GET", url, headers=headers) as response:
            _check_status(response, part)
            start = _begin(response, part, start, validator)
            _store(response, part, start, max_bytes, patience)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise SourceUnavailable(f"cannot be asked ({error})") from error
    except httpx.TimeoutException as error:
        raise _Passing("timed out") from error
    except httpx.RequestError as error:
        raise _Passing(f"the connection failed ({str(error) or type(error).__name__})") from error


def _check_status(response: httpx.Response, part: Path) -> None:
    status = response.status_code
    said = f"answered {status} {response.reason_phrase}".rstrip()
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        forget(part)
        raise _Passing(said)
    if status in PASSING:
        after = response.headers.get("Retry-After", "")
        raise _Passing(said, float(after) if after.isdecimal() else 0.0)
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise SourceUnavailable(said)


def _begin(response: httpx.Response, part: Path, start: int, validator: str) -> int:
    """Position in the file at which the response begins; the part file is made to end there."""
    ours = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        same = _validator(response) in ("", validator)
        if ours is None or int(ours[1]) != start or not same:
            forget(part)
            raise _Passing("sent another piece than the one asked for")
        return start
    forget(part)
    part.touch()
    _validator_file(part).write_text(_validator(response), encoding="utf-8")
    return 0


def _store(response: httpx.Response, part: Path, start: int, max_bytes: int, patience: Patience) -> None:
    """Append the response's body to the part file."""
    announced = response.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdecimal() else None
    _check_size(total or start, max_bytes)
    began, size = time.monotonic(), start
    with part.open("ab") as file, _progress(part.name, start, total) as show:
        for piece in response.iter_raw():
            size += len(piece)
            _check_size(size, max_bytes)
            file.write(piece)
            show(size)
            elapsed_s = time.monotonic() - began
            if elapsed_s > patience.read_s and size - start < SLOWEST * elapsed_s:
                raise _Passing(f"sent fewer than {SLOWEST:,} bytes a second")
    if total is not None and size < total:
        raise _Passing(f"sent {size:,} of {total:,} bytes")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataError(f"the file has {size:,} bytes or more, expected at most {max_bytes:,} (max_bytes)")


def _validator(response: httpx.Response) -> str:
    """What tells this version of the file from others; empty if nothing does. Weak ETags do not."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _arrived(part: Path) -> tuple[int, str]:
    """Bytes that need not be asked for again, and the validator of the file they belong to."""
    try:
        size, validator = part.stat().st_size, _validator_file(part).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return 0, ""
    return (size, validator) if validator else (0, "")


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Function that shows how many bytes have arrived: a bar on a terminal, nothing in a log."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console  # slow, and needed on a terminal alone
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total, completed=start)
        yield lambda size: bar.update(task, completed=size)
