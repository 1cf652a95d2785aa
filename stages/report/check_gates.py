"""Hold the models against the quality gates of params.yaml: the judgement as JSON, whatever it is.

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
from stages.report.facts import Folders, gather_facts
from stages.report.gates import Judgement, judge


def judged(root: Path, accepted: Path | None = None) -> Judgement:
    """The judgement on the run below `root`, also against the `accepted` run where one is given.

    Raises:
        InvalidInput: a file is missing, broken, or belongs to another run.
    """
    params = load_report_params(root / "params.yaml")
    facts = gather_facts(params, Folders.below(root))
    before = None
    if accepted is not None:
        earlier = gather_facts(load_report_params(accepted / "params.yaml"), Folders.below(accepted))
        before = {model.name: model for model in earlier.models}
    return judge(facts, params.gates, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Hold the models against the quality gates of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.check_gates", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the run; the current one by default")
    parser.add_argument("--accepted", type=Path, help="folder of a run that was accepted: no model may be worse")
    given = parser.parse_args(argv)
    record = judged(given.root, given.accepted).record()
    write_text(given.out, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    print(f"gates: {'passed' if record['passed'] else 'failed'}", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
