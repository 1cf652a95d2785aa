"""The sources of the download stage: their order, their files, and rejected files."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.data.datasets import read_description
from stages.download import download
from tests.support.download_project import (
    ARGUMENTS,
    INVALID,
    RAW,
    UNAVAILABLE,
    RunFailing,
    parts,
    run_download,
    set_mirror,
)
from tests.support.http_server import Server, serve
from tests.support.root import ROOT
from tests.support.tiny_data import save, tiny_arrays, write_params

REAL_MIRROR = Path(os.environ.get("INKFLOW_MIRROR") or ROOT.parent / "shared" / "data").resolve()


def test_file_is_downloaded_from_its_address(
    project: Path, server: Server, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address in params.yaml is requested once, the log has plain lines, and no part file remains."""
    server.respond_with(serve(content))
    assert list(run_download()) == ["dataset.json", "dataset.npz", "groups.npz"]
    assert server.paths == ["/tiny.npz"]
    assert parts() == []
    output = capsys.readouterr()
    assert output.out.startswith(f"{server.url}/tiny.npz: used, its content is as expected\nx_train: uint8 (40, 8, 9)")
    assert output.err == ""
    description = read_description(RAW / "dataset.json")
    assert (description.name, description.classes, description.stand_in_for) == ("tiny", 4, None)


@pytest.mark.parametrize("relative", [False, True])
def test_mirror_folder_goes_first(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """A mirror that is a folder, absolute or relative, is used without any request."""
    save(set_mirror(Path("mirror") if relative else project / "mirror", monkeypatch))
    run_download()
    assert server.paths == []


def test_mirror_address_goes_first(
    project: Path,
    server: Server,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror that is an address must have <name>.npz below it, and its password is not printed."""
    monkeypatch.setenv("INKFLOW_MIRROR", server.url.replace("//", "//user:secret@") + "/base/")
    server.respond_with(serve(content))
    run_download()
    assert server.paths == ["/base/tiny.npz"]
    assert "secret" not in capsys.readouterr().out


def test_mirror_without_the_file_is_skipped(
    project: Path,
    server: Server,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror without the file is skipped, and the log has one line about it."""
    path = set_mirror(project / "empty", monkeypatch)
    server.respond_with(serve(content))
    run_download()
    assert capsys.readouterr().out.startswith(f"mirror {path}: not used, there is no such file\n")


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_mirror_with_a_pipe_is_skipped(
    project: Path,
    server: Server,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    put: Callable[[Path], None],
) -> None:
    """A pipe, which would block, or a folder in place of the file is no source."""
    path = set_mirror(project / "mirror", monkeypatch)
    path.parent.mkdir()
    put(path)
    server.respond_with(serve(content))
    run_download()
    assert capsys.readouterr().out.startswith(f"mirror {path}: not used, is no regular file\n")


def test_keras_cache_comes_last(project: Path, server: Server, tmp_path: Path) -> None:
    """The cache of Keras is used if the address fails."""
    save(tmp_path / "keras" / "datasets" / "tiny.npz")
    run_download()
    assert server.paths == ["/tiny.npz"]


def test_container_does_not_matter(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file and an uncompressed file with another order of arrays give the same bytes."""
    save(set_mirror(project / "mirror", monkeypatch))
    from_mirror = run_download()
    monkeypatch.delenv("INKFLOW_MIRROR")
    shutil.rmtree(RAW)
    container = io.BytesIO()
    with zipfile.ZipFile(container, "w") as archive:
        for name, array in reversed(tiny_arrays().items()):
            entry = io.BytesIO()
            np.save(entry, array)
            archive.writestr(f"{name}.npy", entry.getvalue())
    server.respond_with(serve(container.getvalue()))
    assert run_download() == from_mirror


def test_digits_need_no_network(project: Path, server: Server) -> None:
    """The digits are written without any request, and dataset.json names the data set that they replace."""
    write_params(project, dataset="digits")
    run_download()
    description = json.loads((RAW / "dataset.json").read_text())
    assert (description["stand_in_for"], description["classes"]) == ("tiny", 10)
    assert description["arrays"]["x_test"]["shape"] == [360, 28, 28]
    assert server.paths == []


@pytest.mark.mnist
@pytest.mark.skipif(not (REAL_MIRROR / "mnist.npz").exists(), reason="no folder with mnist.npz: set INKFLOW_MIRROR")
def test_real_mnist_matches_params(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real MNIST in the mirror has the digests in the project's params.yaml."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(REAL_MIRROR))
    assert download.main([*ARGUMENTS, "--params", str(ROOT / "params.yaml")]) == 0
    description = read_description(RAW / "dataset.json")
    assert description.arrays["x_train"].shape == (60_000, 28, 28)
    assert description.classes == 10


def test_message_lists_all_sources(run_failing: RunFailing, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no source has the file, the message lists every source with its reason, and two remedies."""
    monkeypatch.setenv("INKFLOW_MIRROR", "nowhere")
    code, error = run_failing()
    assert code == UNAVAILABLE
    for part in (
        "cannot get tiny (mirror nowhere/tiny.npz: there is no such file; ",
        f"{server.url}/tiny.npz: answered 404 Not Found; Keras's cache ",
        "set INKFLOW_MIRROR to a folder or address that holds tiny.npz, ",
        "inkflow run --dataset digits",
    ):
        assert part in error


INVALID_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a zip": (lambda path: path.write_bytes(b"<html>"), "not a zip file"),
    "truncated": (lambda path: path.write_bytes(save(path).read_bytes()[:-60]), "damaged or cut short"),
    "missing array": (lambda path: save(path, {"x_test": None}), "the array x_test is missing"),
    "wrong rank": (
        lambda path: save(path, {"x_test": np.zeros((12, 72), np.uint8)}),
        "x_test has shape (12, 72)",
    ),
    "objects": (lambda path: save(path, {"y_test": np.array([None] * 12)}), "pickled Python objects"),
    "bomb": (
        lambda path: save(path, {"x_test": np.zeros((10**6, 64), np.uint8)}),
        "expected at most 1,000,000",
    ),
    "wrong digest": (
        lambda path: save(path, {"x_test": np.zeros((12, 8, 9), np.uint8)}),
        "x_test has sha256",
    ),
}


@pytest.mark.parametrize("kind", INVALID_FILES)
@pytest.mark.parametrize("location", ["mirror", "address", "cache"])
def test_invalid_file_is_reported_with_its_source(
    run_failing: RunFailing,
    project: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    location: str,
) -> None:
    """An invalid file stops the search at its source; the message names the source and has a remedy."""
    write_params(project, f"{server.url}/tiny.npz", tiny={"max_bytes": 1_000_000})
    folder = {"mirror": project / "mirror", "address": tmp_path, "cache": tmp_path / "keras/datasets"}[location]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.npz"
    write, message = INVALID_FILES[kind]
    write(path)
    if location == "mirror":
        set_mirror(folder, monkeypatch)
    elif location == "address":
        server.respond_with(serve(path.read_bytes()))
    code, error = run_failing()
    labels = {
        "mirror": f"mirror {path}",
        "address": f"{server.url}/tiny.npz",
        "cache": f"Keras's cache {path}",
    }
    assert code == INVALID
    assert error.startswith(f"error: {labels[location]}: ")
    assert message in error
    assert "fix or remove this source, or set INKFLOW_MIRROR" in error
    assert len(server.paths) == (location != "mirror")
    assert parts() == []


def test_params_are_checked_first(run_failing: RunFailing, project: Path, server: Server) -> None:
    """A mistake in params.yaml stops the stage before the first request."""
    write_params(project, "gopher://x/tiny.npz")
    code, error = run_failing()
    assert (code, "datasets.tiny.url" in error) == (INVALID, True)
    assert server.paths == []
