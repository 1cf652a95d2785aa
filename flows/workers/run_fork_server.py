"""The process of which a worker's flow runs are forks: it has imported Prefect, DVC and the libraries of the engine.

    python -m flows.workers.run_fork_server WORKER

`run_launcher` starts it for the process id WORKER. It ends when that worker has ended and no run is left. Modules of
this project are unloaded before the first fork: a run may be of another commit, and imports its own.
"""

import runpy
import signal
import socket
import sys
from importlib import import_module
from typing import NoReturn

from flows.engine.processes.fork_server import ForkServer
from flows.engine.processes.stage_fork_server import unload_own_packages
from flows.workers.run_launcher import ARGUMENTS, socket_name, start_time

ENGINE = ARGUMENTS[-1]


def fork_server(worker: int) -> ForkServer:
    """Returns the fork server of a worker; ends this process if the worker has ended, or has a fork server."""
    listener, started = socket.socket(socket.AF_UNIX), start_time(worker)
    if not started:
        sys.exit(0)
    try:
        listener.bind(socket_name(worker))
    except OSError:
        sys.exit(0)
    return ForkServer(listener, lambda: start_time(worker) == started, outlive=True)


def import_libraries() -> None:
    """Imports Prefect and DVC, and what the engine needs of other libraries."""
    for module in (ENGINE, "prefect.flow_engine", "flows.dvc_repo.repository", "flows.engine.engine"):
        import_module(module)
    unload_own_packages()


def main() -> NoReturn:
    """Serves the worker; runs Prefect's engine in each fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = fork_server(int(sys.argv[1]))
    import_libraries()
    server.serve()
    sys.modules["prefect.context"].refresh_global_settings_context()  # from the environment of the run
    sys.argv = [ENGINE]
    del sys.modules[ENGINE]  # runpy warns of a module that is imported already
    runpy.run_module(ENGINE, run_name="__main__")
    sys.exit(0)


if __name__ == "__main__":
    main()
