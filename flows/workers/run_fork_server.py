"""The process whose forks are a worker's runs: it has Prefect, DVC and the engine imported.

The first run of a worker starts it (`flows.workers.run_launcher`); it ends with that worker, and its runs with it. When
code has changed it ends too: the next run then starts a new process of this kind.
"""

import runpy
import signal
import socket
import sys
from typing import NoReturn

from flows.engine.processes.fork_server import ForkServer
from flows.workers.run_launcher import ENGINE, name_of, start_of


def prefork(worker: int) -> ForkServer:
    """What forks the runs of the worker with this process number; ends this process where another one does."""
    listener, began = socket.socket(socket.AF_UNIX), start_of(worker)
    if not began:  # it has ended already
        sys.exit(0)
    try:
        listener.bind(name_of(worker))
    except OSError:  # another run's came first
        sys.exit(0)
    return ForkServer(listener, lambda: start_of(worker) == began)


def main() -> NoReturn:
    """Serve the worker whose process number is given; in each fork, run Prefect's engine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = prefork(int(sys.argv[1]))
    import prefect.engine
    import prefect.flow_engine  # late: a second process of this kind must end at once

    import flows.scheduled
    import flows.train_stage  # noqa: F401 - what the forks need

    server.serve()
    prefect.context.refresh_global_settings_context()  # of the run's environment
    sys.argv = [ENGINE]
    del sys.modules[ENGINE]  # it is run anew
    runpy.run_module(ENGINE, run_name="__main__")
    sys.exit(0)


if __name__ == "__main__":
    main()
