"""The download stage as a program: full and read-only disks, imports, and the progress bar."""

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
from tests.support.download_project import ARGUMENTS, FAILED, RAW, set_mirror
from tests.support.http_server import Server, serve
from tests.support.root import ROOT
from tests.support.tiny_data import expect_error, save, snapshot, tiny_arrays, write_params


@pytest.fixture
def small_disk(project: Path) -> Iterator[Path]:
    """A file system of 1 MiB at data/raw."""
    RAW.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", RAW], capture_output=True)
    if mount.returncode:
        pytest.skip("cannot mount a small file system here")
    yield RAW
    subprocess.run(["umount", RAW], check=True)


def write_large_dataset(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a data set of about 2 MiB to the mirror."""
    arrays = tiny_arrays(train=4_000, shape=(24, 24))
    save(set_mirror(project / "mirror", monkeypatch), arrays)
    section = {"title": "Large", "url": "http://127.0.0.1:9/tiny.npz"}
    digests = {name: digest(array) for name, array in arrays.items()}
    write_params(project, tiny=section | {"sha256": digests})


def test_full_disk(
    small_disk: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk the earlier outputs stay unchanged, and no partial files remain."""
    earlier = {"dataset.npz": b"earlier", "dataset.json": b"earlier"}
    for name, content in earlier.items():
        (RAW / name).write_bytes(content)
    write_large_dataset(project, monkeypatch)
    code, error = expect_error(download.main, ARGUMENTS, capsys)
    assert (code, "cannot write data/raw/dataset.npz: No space left on device" in error) == (FAILED, True)
    assert snapshot(RAW) == earlier


def test_read_only_folder(
    small_disk: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a read-only folder the stage fails with a message of one line."""
    (RAW / "dataset.npz").write_bytes(b"earlier")
    save(set_mirror(project / "mirror", monkeypatch))
    subprocess.run(["mount", "-o", "remount,ro", RAW], check=True)
    code, error = expect_error(download.main, ARGUMENTS, capsys)
    assert (code, "Read-only file system" in error) == (FAILED, True)
    assert snapshot(RAW) == {"dataset.npz": b"earlier"}


def test_file_in_place_of_the_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in place of the output folder is not removed, and the message has its path."""
    save(set_mirror(project / "mirror", monkeypatch))
    RAW.parent.mkdir()
    RAW.write_text("a file")
    code, error = expect_error(download.main, ARGUMENTS, capsys)
    assert (code, "cannot write data/raw/dataset" in error) == (FAILED, True)
    assert RAW.read_text() == "a file"


@pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit on this machine")
def test_download_above_the_free_space(project: Path, server: Server) -> None:
    """If the part file cannot be written, the message has its path. Here a size limit replaces a full disk."""
    server.respond_with(serve(bytes(200_000)))
    limited = ["prlimit", "--fsize=100000", sys.executable, "-m", "stages.download", *ARGUMENTS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == FAILED
    assert result.stderr.startswith("error: cannot write .inkflow/downloads/tiny-")
    assert result.stderr.count("\n") == 1


def test_data_stages_import_no_training_libraries() -> None:
    """The stages download and prepare import neither TensorFlow nor Keras, and scikit-learn only if needed."""
    program = (
        "import sys; from stages.download import download; from stages.prepare import prepare; "
        "unwanted = {'tensorflow', 'keras', 'sklearn', 'prefect', 'dvc'}; "
        "print(sorted(unwanted & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_progress_bar_on_a_terminal(project: Path, server: Server, content: bytes) -> None:
    """On a terminal a progress bar shows the received bytes."""
    server.respond_with(serve(content))
    reader, terminal = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "stages.download", *ARGUMENTS]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=terminal, timeout=240)
    os.close(terminal)
    output = os.read(reader, 100_000).decode()
    os.close(reader)
    assert result.returncode == 0
    assert "tiny-" in output
    assert "100%" in output
