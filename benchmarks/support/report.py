"""Writes benchmarks/results.json and, from it, docs/benchmarks.md: what was measured anew replaces what it was before.

python -m benchmarks.support.report .inkflow/bench-engine.jsonl
python -m benchmarks.support.report --check
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("dvc", "prefect", "tensorflow")
INTRODUCTION = """# Benchmarks

`make bench` writes this page from `benchmarks/results.json`; do not edit it. Figures are medians, and seconds are wall
time. The two sides of a comparison run alternately, so that other load of the machine affects both. If the runs form
pairs, the ratio is the median of the ratios of the pairs. Each section is measured by one program:
`make bench BENCHMARKS=engine` measures one section.
"""
CHARTS = {"scale": "![processor time and memory by the number of stages](scale.svg)"}  # benchmarks/support/chart.py
NOTES = {"scale": "Load differs between rows; compare processor seconds."}
TABLE = ("| what | medians | ratio, first to second | target | runs |", "|---|---|---:|---|---:|")


def main() -> int:
    """Write both files from lines of JSON, or check that the page is that of the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", type=Path, help="bench-NAME.jsonl: a line of JSON for each measurement")
    parser.add_argument("--check", action="store_true", help="end with 1 when docs/benchmarks.md is stale")
    options = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    if options.check:
        fresh = PAGE.read_text(encoding="utf-8") == page(results)
        print("" if fresh else "docs/benchmarks.md is not that of benchmarks/results.json: run make bench", end="")
        return 0 if fresh else 1
    for path in options.lines:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        results[path.stem.removeprefix("bench-")] = {"machine": machine(), "measurements": lines}
    results = dict(sorted(results.items()))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
    return 0


def machine() -> dict[str, Any]:
    """What was measured on."""
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    }
    return {
        "processor": ", ".join(sorted(names)) or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def page(results: Mapping[str, Any]) -> str:
    """docs/benchmarks.md for `results`."""
    return "\n".join([INTRODUCTION, *(_section(name, found) for name, found in results.items())])


def _section(name: str, found: Mapping[str, Any]) -> str:
    facts = found["machine"]
    packages = ", ".join(f"{package} {facts[package]}" for package in ("python", *PACKAGES))
    where = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {packages}."
    chart = [CHARTS[name], ""] if name in CHARTS else []
    note = [NOTES[name], ""] if name in NOTES else []
    return "\n".join([f"## {name}", "", where, "", *chart, *note, *TABLE, *map(_row, found["measurements"]), ""])


def _row(line: Mapping[str, Any]) -> str:
    seconds = line.get("seconds", {})
    told = [f"`{name}` {value:.2f} s" for name, value in seconds.items()]
    told += [f"{_words(key)} {value}" for key, value in line.items() if key not in _SHOWN]
    if "load" in line.get("hardware", {}):
        told.append(f"load {line['hardware']['load']:.1f}")
    cells: Sequence[object] = (
        line["benchmark"], "; ".join(told), line.get("ratio", ""), line["target"], line.get("runs", ""),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _words(key: str) -> str:
    return key.replace("_", " ")


_SHOWN = {"kind", "benchmark", "seconds", "all", "ratio", "target", "runs", "hardware"}

if __name__ == "__main__":
    sys.exit(main())
