"""How long the report of a finished run takes, interpreter's start included, and how large its page is.

python -m benchmarks.report [--project FOLDER] [--runs 3]
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common


def timed(project: Path, out: Path) -> float:
    """Seconds that the stage `report` took as a process of its own on the results in `project`."""
    environment = os.environ | {"PYTHONPATH": str(common.ROOT)}  # the project may be results alone
    command = [sys.executable, "-m", "stages.report", "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:  # mostly because nothing was trained there
        sys.exit(done.stderr)
    return time.perf_counter() - start


def main() -> None:
    """Write the report several times, somewhere else than where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder of the finished run (default: this one)")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        seconds = [timed(given.project, out) for _ in range(given.runs)]
        rows = csv.DictReader((out / "metrics.csv").read_text().splitlines())
        models = [row for row in rows if row["network"]]  # without that of the trivial answer
        megabytes = (out / "index.html").stat().st_size / 1e6
    common.report(
        f"the report of {len(models)} models on {int(models[0]['test_samples']):,} test images",
        "at most 30 s, page below 5 MB",
        seconds={"python -m stages.report": common.median(seconds)},
        runs=given.runs,
        page_mb=round(megabytes, 2),
    )


if __name__ == "__main__":
    main()
