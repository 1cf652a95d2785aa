"""`inkflow check`: evaluates the quality gates and writes the results as a table, as JSON, and as JUnit XML for CI."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from flows.cli.output import print_json, shown
from flows.core.commit import is_judged, require_undamaged
from flows.core.gates import count_statuses, evaluate_gates, failed_gates, junit
from flows.core.params_edit import require_models
from flows.core.values import counted
from flows.engine.display.safe_console import SafeConsole
from flows.engine.display.styles import BAD, DIM, GOOD
from flows.engine.output_backup import earlier_outputs
from stages.base.errors import EXIT_DONE, EXIT_FAILED
from stages.base.files import write_text

COLOURS = {"passed": GOOD, "failed": BAD, "not judged": DIM}


def check(arguments: argparse.Namespace) -> int:
    """Evaluates the gates, prints or writes the results, and returns the exit code: 1 if a gate failed."""
    require_models(Path(), "check")
    record = evaluate_against(Path(), arguments.against)
    if arguments.junit:
        write_text(arguments.junit, junit(record))
    if arguments.json:
        print_json(record)
    else:
        print_gates(record, SafeConsole())
    return EXIT_FAILED if failed_gates(record) else EXIT_DONE


def evaluate_against(root: Path, revision: str | None) -> dict[str, Any]:
    """Returns the gate results of the models below `root`, compared with the models of `revision` if one is given.

    Raises:
        InvalidInput: a model is damaged.
        ProgramFailed: a file is missing or broken.
        RevisionUnusable: the revision does not exist, or its files are not available.
    """
    with earlier_outputs(root) as outputs:
        require_undamaged(outputs, is_judged)
        if revision is None:
            return evaluate_gates(outputs)
        return _evaluate_against(outputs, root, revision)


def _evaluate_against(outputs: Path, root: Path, revision: str) -> dict[str, Any]:
    from flows.dvc_repo.history.run_files import fetch_run  # late: DVC takes 0.5 s to import

    with tempfile.TemporaryDirectory() as folder:
        fetch_run(root, revision, Path(folder))
        return evaluate_gates(outputs, Path(folder))


def print_gates(record: dict[str, Any], console: Console) -> None:
    """Prints the gate results as a table."""
    headings = [Column(name, overflow="fold") for name in ("model", "gate", "result", "figures")]
    table = Table(*headings, box=None, pad_edge=False)
    for check in record["checks"]:
        result = shown(check["status"], COLOURS[check["status"]])
        table.add_row(shown(check["model"]), shown(check["gate"].replace("_", " ")), result, shown(check["sentence"]))
    console.print(table)
    if record["note"]:
        console.print(shown(record["note"]))
    counts = ", ".join(f"{number} {status}" for status, number in count_statuses(record).items() if number)
    console.print(f"{counted(len(record['checks']), 'gate')}: {counts or 'none is set'}")
