"""The download stage as a program: full and read-only disks, imports, the progress bar."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.data.datasets import digest
from stages.download import download
from tests.support.download_project import ARGUMENTS, FAILED, RAW, in_mirror
from tests.support.http_server import (
    Server,
    serve,
)
from tests.support.root import ROOT
from tests.support.tiny_data import refusal, save, snapshot, tiny_arrays, write_params


@pytest.fixture
def small_disk(project: Path) -> Iterator[Path]:
    """A file system of 1 MiB at data/raw."""
    RAW.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", RAW], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield RAW
    subprocess.run(["umount", RAW], check=True)


def big(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the mirror hold a data set of some 2 MiB, without network."""
    arrays = tiny_arrays(train=4_000, shape=(24, 24))
    save(in_mirror(project / "near", monkeypatch), arrays)
    facts = {"title": "Big", "url": "http://127.0.0.1:9/tiny.npz"}
    digests = {name: digest(array) for name, array in arrays.items()}
    write_params(project, tiny=facts | {"sha256": digests})


def test_full_disk(
    small_disk: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk the earlier outputs stay, nothing half-written does, and the sentence says so."""
    outputs_before = {"dataset.npz": b"earlier", "dataset.json": b"earlier"}
    for name, content in outputs_before.items():
        (RAW / name).write_bytes(content)
    big(project, monkeypatch)
    code, sentence = refusal(download.main, ARGUMENTS, capsys)
    assert (code, "cannot write data/raw/dataset.npz: No space left on device" in sentence) == (FAILED, True)
    assert snapshot(RAW) == outputs_before


def test_read_only_folder(
    small_disk: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a read-only folder the stage fails with one sentence."""
    (RAW / "dataset.npz").write_bytes(b"earlier")
    save(in_mirror(project / "near", monkeypatch))
    subprocess.run(["mount", "-o", "remount,ro", RAW], check=True)
    code, sentence = refusal(download.main, ARGUMENTS, capsys)
    assert (code, "Read-only file system" in sentence) == (FAILED, True)
    assert snapshot(RAW) == {"dataset.npz": b"earlier"}


def test_file_in_place_of_the_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder should be is not removed; the sentence names the place."""
    save(in_mirror(project / "near", monkeypatch))
    RAW.parent.mkdir()
    RAW.write_text("mine")
    code, sentence = refusal(download.main, ARGUMENTS, capsys)
    assert (code, "cannot write data/raw/dataset" in sentence) == (FAILED, True)
    assert RAW.read_text() == "mine"


@pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit on this machine")
def test_download_that_outgrows_the_disk(project: Path, server: Server) -> None:
    """When the download itself finds no room, the sentence names its file; here a limit plays the disk."""
    server.told(serve(bytes(200_000)))
    limited = ["prlimit", "--fsize=100000", sys.executable, "-m", "stages.download", *ARGUMENTS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == FAILED
    assert done.stderr.startswith("error: cannot write .inkflow/downloads/tiny-")
    assert done.stderr.count("\n") == 1


def test_stages_do_not_import_the_learning_half() -> None:
    """The two data stages load neither TensorFlow nor Keras, nor scikit-learn unless it is needed."""
    program = (
        "import sys; from stages.download import download; from stages.prepare import prepare; "
        "unwanted = {'tensorflow', 'keras', 'sklearn', 'prefect', 'dvc'}; "
        "print(sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_progress_bar_on_a_terminal(project: Path, server: Server, content: bytes) -> None:
    """On a terminal the arriving bytes are shown."""
    server.told(serve(content))
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "stages.download", *ARGUMENTS]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "tiny-" in shown
    assert "100%" in shown
