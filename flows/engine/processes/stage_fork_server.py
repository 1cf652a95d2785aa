"""Imports the modules that stages need, then forks one process for each stage.

    python .../stage_fork_server.py PARENT LISTENER FOLDER PRELOAD...

`fork_client` runs this file by its path, with the environment of a stage. It ends with the process PARENT, once its
imports are done. LISTENER is the number of an open socket. PRELOAD is a module, or `module:function` to call. Modules
of the project in FOLDER are unloaded before the first fork, so that each stage reads its own code from disk.
"""

import gc
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import NoReturn

LIBRARIES = tuple(str(Path(prefix, "lib")) for prefix in (sys.prefix, sys.base_prefix))
OWN_PACKAGES = ("flows", "sitecustomize", "stages")
UNSAFE = ("onnxruntime",)  # they start a thread at import and wait for it, and a fork has no such thread


def preload(name: str) -> None:
    """Imports a module, and calls its function if `name` is `module:function`."""
    module, _, function = name.partition(":")
    imported = import_module(module)
    if function:
        getattr(imported, function)()


def unload_own_packages() -> None:
    """Unloads the packages of this program: modules of the project may have the same names."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OWN_PACKAGES:
            del sys.modules[name]


def unload_project(folder: str) -> tuple[list[str], list[str]]:
    """Unloads the modules of the project in `folder`, packages without `__init__.py` too; returns names and files."""
    main = sys.modules["__main__"]  # multiprocessing gives it a second name
    modules = {name: module for name, module in list(sys.modules.items()) if module not in (main, None)}
    own = {name: module for name, module in modules.items() if any(map(is_in(folder), locations(module)))}
    files = [file for module in own.values() if (file := getattr(module, "__file__", None))]
    for file in files:
        if file.endswith(tuple(EXTENSION_SUFFIXES)):
            sys.exit(f"{Path(file).name} is an extension module, which a process cannot import twice")
    for name in modules:
        parent, _, child = name.rpartition(".")
        if parent in own and name not in own:
            sys.exit(f"{parent} is a package of the project and of a library, which has imported {name}")
        if name in own and parent in modules and parent not in own and hasattr(modules[parent], child):
            delattr(modules[parent], child)
    for name in own:
        del sys.modules[name]
    return list(own), files


def locations(module: ModuleType) -> list[str]:
    """Returns the file of a module; for a package without `__init__.py`, its folders."""
    file = getattr(module, "__file__", None)
    return [file] if file else [str(path) for path in getattr(module, "__path__", ())]


def is_in(folder: str) -> Callable[[str], bool]:
    """Returns a function that is True for paths in the project's `folder` that belong to no library."""
    return lambda path: Path(folder) in Path(path).parents and not path.startswith(LIBRARIES)


def ensure_importable_again(names: Sequence[str]) -> None:
    """Ends the process if a module fails when it is imported again: it may register something that is allowed once."""
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            sys.exit(1)  # the message of the child is the reason
        return
    try:
        for name in names:
            import_module(name)
    except BaseException as error:  # noqa: BLE001 - a module may raise anything
        reason = f"{name} cannot be imported twice: {type(error).__name__}: {error}"
        os.write(2, f"{' '.join(reason.split())}\n".encode())
        os._exit(1)
    os._exit(0)


def main() -> NoReturn:
    """Imports the modules and serves; runs the module of a stage in each fork, as `python -m` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, listener, folder, *names = sys.argv[1:]
    path = sys.path[:]
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from flows.engine.opened_files.site import sitecustomize  # late: the path is set only now
    from flows.engine.processes.fork_server import ForkServer

    server = ForkServer(socket.socket(fileno=int(listener)), lambda: os.getppid() == int(parent))
    unload_own_packages()
    sys.path[:] = path if sys.flags.safe_path else [folder, *path[1:]]
    for name in names:
        preload(name)
    if unsafe := [name for name in UNSAFE if name in sys.modules]:
        sys.exit(f"{unsafe[0]} hangs in a forked process")
    own, files = unload_project(folder)
    ensure_importable_again(own)
    gc.collect()
    gc.freeze()  # else the first garbage collection in a fork would write to all memory pages
    module, *arguments = server.serve(files).arguments[1:]  # without -m
    sitecustomize.install()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # else all forks would draw the same numbers; Python reseeds its own generator
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
