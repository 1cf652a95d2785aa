"""Write the report: one self-contained page, a short summary, tables for programs.

python -m stages.report --out reports
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from stages.base.errors import EXIT_DONE
from stages.base.files import replacing
from stages.report import tables
from stages.report.config import ReportParams, load_report_params
from stages.report.facts import Folders, gather_facts
from stages.report.gates import judge
from stages.report.model_comparison import verdict
from stages.report.page.page import render_page
from stages.report.summary import render_summary

PLOTS = Path("plots")


def report(params: ReportParams, folders: Folders, out: Path) -> str:
    """Write the page, the summary, the tables, the gates and the plots to `out`; returns the verdict in one line.

    Raises:
        DataError: a file of another stage is missing, broken, or belongs to another run.
        OutputError: `out` cannot be written.
    """
    facts = gather_facts(params, folders)
    judgement = judge(facts, params.gates)
    texts = {
        Path("index.html"): render_page(facts, judgement),
        Path("summary.md"): render_summary(facts, judgement),
        Path("metrics.csv"): _csv(tables.metrics(facts)),
        Path("metrics.json"): _json(tables.metrics_json(facts)),
        Path("gates.json"): _json(judgement.record()),
        **{PLOTS / name: _csv(table) for name, table in tables.plots(facts).items()},
    }
    contents = {path: text.encode() for path, text in texts.items()}
    contents[Path("metrics.parquet")] = tables.metrics_parquet(facts)
    contents[PLOTS / "scores.png"] = tables.picture(facts)
    _write_all({out / path: content for path, content in contents.items()})
    return verdict(facts).headline


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _write_all(contents: Mapping[Path, bytes]) -> None:
    """Write every file or, when one of them cannot be written, none."""
    with ExitStack() as pending:
        for path, content in contents.items():
            temporary = pending.enter_context(replacing(path))
            temporary.write_bytes(content)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the stage."""
    options = _parser().parse_args(argv)
    params = load_report_params(options.params)
    folders = Folders(options.raw, options.prepared, options.models, options.evaluation)
    print(f"report: {report(params, folders, options.out)}", flush=True)
    print(f"report: written to {options.out / 'index.html'}", flush=True)
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.report",
        description="Write the report: one self-contained page, a short summary, a table.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="what download wrote")
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"), help="what prepare wrote")
    parser.add_argument("--models", type=Path, default=Path("models"), help="what train wrote")
    parser.add_argument("--evaluation", type=Path, default=Path("evaluation"), help="what evaluate wrote")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameters")
    return parser
