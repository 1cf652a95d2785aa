"""Write the report: a self-contained page, a short summary, and tables for programs.

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
from stages.base.sinks import running_sinks
from stages.report import metrics_files
from stages.report.config import ReportParams, load_report_params
from stages.report.gates import check_models
from stages.report.gather import Folders, gather_facts
from stages.report.model_comparison import verdict
from stages.report.page.page import render_page
from stages.report.summary import render_summary

PLOTS = Path("plots")
SENT = ("index.html", "summary.md", "metrics.json", "models.json")  # to MLflow


def report(params: ReportParams, folders: Folders, out: Path) -> str:
    """Writes the page, the summary, the tables, the gates and the plots to `out`, and returns the verdict in one line.

    Raises:
        DataError: a file of another stage is missing, broken, or belongs to another run.
        OutputError: `out` cannot be written.
    """
    facts = gather_facts(params, folders)
    results = check_models(facts, params.gates)
    texts = {
        Path("index.html"): render_page(facts, results, gates=params.gates),
        Path("summary.md"): render_summary(facts, results),
        Path("metrics.csv"): _csv(metrics_files.metrics(facts)),
        Path("metrics.json"): _json(metrics_files.metrics_json(facts, results)),
        Path("models.json"): _json(metrics_files.models_json(facts)),
        Path("ranking.json"): _json(metrics_files.ranking_json(facts)),
        Path("gates.json"): _json(results.record()),
        **{PLOTS / name: _csv(table) for name, table in metrics_files.plots(facts).items()},
    }
    contents = {path: text.encode() for path, text in texts.items()}
    contents[Path("metrics.parquet")] = metrics_files.metrics_parquet(facts)
    contents[PLOTS / "scores.png"] = metrics_files.picture(facts)
    _write_all({out / path: content for path, content in contents.items()})
    return verdict(facts.lead).headline


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _write_all(contents: Mapping[Path, bytes]) -> None:
    """Writes all files, or none when one of them cannot be written."""
    with ExitStack() as pending:
        for path, content in contents.items():
            temporary = pending.enter_context(replacing(path))
            temporary.write_bytes(content)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage from the command line."""
    arguments = _parser().parse_args(argv)
    params = load_report_params(arguments.params)
    folders = Folders(arguments.raw, arguments.prepared, arguments.models, arguments.evaluation)
    with running_sinks(["mlflow"]) as sinks:
        print(f"report: {report(params, folders, arguments.out)}", flush=True)
        print(f"report: written to {arguments.out / 'index.html'}", flush=True)
        sinks.send(name="report", models={name: str(folders.models / name / "model.onnx") for name in params.models})
        sinks.close("FINISHED", [str(arguments.out / name) for name in SENT])
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.report",
        description="Write the report: a self-contained page, a short summary, and tables.",
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="folder of the stage download")
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"), help="folder of the stage prepare")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the stage train")
    parser.add_argument("--evaluation", type=Path, default=Path("evaluation"), help="folder of the stage evaluate")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file with the parameters")
    return parser
