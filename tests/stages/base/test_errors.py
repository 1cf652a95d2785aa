"""Errors say what helps against them."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base.errors import OutputError
from stages.base.files import write_text
from tests.support.root import ROOT


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("folder", "Is a directory; it is a folder: name a file in it"),
        ("file/x.txt", "File exists; a part of its path is a file: name another path"),
        ("x" * 300, "File name too long; choose a shorter name"),
        ("/proc/x.txt", "No such file or directory; name another path"),
    ],
)
def test_output_error_advises_what_fits(tmp_path: Path, place: str, advice: str) -> None:
    """Nobody is told to free space where a folder stands in the way."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / place, "text")
    assert str(caught.value) == f"cannot write {tmp_path / place}: {advice}"


def test_output_that_grows_beyond_a_limit(tmp_path: Path) -> None:
    """A file that may not grow as large as it should leaves the earlier one, and says which limit it is."""
    (tmp_path / "x.txt").write_text("earlier")
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom stages.base.errors import exit_with\n"
        "from stages.base.files import write_text\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.exit(exit_with(lambda: write_text(Path('x.txt'), 'a' * 100_000)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: cannot write x.txt: File too large; raise the limit on the size of files (ulimit -f), then run again\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "earlier"
