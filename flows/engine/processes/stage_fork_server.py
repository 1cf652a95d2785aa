"""Imports what stages compute with, then forks one process for each stage.

    python .../stage_fork_server.py PARENT LISTENER FOLDER PRELOAD...

`fork_client` starts it by its path, with the environment of a stage; it ends with its PARENT, once all is imported.
LISTENER is the number of an open socket; a PRELOAD is a module, or `module:function` to be called. Modules of the
project in FOLDER are forgotten before the first fork, so that a stage always reads its own code from disk.
"""

import gc
import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NoReturn

LIBRARIES = tuple(str(Path(prefix, "lib")) for prefix in (sys.prefix, sys.base_prefix))
OURS = ("flows", "stages")
HANG = ("onnxruntime",)  # they start a thread when they are imported, and wait for it in a fork for ever


def preload(wanted: str) -> None:
    """Import a module, and call its function where one is named."""
    module, _, function = wanted.partition(":")
    imported = import_module(module)
    if function:
        getattr(imported, function)()


def forget_ours() -> None:
    """Let nothing of this package stay imported: the project's modules may have the same names."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]


def forget_project(folder: str) -> list[str]:
    """Let no code of the project in `folder` stay imported; the files of it."""
    found = {
        name: getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name != "__main__"
    }
    own = {
        name: file
        for name, file in found.items()
        if file and Path(folder) in Path(file).parents and not file.startswith(LIBRARIES)
    }
    for name, file in own.items():
        if file.endswith(tuple(EXTENSION_SUFFIXES)):
            sys.exit(f"{name} is compiled: it cannot be read from disk once more")
        del sys.modules[name]
    return list(own.values())


def main() -> NoReturn:
    """Import what is named, then serve; in each fork, do what `python -m` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, number, folder, *wanted = sys.argv[1:]
    path = sys.path[:]
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from flows.engine.processes.fork_server import ForkServer

    server = ForkServer(socket.socket(fileno=int(number)), lambda: os.getppid() == int(parent))
    forget_ours()
    sys.path[:] = path if sys.flags.safe_path else [folder, *path[1:]]
    for each in wanted:
        preload(each)
    if unfit := [name for name in HANG if name in sys.modules]:
        sys.exit(f"{unfit[0]} would wait for ever in a fork")
    files = forget_project(folder)
    gc.collect()
    gc.freeze()  # else the first search for unused objects in a fork would write to all pages
    module, *arguments = server.serve(files).arguments[1:]  # after -m
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # as Python's own generator does: no two processes draw the same
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
