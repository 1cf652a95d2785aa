"""Runs a command of Prefect, `worker start` for `inkflow up`, and bounds what its runs leave in memory.

Each flow run leaves HTTP clients with their TLS contexts, 0.6 MB, in cycles of references. Python looks for such cycles
among all objects only once a quarter of them is new: after hundreds of runs, since Prefect's modules have 100,000
objects. Without those, which stay anyway, it looks after a few runs.
"""

import gc
import sys

import prefect.workers.process  # noqa: F401 - now, with all that it imports
from prefect.cli import app


def main() -> None:
    """Runs the command that the arguments name."""
    gc.collect()
    gc.freeze()
    gc.collect()  # counts again, without the frozen objects
    sys.argv[0] = "prefect"
    app()


if __name__ == "__main__":
    main()
