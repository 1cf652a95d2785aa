"""The groups of a data set: their sources, their files, and what is rejected."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.data.datasets import digest
from stages.data.groups import GROUPS_FILE, read_groups
from tests.support.download_project import INVALID, RAW, UNAVAILABLE, RunFailing, run_download, set_mirror
from tests.support.http_server import Server, serve, status
from tests.support.tiny_data import save, write_params

TRAIN, TEST = np.arange(40, dtype="<i4") // 5, np.arange(12, dtype="<i4") // 4 + 100


def idx(numbers: NDArray[Any], rows: int | None = None) -> bytes:
    """Returns an IDX file of int32, packed by gzip, with `numbers` in the second of three columns."""
    table = np.zeros((len(numbers), 3), ">i4")
    table[:, 1] = numbers
    header = bytes((0, 0, 0x0C, 2)) + (rows or len(numbers)).to_bytes(4) + (3).to_bytes(4)
    return gzip.compress(header + table.tobytes())


@pytest.fixture
def groups(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with the data set but without its groups, which have addresses on the server; returns the mirror."""
    save(set_mirror(project / "mirror", monkeypatch))
    section = {
        "noun": "writer",
        "file": "tiny_writers.npz",
        "arrays": {"train": "who_train", "test": "who_test"},
        "urls": {"train": f"{server.url}/train.gz", "test": f"{server.url}/test.gz"},
        "column": 1,
        "sha256": {"train": digest(TRAIN), "test": digest(TEST)},
    }
    write_params(project, f"{server.url}/tiny.npz", tiny={"groups": section}, held_out="groups")
    return project / "mirror"


def test_names_cannot_control_a_terminal(
    groups: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control sequences in the name of a source are not printed."""
    mirror = groups.rename(groups.with_name("mirror\x1b[31m"))
    monkeypatch.setenv("INKFLOW_MIRROR", str(mirror))
    server.respond_with(serve(idx(TRAIN)), serve(idx(TEST)))
    run_download()
    np.savez(mirror / "tiny_writers.npz", who_train=TRAIN, who_test=TEST)
    run_download()
    printed = capsys.readouterr().out
    assert "tiny_writers.npz: not used" in printed and "tiny_writers.npz: used" in printed and "\x1b" not in printed


def test_sources_give_the_same_file(groups: Path, server: Server) -> None:
    """The mirror goes first; the IDX files of the addresses, which may have more rows, give the same bytes."""
    server.respond_with(serve(idx(TRAIN)), serve(idx(np.concatenate([TEST, TEST]))))
    from_addresses = run_download()
    assert server.paths == ["/train.gz", "/test.gz"]
    np.savez(groups / "tiny_writers.npz", who_train=TRAIN.astype(np.int64), who_test=TEST)
    assert run_download() == from_addresses
    assert len(server.paths) == 2
    read = read_groups(RAW / GROUPS_FILE, 40).by_name()
    assert {name: numbers.tolist() for name, numbers in read.items()} == {
        "g_train": TRAIN.tolist(),
        "g_test": TEST.tolist(),
    }


def test_groups_are_fetched_only_where_they_are_held_out(project: Path, groups: Path, server: Server) -> None:
    """Without `held_out: groups`, groups.npz has no arrays and no source is asked."""
    write_params(project, f"{server.url}/tiny.npz")
    assert sorted(run_download()) == ["dataset.json", "dataset.npz", "groups.npz"]
    assert server.paths == []
    assert np.load(RAW / GROUPS_FILE).files == []


def test_missing_groups(groups: Path, run_failing: RunFailing) -> None:
    """If no source has the groups, the message names all of them and both remedies."""
    code, error = run_failing()
    assert code == UNAVAILABLE
    for part in ("tiny_writers.npz: there is no such file", "/train.gz", "INKFLOW_MIRROR", "choose `random` or `last`"):
        assert part in error


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (lambda: idx(TRAIN[::-1]), "the groups of the train part have sha256"),
        (lambda: idx(TRAIN[:39]), "it has 39 rows of 3 columns, expected at least 40 rows"),
        (lambda: idx(TRAIN, rows=10**9)[:-12], "damaged or cut short"),
        (lambda: idx(TRAIN[:30], rows=40), "it ends after 360 bytes of its rows, expected 480"),
        (lambda: gzip.compress(b"\0\0\x08\1" + bytes(90)), "expected an IDX file of int32 with two dimensions"),
        (lambda: b"not gzip", "damaged or cut short"),
        (lambda: gzip.compress(b""), "it begins with b''"),
    ],
)
def test_invalid_idx_file(
    groups: Path, server: Server, run_failing: RunFailing, train: Callable[[], bytes], message: str
) -> None:
    """A source with an invalid file stops the stage in one sentence; earlier outputs stay."""
    server.respond_with(serve(train(), etag=""), serve(idx(TEST)))
    code, error = run_failing()
    assert (code, message in error) == (INVALID, True), error


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (TRAIN[:39], "who_train has shape (39,)"),
        (TRAIN.astype(float), "type float64, expected integers of shape (40,)"),
        (TRAIN.astype(np.int64) + 2**40, "expected numbers of 32 bits"),
    ],
)
def test_invalid_npz_file(groups: Path, server: Server, run_failing: RunFailing, numbers: Any, message: str) -> None:
    """The mirror's arrays are checked before anything is written."""
    server.respond_with(status(404))
    np.savez(groups / "tiny_writers.npz", who_train=numbers, who_test=TEST)
    code, error = run_failing()
    assert (code, message in error) == (INVALID, True), error


def test_groups_of_the_training_part_alone(groups: Path, server: Server) -> None:
    """Where only the groups of the training samples are known, each source gives these, and no more is asked for."""
    section = {"file": "tiny_writers.npz", "column": 1, "sha256": {"train": digest(TRAIN)}}
    urls = {"train": f"{server.url}/train.gz"}
    write_params(Path(), f"{server.url}/tiny.npz", tiny={"groups": section | {"urls": urls}}, held_out="groups")
    server.respond_with(serve(idx(TRAIN)))
    from_address = run_download()
    assert server.paths == ["/train.gz"]
    np.savez(groups / "tiny_writers.npz", g_train=TRAIN)
    assert run_download() == from_address
    read = read_groups(RAW / GROUPS_FILE, 40)
    assert (read.train.tolist(), read.test) == (TRAIN.tolist(), None)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"urls": {"train": "http://h/a"}}, "has a digest of the test part in `sha256`, but `urls` does not name"),
        ({"arrays": {"train": "who"}}, "has a digest of the test part in `sha256`, but `arrays` does not name"),
    ],
)
def test_parts_that_differ(project: Path, run_failing: RunFailing, section: dict[str, Any], message: str) -> None:
    """A digest of a part that has no name is a mistake in params.yaml."""
    content = {"file": "a.npz", "sha256": {"train": "0" * 64, "test": "0" * 64}} | section
    write_params(project, tiny={"groups": content}, held_out="groups")
    assert message in run_failing()[1]
