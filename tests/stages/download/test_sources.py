"""The download stage: its sources in order, what they hold, and what is refused."""

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
from tests.support.download_project import ARGUMENTS, INVALID, RAW, UNAVAILABLE, Refusal, in_mirror, outputs, parts
from tests.support.http_server import (
    Server,
    serve,
)
from tests.support.root import ROOT
from tests.support.tiny_data import save, tiny_arrays, write_params

REAL_MIRROR = Path(os.environ.get("INKFLOW_MIRROR") or ROOT.parent / "shared" / "data").resolve()


def test_file_comes_from_its_address(
    project: Path, server: Server, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address in params.yaml is asked once; the log is plain lines; no debris stays."""
    server.told(serve(content))
    assert list(outputs()) == ["dataset.json", "dataset.npz"]
    assert server.paths == ["/tiny.npz"]
    assert parts() == []
    said = capsys.readouterr()
    assert said.out.startswith(f"{server.url}/tiny.npz: used, its content is as expected\nx_train: uint8 (40, 8, 9)")
    assert said.err == ""
    facts = read_description(RAW / "dataset.json")
    assert (facts.name, facts.classes, facts.stand_in_for) == ("tiny", 4, None)


@pytest.mark.parametrize("relative", [False, True])
def test_mirror_folder_goes_first(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """A mirror that is a folder, absolute or relative, is used without a request to anybody."""
    save(in_mirror(Path("near") if relative else project / "near", monkeypatch))
    outputs()
    assert server.paths == []


def test_mirror_address_goes_first(
    project: Path,
    server: Server,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror that is an address is asked for <name>.npz below it; its password is not printed."""
    monkeypatch.setenv("INKFLOW_MIRROR", server.url.replace("//", "//me:secret@") + "/base/")
    server.told(serve(content))
    outputs()
    assert server.paths == ["/base/tiny.npz"]
    assert "secret" not in capsys.readouterr().out


def test_mirror_without_the_file_gives_way(
    project: Path,
    server: Server,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror that lacks the file is passed over, with one line that says so."""
    path = in_mirror(project / "empty", monkeypatch)
    server.told(serve(content))
    outputs()
    assert capsys.readouterr().out.startswith(f"mirror {path}: not used, there is no such file\n")


def test_keras_cache_comes_last(project: Path, server: Server, tmp_path: Path) -> None:
    """What Keras downloaded earlier is used when the address fails."""
    save(tmp_path / "keras" / "datasets" / "tiny.npz")
    outputs()
    assert server.paths == ["/tiny.npz"]


def test_container_does_not_matter(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed mirror and a server's uncompressed file in other order give the same bytes, both files."""
    save(in_mirror(project / "near", monkeypatch))
    from_mirror = outputs()
    monkeypatch.delenv("INKFLOW_MIRROR")
    shutil.rmtree(RAW)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in reversed(tiny_arrays().items()):
            entry = io.BytesIO()
            np.save(entry, array)
            archive.writestr(f"{name}.npy", entry.getvalue())
    server.told(serve(packed.getvalue()))
    assert outputs() == from_mirror


def test_digits_need_no_network(project: Path, server: Server) -> None:
    """The embedded digits are written without a request, and say for what they stand in."""
    write_params(project, dataset="digits")
    outputs()
    facts = json.loads((RAW / "dataset.json").read_text())
    assert (facts["stand_in_for"], facts["classes"]) == ("tiny", 10)
    assert facts["arrays"]["x_test"]["shape"] == [360, 28, 28]
    assert server.paths == []


@pytest.mark.mnist
@pytest.mark.skipif(not (REAL_MIRROR / "mnist.npz").exists(), reason="no folder with mnist.npz: set INKFLOW_MIRROR")
def test_real_mnist_is_what_params_say(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real MNIST in the mirror has the digests that the project's params.yaml states."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(REAL_MIRROR))
    assert download.main([*ARGUMENTS, "--params", str(ROOT / "params.yaml")]) == 0
    facts = read_description(RAW / "dataset.json")
    assert facts.arrays["x_train"].shape == (60_000, 28, 28)
    assert facts.classes == 10


def test_unavailable_says_what_was_tried(refused: Refusal, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing reachable one sentence lists every source, its reason, and the two ways out."""
    monkeypatch.setenv("INKFLOW_MIRROR", "nowhere")
    code, sentence = refused()
    assert code == UNAVAILABLE
    for words in (
        "cannot get tiny (mirror nowhere/tiny.npz: there is no such file; ",
        f"{server.url}/tiny.npz: answered 404 Not Found; Keras's cache ",
        "set INKFLOW_MIRROR to a folder or address that holds tiny.npz, ",
        "inkflow run --dataset digits",
    ):
        assert words in sentence


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
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


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("where", ["mirror", "address", "cache"])
def test_bad_content_names_its_source(
    refused: Refusal,
    project: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    where: str,
) -> None:
    """A wrong file ends the search at its source, whichever it is: the sentence names it and what to do."""
    write_params(project, f"{server.url}/tiny.npz", tiny={"max_bytes": 1_000_000})
    folder = {"mirror": project / "near", "address": tmp_path, "cache": tmp_path / "keras/datasets"}[where]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.npz"
    make, words = BAD_FILES[kind]
    make(path)
    if where == "mirror":
        in_mirror(folder, monkeypatch)
    elif where == "address":
        server.told(serve(path.read_bytes()))
    code, sentence = refused()
    source = {
        "mirror": f"mirror {path}",
        "address": f"{server.url}/tiny.npz",
        "cache": f"Keras's cache {path}",
    }
    assert code == INVALID
    assert sentence.startswith(f"error: {source[where]}: ")
    assert words in sentence
    assert "mend or remove that source, or set INKFLOW_MIRROR" in sentence
    assert len(server.paths) == (where != "mirror")
    assert parts() == []


def test_wrong_parameters_are_said_first(refused: Refusal, project: Path, server: Server) -> None:
    """A mistake in params.yaml ends the stage before anybody is asked."""
    write_params(project, "gopher://x/tiny.npz")
    code, sentence = refused()
    assert (code, "datasets.tiny.url" in sentence) == (INVALID, True)
    assert server.paths == []
