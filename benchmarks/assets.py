"""What `assets: true` in execution.yaml costs: processor seconds of the run and of Prefect's server, and events.

    python -m benchmarks.assets --stages 100 --runs 3

Independent trivial stages and a join of all, each run in a new project, with and without assets in turn. The seconds
are user and system time of `inkflow run` with its stages, and of the server.
"""

import argparse
import tempfile
from pathlib import Path

import httpx
import psutil

from benchmarks import common
from benchmarks.support import graphs
from benchmarks.support.measure import NO_TARGET, Side, compare, prefect_server, seconds_of
from benchmarks.support.processor import children_s, process_s

RUN = ("inkflow", "run", "--jobs", "2")


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inkflow-bench-") as scratch:
        folder = Path(scratch)
        with prefect_server(folder / "prefect") as environment:
            [server] = [item for item in psutil.Process().children() if item.is_running()]
            number = iter(range(1000))

            def measure(policies: str) -> float:
                project = folder / f"project-{next(number)}"
                graphs.wide(project, options.stages, 0)
                (project / "execution.yaml").write_text(policies)
                before = children_s() + process_s(server)
                seconds_of(*RUN, folder=project, environment=environment)
                return children_s() + process_s(server) - before

            sides = [
                Side(name, lambda: None, lambda text=text: measure(text))  # type: ignore[misc]
                for name, text in (("assets", "assets: true\n"), ("none", ""))
            ]
            compare(f"assets of {options.stages} stages", sides, options.runs, "at most 1.05", warm_up=1)
            counts = {kind: _count(environment["PREFECT_API_URL"], kind) for kind in ("prefect.asset.", "prefect.")}
            common.report(
                "events of all runs", NO_TARGET, asset_events=counts["prefect.asset."], events=counts["prefect."]
            )


def _count(url: str, prefix: str) -> int:
    content = {"filter": {"event": {"prefix": [prefix]}}}
    return int(httpx.post(f"{url}/events/filter", json=content, timeout=60).json()["total"])


if __name__ == "__main__":
    main()
