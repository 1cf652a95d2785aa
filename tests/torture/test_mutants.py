"""Mutants: the tests notice a changed decision in the modules that decide, or it is explained why nothing changes."""

import random
import re
import subprocess
import sys

import pytest

from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try

SEED = 17  # in `make test`, which fails again or not at all


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.farm
def test_random_mutants_are_noticed(promise: Try, rounds: Rounds) -> None:
    """Of random mutants of random modules each one makes a test fail, or its survival is explained."""
    pytest.importorskip("mutmut")
    is_thorough = rounds(0, 1)
    seed = random.SystemRandom().randrange(10**6) if is_thorough else SEED
    modules = (
        ["--sample", "4", "20"] if is_thorough else ["flows/engine/planning/change_messages.py", "--sample", "1", "3"]
    )
    text = "A changed decision in a module that decides makes a test fail, unless it changes nothing that can be seen."
    how = "random mutants of random modules of tests/mutants/modules.toml"
    with promise("Mutation tests", text, how) as tried:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.mutants", *modules, "--seed", str(seed)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        counts = [int(number) for number in re.findall(r"^\S+: (\d+) mutants,", ended.stdout, re.MULTILINE)]
        tried.count(max(0, sum(counts) - 1))
        with tried.attempt(f"--seed {seed}"):
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert counts
