"""`inkflow compare REV [REV2]`: compares the models of two commits or experiments on the same test images.

In another DVC project it shows what every DVC project has: parameters, metrics and outputs that differ.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from flows.cli.output import open_page, print_json, shown
from flows.core.commit import is_judged, require_undamaged
from flows.core.params_edit import has_models, load_project_params
from flows.core.project import make_state_folder
from flows.core.redaction import say
from flows.core.stage_program import run_program
from flows.core.values import signed
from flows.engine.display.safe_console import SafeConsole
from flows.engine.display.styles import BAD, DIM, GOOD
from flows.engine.output_backup import earlier_outputs
from flows.registry.address import revision
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import write_text

OUT = Path(".inkflow/compare")
WORKSPACE = "workspace"
COLOURS = {"better": GOOD, "worse": BAD}


def show_comparison(arguments: argparse.Namespace) -> int:
    """Compares two versions, prints the comparison, and returns the exit code.

    Raises:
        InvalidInput: a version or the page is not available.
    """
    arguments.old = revision(arguments.old, Path())
    arguments.new = arguments.new and revision(arguments.new, Path())
    if not has_models(Path()):
        return _show_differences(arguments)
    comparison = compare(Path(), arguments.old, arguments.new)
    page = OUT / "index.html"
    if arguments.json:
        print_json(comparison)
    else:
        print_comparison(comparison, SafeConsole())
        say(f"Page: {page}")
    if arguments.open:
        open_page(page)
    return EXIT_DONE


def _show_differences(arguments: argparse.Namespace) -> int:
    """Prints how the parameters, metrics and outputs of two versions of any DVC project differ."""
    from flows.dvc_repo.versions.version_diff import compare_versions  # late: DVC takes 0.5 s to import

    if arguments.open:
        raise InvalidInput("--open: only versions of Inkflow's own pipeline have a page; leave the option out")
    differences = compare_versions(Path(), arguments.old, arguments.new)
    if arguments.json:
        print_json(differences)
    else:
        print_differences(differences, _label(arguments.old), _label(arguments.new or WORKSPACE), SafeConsole())
    return EXIT_DONE


def print_differences(differences: dict[str, Any], old: str, new: str, console: Console) -> None:
    """Prints a table for each kind of difference."""
    for kind in ("parameters", "metrics"):
        rows = differences[kind]
        several = len({row["file"] for row in rows}) > 1
        table = Table(kind, old, new, box=None, pad_edge=False)
        for row in rows:
            name = f"{row['file']}:{row['name']}" if several else row["name"]
            table.add_row(*(shown(text) for text in (name, _value(row["old"]), _value(row["new"]))))
        if rows:
            console.print(table)
    table = Table("outputs", "change", box=None, pad_edge=False)
    for row in differences["outputs"]:
        table.add_row(shown(row["path"]), shown(row["change"]))
    if differences["outputs"]:
        console.print(table)
    if not any(differences.values()):
        console.print(f"No parameter, metric or output differs between {old} and {new}.", markup=False)


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def compare(root: Path, old: str, new: str | None = None) -> dict[str, Any]:
    """Compares revision `old` with revision `new`, or with the files below `root`; writes the page, returns the table.

    Raises:
        RevisionUnusable: a revision does not exist, or its files are not available or of other models than it has.
        ProgramFailed: the versions cannot be compared.
    """
    from flows.dvc_repo.history.run_files import fetch_run, require_current  # late: DVC takes 0.5 s to import

    if new is None:
        load_project_params(root)  # reports mistakes in params.yaml before any work
    with tempfile.TemporaryDirectory() as folder, earlier_outputs(root) as outputs:
        folders = {"old": Path(folder) / "old", "new": Path(folder) / "new"}
        fetch_run(root, old, folders["old"])
        if new is None:
            require_undamaged(outputs, is_judged)
            require_current(root)
            folders["new"] = outputs.resolve()
        else:
            fetch_run(root, new, folders["new"])
        labels = {"old": _label(old), "new": _label(new or WORKSPACE)}
        options = [f"--{side}={labels[side]}={path}" for side, path in folders.items()]
        make_state_folder(root)
        made = Path(folder) / "compared"  # OUT is shared with other comparisons in this project
        run_program("report.compare_runs", [*options, "--out", made], root)
        texts = {name: (made / name).read_text(encoding="utf-8") for name in ("index.html", "compare.json")}
    for name, text in texts.items():
        write_text(root / OUT / name, text)
    comparison: dict[str, Any] = json.loads(texts["compare.json"])
    return comparison


def _label(revision: str) -> str:
    """Returns the name of a revision in the comparison: a full commit hash is shortened."""
    return revision[:10] if re.fullmatch(r"[0-9a-f]{40}", revision) else re.sub(r"[\s=]", "_", revision)


def print_comparison(comparison: dict[str, Any], console: Console) -> None:
    """Prints the comparison as a table."""
    console.print(shown(comparison["headline"], "bold"))
    kind = "corrected interval" if len(comparison["models"]) > 1 else "95% interval"  # at the level of Holm's test
    headings = ("model", "old", "new", "difference", kind, "p (Holm)", "verdict")
    table = Table(*(Column(name, overflow="fold") for name in headings), box=None, pad_edge=False)
    for row in comparison["models"]:
        verdict = shown(row["verdict"], COLOURS.get(row["verdict"], DIM))
        figures = [f"{row[key]:.4f}" for key in ("old", "new")]
        interval = f"{signed(row['low'])} to {signed(row['high'])}"
        table.add_row(
            shown(row["model"]), *figures, signed(row["difference"]), interval, f"{row['corrected_p']:.3g}", verdict
        )
    for trivial in comparison["trivial"]:
        score = f"{trivial['score']:.4f}"
        table.add_row(shown(f"trivial answer: {trivial['answer']}", "dim"), score, score)
    console.print(table)
    if comparison["unchanged"]:
        console.print(shown(f"Unchanged, the same bytes: {', '.join(comparison['unchanged'])}"))
    if comparison["without_counterpart"]:
        console.print(shown(f"Without counterpart: {', '.join(comparison['without_counterpart'])}"))
