"""This commit against an earlier one, each in a fresh clone, in turn: a dense training alone, and the default run.

Wall times suffer from other load, processor times (of all processes) less so; both ratios are reported.
"""

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import common
from benchmarks.support.measure import seconds_of

COMMIT = "ecea8b3"  # of 2026-11-28, before the changes of docs/speed.md
PARTS = {"alone": "at most 6 s on a quiet machine", "run": "ratio at most 0.75"}


class Seconds(NamedTuple):
    """Wall time, and processor time of all processes."""

    wall: float
    processor: float


def processor_s() -> float:
    """Processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measured(folder: Path, mirror: Path, *arguments: str) -> Seconds:
    """Runs `python -m *arguments` in the clone `folder`."""
    environment = {"INKFLOW_MIRROR": str(mirror), "PYTHONPATH": str(folder), "PREFECT_API_URL": ""}
    before = processor_s()
    wall = seconds_of(sys.executable, "-m", *arguments, folder=folder, environment=environment)
    return Seconds(wall, processor_s() - before)


def fresh_clone(folder: Path, commit: str) -> None:
    """Clones `commit` into the folder, with nothing cached."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in (["clone", "--quiet", str(common.ROOT), str(folder)], ["-C", str(folder), "checkout", "-q", commit]):
        subprocess.run(["git", *command], check=True)


def default_run(folder: Path, mirror: Path, commit: str) -> Seconds:
    """Seconds of the default run in a fresh clone."""
    fresh_clone(folder, commit)
    return measured(folder, mirror, "flows", "run", "--no-server")


def training_alone(folder: Path, mirror: Path, data: Path) -> Seconds:
    """Seconds of the process that trains `dense`."""
    options = {"--model": "dense", "--data": str(data), "--out": "out", "--checkpoints": "checkpoints"}
    return measured(folder, mirror, "stages.train", *(word for pair in options.items() for word in pair))


def main() -> None:
    """Both commits in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--commit", default=COMMIT, help=f"the earlier commit; default: {COMMIT}")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    given = parser.parse_args()
    work, mirror = given.work / "earlier", given.mnist.parent
    commits = {"now": "HEAD", "earlier": given.commit}
    for side, commit in commits.items():
        commits[side] = subprocess.check_output(["git", "rev-parse", commit], cwd=common.ROOT, text=True).strip()
        fresh_clone(work / side, commits[side])
    common.prepare(given.mnist, work)
    measures: dict[str, Callable[[str], Seconds]] = {
        "alone": lambda side: training_alone(work / side, mirror, work / "prepared"),
        "run": lambda side: default_run(work / side, mirror, commits[side]),
    }
    names = {"alone": "a training of dense alone", "run": "the default run in a fresh clone"}
    for part in given.parts:
        runs = [{side: measures[part](side) for side in commits} for _ in range(given.runs)]
        now, earlier = ([run[side] for run in runs] for side in commits)
        pairs = list(zip(now, earlier, strict=True))
        common.report(
            names[part],
            PARTS[part],
            seconds={
                "now": round(median(one.wall for one in now), 2),
                given.commit: round(median(one.wall for one in earlier), 2),
            },
            ratio=round(median(mine.wall / other.wall for mine, other in pairs), 3),
            ratio_of_processor_times=round(median(mine.processor / other.processor for mine, other in pairs), 3),
            processor_s_now=round(median(one.processor for one in now), 1),
            runs=given.runs,
        )


if __name__ == "__main__":
    main()
