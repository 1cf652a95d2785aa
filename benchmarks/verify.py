"""Whether this machine makes the same bytes again: `inkflow verify` on a finished run, every stage anew.

python -m benchmarks.verify [--project FOLDER]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks import common


def main() -> None:
    """Run all stages of the project again in a clean folder, and count how their outputs compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder of the finished run (default: this one)")
    given = parser.parse_args()
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "flows", "verify", "--json"],
        cwd=given.project,
        env=os.environ | {"PYTHONPATH": str(common.ROOT)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if not done.stdout:  # mostly because the project is not up to date
        sys.exit(done.stderr)
    rows = json.loads(done.stdout)["outputs"]
    verdicts = Counter(row["verdict"] for row in rows)
    common.report(
        "inkflow verify: all stages run again in a clean folder",
        "the same bytes in every output",
        seconds={"inkflow verify": round(seconds, 1)},
        runs=1,
        stages=len({row["stage"] for row in rows}),
        outputs=len(rows),
        **{verdict.replace(" ", "_"): count for verdict, count in sorted(verdicts.items())},
    )


if __name__ == "__main__":
    main()
