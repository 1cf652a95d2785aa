"""Downloads one file over HTTP with timeouts, retries, resumption and a size limit.

The received bytes stay in a part file. The next attempt, in this run or in a later one, requests only the rest, on the
condition (If-Range) that the file on the server is unchanged. A server may answer with a part of the rest, after which
the next one is requested. `Exchange` bounds bytes and time of each request.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from stages.base.errors import DataError, OutputError, SourceUnavailable
from stages.base.shown_text import network_reason, shown_text
from stages.download.exchange import Exchange, TransientError
from stages.download.part_file import VALIDATOR, PartFile

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0  # without data, below MIN_BYTES_PER_S, or for the head of a response
ATTEMPTS = 3
FIRST_WAIT_S = 0.5  # upper limit of the first random wait; it doubles with each attempt
MAX_WAIT_S = 10.0
BACKOFF = wait_random_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)
MAX_REDIRECTS = 20
MAX_RANGES = 100  # requests of one attempt to a server that sends a part of the rest each time
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)


def fetch(url: str, part: Path, max_bytes: int, read_timeout_s: float = READ_TIMEOUT_S) -> None:
    """Downloads the file at `url` to the part file `part`, and resumes an earlier download.

    Raises:
        SourceUnavailable: all attempts failed, or the server has no such file; the message has the reason.
        DataError: the file is larger than `max_bytes`.
        OutputError: `part` cannot be written.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait_s,
        before_sleep=_log_retry,
        reraise=True,
    )
    with _client(read_timeout_s) as client, _write_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        retrying(_attempt, client, url, PartFile(part), max_bytes, read_timeout_s)


def remove_part(part: Path) -> None:
    """Removes the part file `part` and its record."""
    with _write_errors(part):
        PartFile(part).remove()


@contextmanager
def _write_errors(part: Path) -> Iterator[None]:
    """Converts an OSError to an OutputError. The errors of httpx are no OSErrors."""
    try:
        yield
    except OSError as error:
        raise OutputError(part, error) from error


def _wait_s(state: RetryCallState) -> float:
    """Returns an exponential backoff with jitter, or the wait that the server requests if it is longer."""
    error = state.outcome.exception() if state.outcome else None
    requested_s = error.wait_s if isinstance(error, TransientError) else 0.0
    return max(min(requested_s, MAX_WAIT_S), BACKOFF(state))


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    print(f"  attempt {state.attempt_number}: {shown_text(str(error))}; trying again", flush=True)


def _client(read_timeout_s: float) -> httpx.Client:
    timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    try:
        # identity: lengths and positions count the bytes of the file, not of a compressed transfer
        headers = {"Accept-Encoding": "identity"}
        return httpx.Client(timeout=timeout, headers=headers, limits=httpx.Limits(max_keepalive_connections=0))
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:  # proxies, certificates
        raise SourceUnavailable(f"the network settings cannot be used ({network_reason(error)})") from error


def _attempt(client: httpx.Client, url: str, part: PartFile, max_bytes: int, read_timeout_s: float) -> None:
    part.resume()
    for _ in range(MAX_RANGES):
        before = part.size
        total = _request(client, url, part, max_bytes, read_timeout_s)
        if total is None or part.size == total:
            return
        if part.size > total:
            part.remove()
            raise TransientError(f"sent more than the {total:,} bytes of its header")
        if not part.validator or part.size == before:
            break
    raise TransientError(f"sent {part.size:,} of {total:,} bytes")


def _request(client: httpx.Client, url: str, part: PartFile, max_bytes: int, read_timeout_s: float) -> int | None:
    """Requests the rest of the file and appends what comes; returns the size of the file, if the server tells it."""
    headers = {"Range": f"bytes={part.size}-", "If-Range": part.validator} if part.size else {}
    exchange = Exchange(read_timeout_s)
    try:
        request = client.build_request("GET", url, headers=headers, extensions={"trace": exchange.trace})
        with closing(_follow_redirects(client, request, exchange)) as response:
            _check_status(response, part)
            size = _prepare_part(response, part)
            return _append_body(response, part, size, max_bytes, exchange)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise SourceUnavailable(f"cannot be requested ({network_reason(error)})") from error
    except httpx.TimeoutException as error:
        raise TransientError("timed out") from error
    except httpx.RequestError as error:
        raise TransientError(f"the connection failed ({str(error) or type(error).__name__})") from error


def _follow_redirects(client: httpx.Client, request: httpx.Request, exchange: Exchange) -> httpx.Response:
    """Returns the first response that is no redirect; the bodies of redirects are not read, as httpx would do."""
    for _ in range(MAX_REDIRECTS + 1):
        exchange.open(request.url)
        response = client.send(request, stream=True)
        if response.next_request is None:
            return response
        response.close()
        request = response.next_request
    raise httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)


def _check_status(response: httpx.Response, part: PartFile) -> None:
    status = response.status_code
    message = f"answered {status} {response.reason_phrase}".rstrip()
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.remove()
        raise TransientError(message)
    if status in RETRYABLE_STATUSES:
        retry_after = response.headers.get("Retry-After", "")
        raise TransientError(message, float(retry_after) if retry_after.isdecimal() else 0.0)
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise SourceUnavailable(message)


def _prepare_part(response: httpx.Response, part: PartFile) -> int | None:
    """Prepares the part file for the body of `response`: the rest of the file, a part of it, or all of the file.

    Returns the size of the file in the header of a range.
    """
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        part.start(_validator(response))
        return None
    content_range = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    is_same_file = _validator(response) in ("", part.validator)
    if content_range is None or int(content_range[1]) != part.size or not is_same_file:
        part.remove()
        raise TransientError("sent another range than requested")
    return int(content_range[2])


def _append_body(
    response: httpx.Response, part: PartFile, size: int | None, max_bytes: int, exchange: Exchange
) -> int | None:
    """Appends the body of `response` to the part file; returns the size of the file, which may be known by `size`."""
    announced = response.headers.get("Content-Length", "")
    end = part.size + int(announced) if announced.isdecimal() else None
    total = size or end
    _check_size(total or part.size, max_bytes)
    exchange.start_body()
    with part.appending() as append, _progress(part.path.name, part.size, total) as update:
        for piece in response.iter_raw():
            exchange.body_bytes += len(piece)
            _check_size(part.size + len(piece), max_bytes)
            append(piece)
            update(part.size)
    if end is not None and part.size < end:
        raise TransientError(f"sent {part.size:,} of {total:,} bytes")
    return total


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataError(f"the file has {size:,} bytes or more, expected at most {max_bytes:,} (max_bytes)")


def _validator(response: httpx.Response) -> str:
    """Returns the strong ETag or the modification time, which identify a version of the file, or "".

    One that no header of a request can hold identifies nothing.
    """
    etag: str = response.headers.get("ETag", "")
    validator: str = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    return validator if VALIDATOR.fullmatch(validator) else ""


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of received bytes; it updates a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console  # slow, and needed only on a terminal
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total, completed=start)
        yield lambda size: bar.update(task, completed=size)
