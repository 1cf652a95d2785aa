"""`inkflow compare REV [REV2]`: two commits or experiments side by side, on the same test images."""

import argparse
import json
import re
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.core.params_edit import edited_params
from flows.core.stage_program import run_program
from stages.base.errors import EXIT_DONE, InvalidInput

OUT = Path(".inkflow/compare")
HERE = "workspace"
COLOURS = {"better": "green", "worse": "bold red"}


def show_comparison(arguments: argparse.Namespace) -> int:
    """Compare two versions, print the comparison, and give the exit code."""
    found = compare(Path(), arguments.old, arguments.new)
    page = OUT / "index.html"
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(found, Console())
        print(f"Page: {page}")
    if arguments.open and not webbrowser.open(page.resolve().as_uri()):
        raise InvalidInput(f"no browser could be started here; open {page} yourself")
    return EXIT_DONE


def compare(root: Path, old: str, new: str | None = None) -> dict[str, Any]:
    """Compare version `old` with `new`, or with the files below `root`; writes the page, gives the table.

    Raises:
        RevisionUnusable: there is no such version, or its files are gone.
        ProgramFailed: the versions cannot be compared.
    """
    from flows.dvc_repo.run_files import fetch_run  # late: DVC takes its time to import

    if new is None:
        edited_params({}, root)  # a mistake in params.yaml is said as such
    with tempfile.TemporaryDirectory() as folder:
        sides = {"old": Path(folder) / "old", "new": Path(folder) / "new"}
        fetch_run(root, old, sides["old"])
        if new is None:
            sides["new"] = root.resolve()
        else:
            fetch_run(root, new, sides["new"])
        names = {"old": _label(old), "new": _label(new or HERE)}
        given = [f"--{side}={names[side]}={path}" for side, path in sides.items()]
        run_program("report.compare_runs", [*given, "--out", OUT], root)
    found: dict[str, Any] = json.loads((root / OUT / "compare.json").read_text(encoding="utf-8"))
    return found


def _label(revision: str) -> str:
    """A revision as part of a name: a full commit in short."""
    return revision[:10] if re.fullmatch(r"[0-9a-f]{40}", revision) else re.sub(r"[\s=]", "_", revision)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the comparison as a table."""
    console.print(Text(found["headline"], "bold"))
    table = Table("model", "old", "new", "difference", "95% interval", "p (Holm)", "verdict", box=None, pad_edge=False)
    for row in found["models"]:
        verdict = Text(row["verdict"], COLOURS.get(row["verdict"], "dim"))
        figures = [f"{row[key]:.4f}" for key in ("old", "new")]
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        table.add_row(
            Text(row["model"]), *figures, f"{row['difference']:+.4f}", interval, f"{row['corrected_p']:.3g}", verdict
        )
    if found["models"]:
        console.print(table)
    if found["unchanged"]:
        console.print(Text(f"Unchanged, the same bytes: {', '.join(found['unchanged'])}"))
    if found["without_counterpart"]:
        console.print(Text(f"Without counterpart: {', '.join(found['without_counterpart'])}"))
