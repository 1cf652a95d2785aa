"""The helpers of the tests of damaged files: what they take for noticed, and that they come to an end."""

import subprocess

import pytest

<<<<<<< HEAD
from tests.torture.support.damage import problem
from tests.torture.support.forked import Outcome, wait
=======
from tests.torture.support import kills
from tests.torture.support.crash_project import OBJECTS, CrashProject, damage, locks
from tests.torture.support.forked import wait
from tests.torture.support.kills import Campaign
from tests.torture.support.machine_faults import DAY_S, Clock, limited
from tests.torture.support.quick_check import QuickCheck
>>>>>>> 4312edba99588a20293bec91f22c90e02269b48a


def test_a_command_that_hangs_is_killed_with_its_group() -> None:
    """A process that does not end in time has no exit code, and does not stay; nor do its children."""
    command = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert wait(process.pid, 0.1) is None
        assert process.stdout.read() == ""  # the child has closed it
    assert child != process.pid
