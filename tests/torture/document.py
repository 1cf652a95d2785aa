"""Writes docs/reliability.md from tests/torture/results.json: what was tried anew replaces what was tried before.

`python -m tests.torture.document RECORD.jsonl` takes the record of `make torture`; with `--check` it writes nothing
and fails when the page is stale.
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

`make torture` tries every promise on this page by force and writes the page from its record; `make test` tries each a
few times. "Broken" counts the attempts after which the promise did not hold.

"""


def page(results: Mapping[str, Any]) -> str:
    """The whole page for `results`."""
    facts = results["machine"]
    where = (
        f"Measured on {facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB; "
        + ", ".join(f"{name} {facts[name]}" for name in ("python", "dvc", "prefect", "tensorflow"))
        + "."
    )
    lines = [HEAD + where]
    for subject, promises in groupby(results["promises"], key=lambda row: row["subject"]):
        rows = [f"| {row['promise']} | {row['how']} | {row['attempts']:,} | {row['broken']} |" for row in promises]
        lines += ["", f"## {subject}", "", "| promise | tried by | times | broken |", "|---|---|---:|---:|", *rows]
    return "\n".join(lines) + "\n"


def merged(results: Mapping[str, Any], record: Path) -> dict[str, Any]:
    """`results` with the promises of `record` in place of those with the same sentence, sorted by subject."""
    rows = {row["promise"]: row for row in results.get("promises", [])}
    rows |= {row["promise"]: row for row in map(json.loads, record.read_text(encoding="utf-8").splitlines())}
    return {"machine": machine(), "promises": sorted(rows.values(), key=lambda row: (row["subject"], row["promise"]))}


def main() -> int:
    """Writes the page, or compares it.

    Raises:
        InvalidInput: With `--check`, the page is not that of the results.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", nargs="?", type=Path, help="the record of make torture")
    parser.add_argument("--check", action="store_true", help="end with 1 when the page is stale")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if options.record:
        results = merged(results, options.record)
        write_text(RESULTS, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if not options.check:
        write_text(ROOT / PAGE, page(results))
    elif (ROOT / PAGE).read_text(encoding="utf-8") != page(results):
        raise InvalidInput(f"{PAGE} is not that of tests/torture/results.json; run `python -m tests.torture.document`")
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
