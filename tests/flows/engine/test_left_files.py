"""A run removes the temporary files that killed ones left in Inkflow's own folders, and no file of anyone else."""

from pathlib import Path

import pytest

from flows.cli.main import main
from tests.conftest import Toy

LEFT = (
    ".inkflow/.timings-1.tmp.json",
    ".inkflow/runs/.a-1.tmp.jsonl",
    ".dvc/tmp/inkflow/code/.d2fd8351d505022fa76b78dd88373b3d-1.tmp",
    ".dvc/cache/environments/.d2fd8351d505022fa76b78dd88373b3d-1.tmp",
    ".environment-1.tmp.lock",
)
OWN = ".notes-1.tmp.lock"  # of a person


@pytest.mark.cases(1)
@pytest.mark.parametrize("left", LEFT)
def test_left_files_go(toy: Toy, left: str) -> None:
    """Wherever a write was cut off by a kill."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}\n", "in": "one\n"})
    toy.write({"execution.yaml": "environment: {python: minor, policy: warn}\n"})
    assert main(["run", "--no-server"]) == 0
    toy.write({left: "half", OWN: "mine"})
    assert main(["run", "--no-server"]) == 0
    assert not Path(left).exists() and Path(OWN).exists()
