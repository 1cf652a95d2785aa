"""The process of which `commands` forks: it has imported what `dvc` and `inkflow` need of other libraries.

    python -m tests.support.command_server PARENT LISTENER

It ends with the process PARENT. LISTENER is the number of a bound socket. Modules of this project are unloaded before
the first fork: a command in a copy of the project imports the copy's own. Prefect reads its settings when it is
imported, so each fork imports it itself, but finds the libraries that Prefect needs.
"""

import gc
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from flows.engine.processes.fork_server import ForkServer
from flows.engine.processes.stage_fork_server import OWN_PACKAGES, unload_own_packages

NEEDED = (
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.commands.repro",
    "dvc.repo.status",
    "flows.dvc_repo.repository",
    "flows.engine.engine",
    "flows.pipeline",
)
NOT_SHARED = ("prefect", "tests", *OWN_PACKAGES)


def libraries() -> list[str]:
    """Returns the modules that the programs import, in their order, without those of Prefect and of this project."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        for name in NEEDED:
            import_module(name)
        with os.fdopen(writer, "w") as stream:
            stream.write(" ".join(name for name in sys.modules if name.partition(".")[0] not in NOT_SHARED))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        names = stream.read().split()
    os.waitpid(child, 0)
    return names


def main() -> NoReturn:
    """Serves; does in each fork what `python -m MODULE ARGUMENT...` or `python -c CODE ARGUMENT...` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = int(sys.argv[1])
    server = ForkServer(socket.socket(fileno=int(sys.argv[2])), lambda: os.getppid() == parent)
    for name in libraries():
        with suppress(ImportError):  # a name that a library gave to a part of another module
            import_module(name)
    assert "prefect" not in sys.modules
    unload_own_packages()
    gc.collect()
    gc.freeze()
    flag, program, *arguments = server.serve().arguments
    sys.path[0] = str(Path.cwd())
    sys.argv = [flag if flag == "-c" else program, *arguments]
    if flag == "-c":
        exec(program, {"__name__": "__main__"})
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
