"""What is paid before anything is trained: Keras's import, and the start of the temporary Prefect server."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.support.measure import NO_TARGET, ROOT, Side, compare, seconds_of
from flows.prefect_server.server import Server
from flows.prefect_server.up import APP

AS_FOR_UP: dict[str, Any] = {"APP": APP, "SETTINGS": {}}  # the server of `inkflow up`


def python(program: str) -> float:
    """Seconds of a Python that does this."""
    return seconds_of(sys.executable, "-c", program, folder=ROOT)


def server_starts() -> float:
    """Seconds until the temporary server answers."""
    started = time.perf_counter()
    with Server(Path()) as server:
        server.wait_until_ready()
        return time.perf_counter() - started


def server_of_up_starts() -> float:
    """The same with what workers and schedules need."""
    with patch.multiple("flows.prefect_server.server", **AS_FOR_UP):
        return server_starts()


def main() -> None:
    """Each beside what it would be without our doing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    os.environ.pop("PREFECT_API_URL", None)
    ours = "from stages.train.device import load_keras; load_keras()"
    sides = [
        Side("as a training does it", dict, lambda: python(ours)),
        Side("import keras", dict, lambda: python("import keras")),
    ]
    compare("Keras with TensorFlow is imported", sides, given.runs, NO_TARGET)
    sides = [
        Side("the server of one run", dict, server_starts),
        Side("the server of inkflow up", dict, server_of_up_starts),
    ]
    compare("a Prefect server starts until it answers", sides, given.runs, NO_TARGET)


if __name__ == "__main__":
    main()
