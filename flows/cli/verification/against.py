"""`inkflow verify --against`: compares dvc.lock with another machine's, and prints what differs and why."""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.cli.output import print_json, shown
from flows.core.values import counted
from flows.dvc_repo.repository import Repository
from flows.engine.display.styles import BAD, DIM, GOOD, WARNING
from flows.engine.planning.change_messages import name_some
from flows.machines.comparison import compare_machines, is_fine
from flows.machines.verdicts import Verdict
from flows.registry.address import revision

MAX_VALUE = 60  # characters of a value
HASHED = ("code", "data")  # differences whose values are hashes, which say nothing to a reader
STYLES = {Verdict.FOLLOWS: DIM, Verdict.TOLERANCE: WARNING, Verdict.UNKNOWN: WARNING, Verdict.NOT_COMPARABLE: WARNING}


def verify_against(arguments: argparse.Namespace) -> int:
    """Compares the recorded results with another machine's, prints the comparison, and returns the exit code.

    Raises:
        InkflowError: one side has no records, or they cannot be read.
    """
    root = Path.cwd()
    stages: list[str] = []
    if arguments.stages:
        with Repository() as repository:
            stages = repository.resolve(arguments.stages, arguments.folder)
    found = compare_machines(root, revision(arguments.against, root), stages, arguments.tolerance)
    if arguments.json:
        print_json(found)
    else:
        _print(found)
    return int(found["exit_code"])


def _print(found: Mapping[str, Any]) -> None:
    """Prints inputs that differ, then environments, then outputs that are not the same bytes, then the counts."""
    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no colours

    console = SafeConsole()

    def line(text: str, style: str = "default") -> None:
        console.print(shown(text, style), soft_wrap=True)

    commit = f" ({found['commit'][:10]})" if found["commit"] not in ("", found["against"]) else ""
    line(f"This machine's dvc.lock against {found['against']}{commit}", "bold")
    for title, lines in _sections(found).items():
        if lines:
            line("")
            line(f"{title}:")
        for text in lines:
            line(f"  {text}")
    _print_outputs(found["outputs"], {test["sentence"] for test in found["models"].values()}, line)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found["counts"].items())
    line("")
    line(f"{counted(len(found['outputs']), 'output')}: {counts or 'none'}")
    if set(found["counts"]) == {Verdict.BYTES}:
        line("Equal records do not show that this machine makes these bytes: `inkflow verify` runs stages again.", DIM)


def _sections(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns the lines above the table, by their title."""
    tests = found["models"].items()
    return {
        "Inputs that differ": _grouped(found["inputs"]),
        "Environments that differ": _grouped(found["environment"]),
        "Stages that are here alone": found["only_here"],
        "Stages that are there alone": found["only_there"],
        "Models on the test samples": [f"{name}: {test['verdict']}: {test['sentence']}" for name, test in tests],
        "Notes": found["notes"],
    }


def _print_outputs(rows: Sequence[Mapping[str, Any]], tested: Collection[str], line: Callable[..., None]) -> None:
    """Prints the outputs that are not byte-equal; the sentences `tested` of models stand above them."""
    stage, indent = None, max(map(len, Verdict)) + 4
    for row in rows:
        if row["verdict"] == Verdict.BYTES:
            continue
        if row["stage"] != stage:
            stage = row["stage"]
            line("")
            line(stage, "bold")
        style = STYLES.get(row["verdict"], GOOD if is_fine(row["verdict"]) else BAD)
        line(f"  {row['verdict']:<{indent - 2}}{row['output']}", style)
        detail = row["difference"] if row["detail"] in tested else row["detail"]
        if detail:
            line(f"{'':{indent}}{detail}")


def _grouped(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a line for each difference, with the stages that have it."""
    stages: dict[str, list[str]] = {}
    for item in items:
        stages.setdefault(_text(item), []).append(item["stage"])
    return [f"{text} ({name_some(names)})" for text, names in stages.items()]


def _text(item: Mapping[str, Any]) -> str:
    kind = "" if item["kind"] == "environment" else f"{item['kind']} "
    name = "" if item["name"] == item["kind"] else item["name"]
    label = f"{kind}{name}".strip()
    if item["kind"] in HASHED:
        return label
    return f"{label}: {_value(item['here'])} here, {_value(item['there'])} there"


def _value(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."
