"""A project of two stages that take half a second each: a run of it, disturbed or not, costs a few seconds."""

from pathlib import Path

from tests.conftest import Toy
from tests.torture.support.crash_project import CrashProject, digests, succeed

SLOWNESS = 0.3  # of its stages, against those of this project with the same names
STAGE = """
import sys, time
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    for line in source:
        target.write(line.strip() + b" " + sys.argv[2].encode() + b"\\n")
        target.flush()
        time.sleep(0.06)
"""
GRAPH = """
stages:
  download:
    cmd: python stage.py in raw
    deps: [stage.py, in]
    outs: [raw]
  prepare:
    cmd: python stage.py raw prepared
    deps: [stage.py, raw]
    outs: [prepared]
"""


def make_toy(scratch: Path) -> CrashProject:
    """Makes the project, of which all is yet to be made, and the digests of an undisturbed run."""
    toy = Toy(scratch / "base")
    toy.write({"dvc.yaml": GRAPH, "stage.py": STAGE, "in": "".join(f"{number}\n" for number in range(10))})
    reference = CrashProject(toy.folder, {}, SLOWNESS).copy(scratch / "reference").folder
    succeed(reference)
    return CrashProject(toy.folder, digests(reference), SLOWNESS)
