"""Check the models against the quality gates of params.yaml, and write the results as JSON.

python -m stages.report.check_gates --out gates.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE, exit_with
from stages.base.files import write_text
from stages.report.config import load_report_params
from stages.report.gates import GateResults, check_models
from stages.report.gather import Folders, gather_facts


def check_run(root: Path, accepted: Path | None = None) -> GateResults:
    """Checks the models of the run in `root`, also against those of the `accepted` run where one is given.

    Raises:
        InvalidInput: a file is missing, broken, or belongs to another run.
    """
    params = load_report_params(root / "params.yaml")
    facts = gather_facts(params, Folders.of_project(root))
    accepted_facts = None
    if accepted is not None:
        accepted_facts = gather_facts(load_report_params(accepted / "params.yaml"), Folders.of_project(accepted))
    return check_models(facts, params.gates, accepted_facts)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the models against the quality gates of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.check_gates", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the run (default: the current folder)")
    parser.add_argument("--accepted", type=Path, help="folder of an accepted run: no model may be worse than there")
    arguments = parser.parse_args(argv)
    results = check_run(arguments.root, arguments.accepted)
    write_text(arguments.out, json.dumps(results.record(), indent=2, ensure_ascii=False) + "\n")
    print(f"gates: {results.summary}", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
