"""The whole pipeline, cold: `inkflow run --jobs 2` on the five systems against the five plain scripts one by one."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import common
from benchmarks.support.measure import Side, compare, seconds_of

JOBS = "2"


def fresh_clone(folder: Path) -> None:
    """The committed state in an empty folder, with the five systems and nothing cached."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(common.ROOT), str(folder)], check=True)
    models = common.read_params()["models"]
    common.params_with(folder, {"models": {name: models[name] for name in common.SYSTEMS}})


def scripts(mnist: Path) -> float:
    """Wall time of the five plain scripts, one after another, imports included."""
    started = time.perf_counter()
    for system in common.SYSTEMS:
        common.plain(system, mnist)
    return time.perf_counter() - started


def main() -> None:
    """Both sides in turn. The pipeline also prepares, exports, examines and reports; the scripts only train."""
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    clone = given.work / "clone"
    environment = {"INKFLOW_MIRROR": str(given.mnist.parent), "PYTHONPATH": str(clone)}
    environment |= {name: "" for name in ("PREFECT_API_URL",) if name in os.environ}
    command = (sys.executable, "-m", "flows", "run", "--jobs", JOBS)
    sides = [
        Side(
            f"inkflow run --jobs {JOBS}",
            lambda: fresh_clone(clone),
            lambda: seconds_of(*command, folder=clone, environment=environment),
        ),
        Side("five plain scripts", dict, lambda: scripts(given.mnist)),
    ]
    compare("the whole pipeline of five models, cold", sides, given.runs, "ratio at most 0.45", warm_up=0)


if __name__ == "__main__":
    main()
