"""The process whose forks are stages: it has imported what they compute with, and no threads.

    python flows/stage_prefork.py PARENT LISTENER FOLDER PRELOAD...

Started by `flows.stage_forks`, by its path and with the environment of a stage; ends with its PARENT. LISTENER is the
number of an open socket; a PRELOAD is a module, or `module:function` to be called. What belongs to a project is
forgotten again: a stage's own code is always read from disk.
"""

import gc
import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

LIBRARIES = tuple(str(Path(prefix, "lib")) for prefix in (sys.prefix, sys.base_prefix))


def preload(wanted: str) -> None:
    """Import a module, and call its function where one is named."""
    module, _, function = wanted.partition(":")
    imported = import_module(module)
    if function:
        getattr(imported, function)()


def forget_projects() -> list[str]:
    """Let no code stay imported that is not of Python's libraries; the files of it."""
    found = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name != "__main__"}
    own = {name: file for name, file in found.items() if file and not file.startswith(LIBRARIES)}
    for name in own:
        del sys.modules[name]
    return [file for file in own.values() if file]


def main() -> NoReturn:
    """Import what is named, then serve; in each fork, do what `python -m` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, number, folder, *wanted = sys.argv[1:]
    sys.path[0] = str(Path(__file__).parents[1])
    from flows.fork_server import ForkServer

    server = ForkServer(socket.socket(fileno=int(number)), lambda: os.getppid() == int(parent))
    if not sys.flags.safe_path:
        sys.path[0] = folder
    forget_projects()  # of ours, the project's may have the same names
    for each in wanted:
        preload(each)
    files = forget_projects()
    gc.collect()
    gc.freeze()  # else the first search for unused objects in a fork would write to all pages
    module, *arguments = server.serve(files).arguments[1:]  # after -m
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
