"""An unfinished download goes on from the bytes that are as they were received, and from no others."""

import json
from pathlib import Path

import pytest

from stages.download.part_file import RECORD_BYTES, PartFile
from tests.support.download_project import UNAVAILABLE, RunFailing, parts, run_download
from tests.support.http_server import Server, serve, status, truncate

RECEIVED = 1_000


@pytest.fixture
def begun(run_failing: RunFailing, server: Server, content: bytes) -> tuple[Path, Path]:
    """The part file of a download that was cut off, and its record; the server sends the right file from now on."""
    server.respond_with(truncate(content, RECEIVED), status(404))
    assert run_failing()[0] == UNAVAILABLE
    server.respond_with(serve(content))
    part, record = parts()
    return part, record


def edited(record: Path, **values: object) -> None:
    """Changes values of a record."""
    record.write_text(json.dumps(json.loads(record.read_bytes()) | values))


def test_bytes_as_recorded_are_kept(begun: tuple[Path, Path], server: Server) -> None:
    """Only the rest is requested."""
    run_download()
    assert server.headers[-1]["Range"] == f"bytes={RECEIVED}-"


def test_bytes_after_the_recorded_ones_are_requested_again(begun: tuple[Path, Path], server: Server) -> None:
    """A killed process may have written bytes that no record vouches for."""
    part, _ = begun
    part.write_bytes(part.read_bytes() + b"half written")
    run_download()
    assert server.headers[-1]["Range"] == f"bytes={RECEIVED}-"


@pytest.mark.cases(2)
@pytest.mark.parametrize("damage", ["a byte", "cut short", "emptied", "removed", "other record", "no record", "size"])
def test_damaged_bytes_are_downloaded_again(begun: tuple[Path, Path], server: Server, damage: str) -> None:
    """Bytes that are not as recorded start the download over; the server is not blamed for them."""
    part, record = begun
    received = part.read_bytes()
    if damage == "a byte":
        part.write_bytes(bytes([received[0] ^ 1]) + received[1:])
    elif damage in ("cut short", "emptied"):
        part.write_bytes(received[: RECEIVED // 2 if damage == "cut short" else 0])
    elif damage == "other record":
        edited(record, sha256="0" * 64)
    elif damage == "size":
        edited(record, size=10**18)
    else:
        (part if damage == "removed" else record).unlink()
    run_download()
    assert "Range" not in server.headers[-1]


@pytest.mark.parametrize("text", ['"é"', '{"validator": "é", "size": 1000, "sha256": ""}', "", "[" * 100_000])
def test_record_that_cannot_be_used(begun: tuple[Path, Path], server: Server, text: str) -> None:
    """A record that is not as Inkflow writes it starts the download over."""
    _, record = begun
    record.write_text(text, encoding="utf-8")
    run_download()
    assert "Range" not in server.headers[-1]


def test_large_download_is_recorded_on_its_way(tmp_path: Path) -> None:
    """A kill loses the bytes since the last record, and no more."""
    part = PartFile(tmp_path / "large.part")
    part.start('"one"')
    with part.appending() as append:
        append(bytes(RECORD_BYTES - 1))
        append(b"1")  # a buffer may hold it when the record is written
        append(b"more")
        later = PartFile(part.path)
        later.resume()
        assert (later.size, later.validator) == (RECORD_BYTES, '"one"')


def test_bytes_of_no_known_version_are_not_kept(tmp_path: Path) -> None:
    """What a server sends without a validator cannot be continued: nothing says that it is still the same file."""
    part = PartFile(tmp_path / "unknown.part")
    part.start("")
    with part.appending() as append:
        append(b"some")
    assert part.path.read_bytes() == b"some" and [*tmp_path.iterdir()] == [part.path]
    part.resume()
    assert (part.size, [*tmp_path.iterdir()]) == (0, [])


def test_an_attempt_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    """One object serves all attempts: each takes up what is recorded, adds to it, or starts over."""
    part = PartFile(tmp_path / "some.part")
    for number in range(3):
        part.resume()
        assert part.size == 4 * number
        if not number:
            part.start('"one"')
        with part.appending() as append:
            append(b"next")
    part.start('"two"')
    assert (part.size, part.validator, part.path.exists()) == (0, '"two"', False)
    with part.appending() as append:
        append(b"next")
    assert part.path.stat().st_mode & 0o111 == 0
    part.path.write_bytes(b"Next")
    part.resume()
    assert part.size == 0


def test_a_record_that_is_a_link(tmp_path: Path) -> None:
    """A link in place of the record is removed with the bytes; the file behind it stays."""
    part, own = PartFile(tmp_path / "some.part"), tmp_path / "own"
    part.start('"one"')
    with part.appending() as append:
        append(b"next")
    record = next(path for path in tmp_path.iterdir() if path != part.path)
    record.rename(own)
    record.symlink_to(own)
    part.resume()
    assert (part.size, [*tmp_path.iterdir()]) == (0, [own])


def test_a_link_that_comes_during_a_download(tmp_path: Path) -> None:
    """No byte goes into another file, whatever lies in place of the part file by then."""
    part, own = PartFile(tmp_path / "some.part"), tmp_path / "own"
    own.write_text("own")
    part.path.symlink_to(own)
    with pytest.raises(OSError, match="symbolic links"), part.appending() as append:
        append(b"next")
    assert own.read_text() == "own"
