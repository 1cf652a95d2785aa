"""Runs the engine alone, without Prefect, in the current folder: `python -m tests.support.engine_alone JOBS`.

It imports nothing that only tests need: such a process starts sooner.
"""

import sys
from pathlib import Path

from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import SilentDisplay
from flows.engine.engine import Engine
from flows.engine.policy import load_policies
from flows.engine.run import Options, Run


def main() -> None:
    """Brings all stages up to date."""
    run, repository = Run((), Options(jobs=int(sys.argv[1])), SilentDisplay()), Repository()
    engine = Engine(repository, load_policies(Path()), run)
    engine.start(repository.stages())
    engine.wait()


if __name__ == "__main__":
    main()
