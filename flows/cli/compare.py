"""`inkflow compare REV [REV2]`: compares the models of two commits or experiments on the same test images."""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.cli.output import open_page, print_json, shown
from flows.core.params_edit import load_project_params
from flows.core.stage_program import run_program
from stages.base.errors import EXIT_DONE

OUT = Path(".inkflow/compare")
WORKSPACE = "workspace"
COLOURS = {"better": "green", "worse": "bold red"}


def show_comparison(arguments: argparse.Namespace) -> int:
    """Compares two versions, prints the comparison, and returns the exit code."""
    comparison = compare(Path(), arguments.old, arguments.new)
    page = OUT / "index.html"
    if arguments.json:
        print_json(comparison)
    else:
        print_comparison(comparison, Console())
        print(f"Page: {page}")
    if arguments.open:
        open_page(page)
    return EXIT_DONE


def compare(root: Path, old: str, new: str | None = None) -> dict[str, Any]:
    """Compares revision `old` with revision `new`, or with the files below `root`; writes the page, returns the table.

    Raises:
        RevisionUnusable: a revision does not exist, or its files are not available.
        ProgramFailed: the versions cannot be compared.
    """
    from flows.dvc_repo.run_files import fetch_run  # late: DVC takes 0.5 s to import

    if new is None:
        load_project_params(root)  # reports mistakes in params.yaml before any work
    with tempfile.TemporaryDirectory() as folder:
        folders = {"old": Path(folder) / "old", "new": Path(folder) / "new"}
        fetch_run(root, old, folders["old"])
        if new is None:
            folders["new"] = root.resolve()
        else:
            fetch_run(root, new, folders["new"])
        labels = {"old": _label(old), "new": _label(new or WORKSPACE)}
        options = [f"--{side}={labels[side]}={path}" for side, path in folders.items()]
        run_program("report.compare_runs", [*options, "--out", OUT], root)
    comparison: dict[str, Any] = json.loads((root / OUT / "compare.json").read_text(encoding="utf-8"))
    return comparison


def _label(revision: str) -> str:
    """Returns the name of a revision in the comparison: a full commit hash is shortened."""
    return revision[:10] if re.fullmatch(r"[0-9a-f]{40}", revision) else re.sub(r"[\s=]", "_", revision)


def print_comparison(comparison: dict[str, Any], console: Console) -> None:
    """Prints the comparison as a table."""
    console.print(shown(comparison["headline"], "bold"))
    table = Table("model", "old", "new", "difference", "95% interval", "p (Holm)", "verdict", box=None, pad_edge=False)
    for row in comparison["models"]:
        verdict = shown(row["verdict"], COLOURS.get(row["verdict"], "dim"))
        figures = [f"{row[key]:.4f}" for key in ("old", "new")]
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        table.add_row(
            shown(row["model"]), *figures, f"{row['difference']:+.4f}", interval, f"{row['corrected_p']:.3g}", verdict
        )
    if comparison["models"]:
        console.print(table)
    if comparison["unchanged"]:
        console.print(shown(f"Unchanged, the same bytes: {', '.join(comparison['unchanged'])}"))
    if comparison["without_counterpart"]:
        console.print(shown(f"Without counterpart: {', '.join(comparison['without_counterpart'])}"))
