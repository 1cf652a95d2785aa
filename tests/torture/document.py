"""Writes docs/reliability.md from tests/torture/results.json: what was tried anew replaces what was tried before.

`python -m tests.torture.document RECORD.jsonl` takes the record of `make torture`. A `--whole` record has all promises,
and the others leave the page, but for those of tests that were skipped. With `--check` it writes nothing, and fails
when the page is stale, and, once a whole run has recorded the tests, when a test that tries a promise has no row or a
row has a sentence that no test has.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
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

`make torture` tries every promise on this page by force and writes the page from its record. `make test` tries the
promises with short trials a few times, and of the crashes one kill and one fault of a small project; `make test-farm`
tries the others a few times. "Broken" counts the attempts after which the promise did not hold. A row keeps its broken
attempts until the trial runs again.

A run after a crash or a fault is *correct* if all files have the bytes of an undisturbed run, `dvc status` is clean, no
process, lock or temporary file is left, and the MD5 of each object of the cache is its name. What a killed DVC began to
write into the cache stays until `inkflow prune` finds it older than `--older-than`. The checkpoint of a killed
`inkflow run --force` waits for the next training: a run without `--force` may leave it, and no other.

"""


def page(results: Mapping[str, Any]) -> str:
    """The whole page for `results`."""
    promises, whole = results.get("promises", []), results.get("whole")
    machines = list(dict.fromkeys(_sentence(row["machine"]) for row in [*promises, *([whole] if whole else [])]))
    lines = [HEAD + "\n".join(f"Machine {number}: {text}" for number, text in enumerate(machines, 1))]
    if whole:
        number = machines.index(_sentence(whole["machine"])) + 1
        lines += [
            "",
            f"The last whole `make torture` took {whole['minutes']} minutes: {whole['date']}, machine {number}.",
        ]
    head = ["| promise | tried by | attempts | broken | date | machine |", "|---|---|---:|---:|---|---:|"]
    for subject, rows in groupby(promises, key=lambda row: row["subject"]):
        lines += ["", f"## {subject}", "", *head]
        lines += [
            f"| {row['promise']} | {row['how']} | {row['attempts']:,} | {row['broken']} | {row['date']} "
            f"| {machines.index(_sentence(row['machine'])) + 1} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


def merged(results: Mapping[str, Any], record: Path, *, is_whole: bool = False) -> dict[str, Any]:
    """`results` with the promises of `record` in place of those with the same test or sentence, sorted by subject.

    Args:
        results: those that the page has.
        record: a line of JSON for the begin, each promise that was tried on this machine, and each test that was
            skipped or failed; it may be missing or empty. A row of a failed test that ended before it tried the
            promise stays, with one more broken attempt.
        is_whole: the record is of all promises: those that it lacks go, unless their test was skipped.
    """
    text = record.read_text(encoding="utf-8") if record.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    skipped = {line["skipped"] for line in lines if "skipped" in line}
    skipped |= {test.partition("[")[0] for test in skipped}  # earlier rows name no parameters
    new = [line | {"machine": machine()} for line in lines if "how" in line]
    tried = {row.get("test") for row in new} - {None}
    failed = {line["failed"] for line in lines if "failed" in line}
    earlier = [
        row | {name: row[name] + (row.get("test") in failed) for name in ("attempts", "broken")}
        for row in results.get("promises", [])
        if row.get("test") in skipped | failed or not (is_whole or row.get("test") in tried)
    ]
    rows = {row["promise"]: row for row in [*earlier, *new]}
    whole = _whole(lines, record) if is_whole else results.get("whole")
    promises = sorted(rows.values(), key=lambda row: (row["subject"], row["promise"]))
    return {"promises": promises} | ({"whole": whole} if whole else {})


def untried(results: Mapping[str, Any], folder: Path = ROOT) -> list[str]:
    """Returns the tests in `folder` that try a promise and have no row; none before a whole run recorded the tests."""
    tried = {row.get("test", "").partition("[")[0] for row in results.get("promises", [])}
    return [name for name in _trials(folder) if name not in tried] if results.get("whole") else []


def unstated(results: Mapping[str, Any], folder: Path = ROOT) -> list[tuple[str, str]]:
    """Returns each row whose sentence is in no `promise(subject, sentence, how)` of its file: its test, its sentence.

    Parts of a sentence that are computed may be anything. Whole runs before this comparison have no count of promises:
    then there are none.
    """
    rows = results.get("promises", []) if "promises" in results.get("whole", {}) else []
    stated = {file: _sentences(folder / file) for file in {row["test"].partition("::")[0] for row in rows}}
    return [
        (row["test"], row["promise"])
        for row in rows
        if not any(re.fullmatch(pattern, row["promise"]) for pattern in stated[row["test"].partition("::")[0]])
    ]


def _sentences(path: Path) -> list[str]:
    """Returns regular expressions of the sentences that the calls of `promise` in a file have."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) if path.exists() else []
    calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "promise"]
    given: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    values = (value for call in calls for value in given.get(getattr(call.args[1], "id", ""), [call.args[1]]))
    return list(map(_pattern, values))


def _pattern(value: ast.expr) -> str:
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in parts)


def _trials(folder: Path) -> Iterator[str]:
    """Yields the test functions that take the fixture `promise`, as pytest names them."""
    for path in sorted((folder / "tests/torture").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and "promise" in _fixtures(node):
                yield f"{path.relative_to(folder).as_posix()}::{node.name}"


def _fixtures(test: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in test.args.args}


def _whole(lines: list[dict[str, Any]], record: Path) -> dict[str, Any] | None:
    """When and where all promises were tried, and how long it took: until the last line, which a pause cannot move."""
    begins = [line["began_s"] for line in lines if "began_s" in line]
    if not begins:
        return None
    end_s = record.stat().st_mtime
    date = datetime.fromtimestamp(end_s, UTC).date().isoformat()
    count = sum("how" in line for line in lines)
    return {"minutes": round((end_s - begins[0]) / 60), "date": date, "machine": machine(), "promises": count}


def _sentence(facts: Mapping[str, Any]) -> str:
    """A machine and its packages."""
    packages = ", ".join(f"{name} {facts[name]}" for name in ("python", "dvc", "prefect", "tensorflow"))
    return f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {packages}."


def main() -> int:
    """Writes the page, or compares it.

    Raises:
        InvalidInput: With `--check`, the page is not that of the results, or a promise is not in them.
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
        raise InvalidInput(f"{PAGE} does not match tests/torture/results.json; run `python -m tests.torture.document`")
    elif missing := untried(results):
        raise InvalidInput(f"{PAGE} has no row of {', '.join(missing)}; run `make torture TESTS={missing[0]}`")
    elif rows := unstated(results):
        test, sentence = rows[0]
        raise InvalidInput(f"{PAGE} has a promise that {test} has no more: {sentence!r}; run `make torture`")
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
