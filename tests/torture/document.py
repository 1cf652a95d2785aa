"""Writes docs/reliability.md from tests/torture/results.json: what was tried anew replaces what was tried before.

`python -m tests.torture.document RECORD.jsonl` takes the record of `make torture`. A `--whole` record has all promises,
and the others leave the page. With `--check` it writes nothing and fails when the page is stale.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.support.report import machine
from stages.base.errors import InvalidInput, exit_with
from stages.base.files import write_text
from tests.support.root import ROOT

PAGE = Path("docs/reliability.md")
RESULTS = ROOT / "tests/torture/results.json"
HEAD = """# Reliability: what is promised, and how it was tried

`make torture` tries every promise on this page by force and writes the page from its record; `make test` tries most of
them a few times, `make test-farm` the others. "Broken" counts the attempts after which the promise did not hold.

"""


def page(results: Mapping[str, Any]) -> str:
    """The whole page for `results`."""
    promises = results.get("promises", [])
    machines = list(dict.fromkeys(_sentence(row["machine"]) for row in promises))
    lines = [HEAD + "\n".join(f"Machine {number}: {text}" for number, text in enumerate(machines, 1))]
    head = ["| promise | tried by | times | broken | on | machine |", "|---|---|---:|---:|---|---:|"]
    for subject, rows in groupby(promises, key=lambda row: row["subject"]):
        lines += ["", f"## {subject}", "", *head]
        lines += [
            f"| {row['promise']} | {row['how']} | {row['attempts']:,} | {row['broken']} | {row['date']} "
            f"| {machines.index(_sentence(row['machine'])) + 1} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


def merged(results: Mapping[str, Any], record: Path, *, is_whole: bool = False) -> dict[str, Any]:
    """`results` with the promises of `record` in place of those with the same sentence, sorted by subject.

    Args:
        results: those that the page has.
        record: a line of JSON for each promise that was tried on this machine; it may be missing or empty.
        is_whole: the record is of all promises: those that it lacks go.
    """
    text = record.read_text(encoding="utf-8") if record.exists() else ""
    rows = {} if is_whole else {row["promise"]: row for row in results.get("promises", [])}
    rows |= {row["promise"]: row | {"machine": machine()} for row in map(json.loads, text.splitlines())}
    return {"promises": sorted(rows.values(), key=lambda row: (row["subject"], row["promise"]))}


def _sentence(facts: Mapping[str, Any]) -> str:
    """A machine and its packages."""
    packages = ", ".join(f"{name} {facts[name]}" for name in ("python", "dvc", "prefect", "tensorflow"))
    return f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {packages}."


def main() -> int:
    """Writes the page, or compares it.

    Raises:
        InvalidInput: With `--check`, the page is not that of the results.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", nargs="?", type=Path, help="the record of make torture")
    parser.add_argument("--whole", action="store_true", help="the record is of all promises")
    parser.add_argument("--check", action="store_true", help="end with 1 when the page is stale")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if options.record:
        results = merged(results, options.record, is_whole=options.whole)
        write_text(RESULTS, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if not options.check:
        write_text(ROOT / PAGE, page(results))
    elif (ROOT / PAGE).read_text(encoding="utf-8") != page(results):
        raise InvalidInput(f"{PAGE} is not that of tests/torture/results.json; run `python -m tests.torture.document`")
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
