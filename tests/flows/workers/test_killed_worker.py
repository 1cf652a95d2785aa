"""A worker that is killed: what it has started ends too."""

import socket
import subprocess
import sys

from tests.support.root import ROOT


def test_git_dies_with_its_worker() -> None:
    """The git of a worker that is killed ends too: the next worker removes the locks that it would still use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"git://127.0.0.1:{server.getsockname()[1]}/x"
        code = f"from flows.workers.code_checkout import Path, _git; _git(Path(), 'ls-remote', '{address}')"
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as worker:
            server.settimeout(60)
            connection, _ = server.accept()
            worker.kill()
    with connection:
        connection.settimeout(60)
        while connection.recv(1000):  # git's request; then the end, since git is gone
            pass
