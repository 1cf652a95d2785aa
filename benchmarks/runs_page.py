"""How long `inkflow report --runs` takes for many experiments, how large its page is, and when the page answers.

python -m benchmarks.runs_page [--experiments 300] [--runs 3]

CPU time of the command as a process of its own, imports included. In headless Chromium: until the table answers, and
until all charts are drawn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.support.many_versions import ManyVersions, Point, experiments, first_point
from benchmarks.support.processor import children_s

PAGE = Path(".inkflow/report/runs.html")
COMMITS = 30


def make(folder: Path, count: int) -> None:
    """Makes the project: 30 commits, and experiments of three sweeps on the last one."""
    project, point = ManyVersions(folder, samples=10_000), first_point()
    last: tuple[int, ...] = ()
    for number in range(COMMITS):
        changed = point.with_model("cnn", epochs=2 + number)
        changed = Point(changed.models, "digits" if number < COMMITS // 3 else "mnist")
        last = (project.commit(changed, f"epochs {2 + number}", parents=last),)
    project.finish(dict(experiments(count)))


def command_s(project: Path) -> float:
    """Returns the CPU seconds of the command and its programs."""
    environment = os.environ | {"PYTHONPATH": str(common.ROOT)}
    start = children_s()
    command = [sys.executable, "-P", "-m", "flows", "report", "--runs"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    return children_s() - start


def page_ms(page: Path) -> tuple[int, int]:
    """Returns the milliseconds from the start of loading until the table answers, and until the charts are drawn."""
    from tests.support.chromium import open_chromium  # late: only this part needs a browser

    with open_chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
        table, ready = (tab.evaluate(f"document.documentElement.dataset.{name}") for name in ("table", "ready"))
    return int(table), int(ready)


def main() -> None:
    """Make the project, measure, print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "project"
        make(project, given.experiments)
        seconds = [command_s(project) for _ in range(given.runs)]
        times = [page_ms(project / PAGE) for _ in range(given.runs)]
        megabytes = (project / PAGE).stat().st_size / 1e6
    common.report(
        f"the page over {COMMITS} commits and {given.experiments} experiments with 10,000 test images",
        "at most 30 s of CPU time, page below 5 MB, table within 1 s",
        processor_s=common.median(seconds),
        runs=given.runs,
        page_mb=round(megabytes, 2),
        table_ms=round(statistics.median(table for table, _ in times)),
        charts_ms=round(statistics.median(ready for _, ready in times)),
    )


if __name__ == "__main__":
    main()
