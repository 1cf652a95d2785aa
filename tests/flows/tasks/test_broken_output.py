"""Runs whose output nobody reads any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.root import ROOT

PROGRAM = """
from prefect.logging import get_logger
from flows.tasks.own_settings import own_flow

own_flow("talk")(lambda: None)
for number in range(3):
    get_logger("runs").warning("line %s", number)
open("done", "w").close()
"""


@pytest.mark.farm
def test_log_lines_without_a_reader_end_nothing(tmp_path: Path) -> None:
    """Prefect's log lines to a pipe whose reader has gone do not end the process."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    try:
        subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, stdout=writer, stderr=writer)
    finally:
        os.close(writer)
    assert (tmp_path / "done").exists()
