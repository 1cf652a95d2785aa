"""`inkflow check`: the quality gates of params.yaml, for people (a table), programs (JSON) and CI (JUnit XML)."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.core.gates import count_statuses, judge, junit
from stages.base.errors import EXIT_DONE, EXIT_FAILED
from stages.base.files import write_text

COLOURS = {"passed": "green", "failed": "bold red", "not judged": "dim"}


def check(arguments: argparse.Namespace) -> int:
    """Judge the models, print or write the judgement, and give the exit code."""
    record = judge_against(Path(), arguments.against)
    if arguments.junit:
        write_text(arguments.junit, junit(record))
    if arguments.json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        show(record, Console())
    return EXIT_DONE if record["passed"] else EXIT_FAILED


def judge_against(root: Path, revision: str | None) -> dict[str, Any]:
    """The judgement on the models below `root`, where `revision` names a version also against its models.

    Raises:
        ProgramFailed: a file is missing or broken.
        RevisionUnusable: there is no such version, or its files are gone.
    """
    if revision is None:
        return judge(root)
    from flows.dvc_repo.run_files import fetch_run  # late: DVC takes half a second to import

    with tempfile.TemporaryDirectory() as folder:
        fetch_run(root, revision, Path(folder))
        return judge(root, Path(folder))


def show(record: dict[str, Any], console: Console) -> None:
    """Print the judgement as a table."""
    table = Table("model", "gate", "result", "figures", box=None, pad_edge=False)
    for check in record["checks"]:
        result = Text(check["status"], COLOURS[check["status"]])
        table.add_row(Text(check["model"]), Text(check["gate"].replace("_", " ")), result, Text(check["sentence"]))
    console.print(table)
    if record["note"]:
        console.print(Text(record["note"]))
    counts = ", ".join(f"{number} {status}" for status, number in count_statuses(record).items() if number)
    console.print(f"{len(record['checks'])} gates: {counts or 'none is set'}")
