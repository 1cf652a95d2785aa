"""A run on a system without the parts of Linux that the engine uses: simulated, since the tests run on Linux."""

from tests.conftest import Toy
from tests.support.commands import run_python

# The libraries are imported first: they choose their own code by the system.
WITHOUT_LINUX = """
import asyncio, ctypes, os, sys, sysconfig; sysconfig.get_config_vars()
import dvc.repo.reproduce, psutil, urllib.request, flows.cli.interactive_run, flows.cli.run, flows.engine.policy
del os.sched_getaffinity, os.pidfd_open
real = ctypes.CDLL
ctypes.CDLL = lambda name, *rest, **options: object() if name is None else real(name, *rest, **options)
sys.platform = "darwin"
from flows.cli.main import console
console()
"""


def test_a_run_needs_no_part_of_linux(diamond: Toy) -> None:
    """Without inotify, affinity, process descriptors and forks a run ends as on Linux, and says nothing of it."""
    diamond.write({"execution.yaml": "stages: {source: {preload: [json]}}\n"})
    done = run_python("-c", WITHOUT_LINUX, "run", "--no-server")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 stages ran" in done.stdout and "preload" not in done.stdout
    assert diamond.read("joined") == "one\none\n"
