"""Promotions and rollbacks that are killed: tags, cache and remotes agree, and the same command ends right."""

import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.registry.model_files import fetch_model
from stages.base.errors import InkflowError
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import dvc, succeeded
from tests.flows.registry.conftest import PIPELINE, git
from tests.torture.conftest import Rounds, Try
from tests.torture.promises import Promise
from tests.torture.support.killed_commands import KILLED, Commands, Ended, commands
from tests.torture.support.registry_state import unpushed

SUBJECT = "Served and registered models"
MODEL = "model.bin"
SEED = 17
VERSIONS = ("one", "two")  # contents of the models v0.0.1 and v0.0.2
LOCKED = re.compile(r"remove (\S+\.lock(?:, \S+\.lock)*), then repeat")


class Case(NamedTuple):
    """A command, the project in which it is killed, and what it leaves.

    Attributes:
        name: for the page.
        arguments: of `inkflow`.
        project: the folder of the project.
        version: holds `prod` once the command has ended right.
        done: the sentence of the command that is repeated after its end; empty if it succeeds again.
    """

    name: str
    arguments: tuple[str, ...]
    project: str
    version: str
    done: str

    def accepts(self, ended: Ended) -> bool:
        """Returns True if the repeated command succeeded, or says that the killed one had come to its end."""
        return ended.code == 0 or (ended.is_sentence and self.done != "" and ended.last_line.endswith(self.done))


HELD = "net v0.0.2 holds prod already; there is nothing to do but --push"
FIRST = "net v0.0.1 is the first version in prod: there is no earlier one to roll back to"


CASES = (
    Case("promote", ("promote", "net", "prod"), "committed", "v0.0.2", HELD),
    Case("promote --push", ("promote", "net", "prod", "--push"), "committed", "v0.0.2", ""),
    Case("rollback", ("rollback", "prod"), "promoted", "v0.0.1", FIRST),
    Case("rollback --push", ("rollback", "prod", "--push"), "promoted", "v0.0.1", FIRST),
)


@pytest.fixture
def kills() -> Iterator[Commands]:
    """The process that runs commands, and kills them."""
    with commands() as process:
        yield process


@pytest.fixture
def projects(toy: Toy, tmp_path: Path, kills: Commands) -> Path:
    """Folders with a project, its remote of Git and its DVC remote, as they are before a command.

    committed    v0.0.1 is pushed and holds `prod`; a second model is committed
    promoted     v0.0.2 holds `prod`, and is only in the project
    """
    subprocess.run(
        ["git", "init", "-q", "--bare", "--template=", "-b", "main", str(tmp_path / "origin.git")], check=True
    )
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": "/.inkflow\n"})
    for setting in (("user.name", "Ada"), ("user.email", "ada@example.org"), ("gc.auto", "0")):
        git("config", *setting)
    git("remote", "add", "origin", "../origin.git")
    dvc("remote", "add", "-q", "-d", "store", "../store")
    for number, content in enumerate(VERSIONS, 1):
        toy.write({"in": content})
        succeeded(run_engine())
        git("add", "--all")
        git("commit", "-qm", content)
        if number == 1:
            assert kills.run(toy.folder, "promote", "net", "prod", "--push").code == 0
    shutil.rmtree(toy.folder / ".git/hooks", ignore_errors=True)
    base = tmp_path / "base"
    for project in ("committed", "promoted"):
        if project == "promoted":
            assert kills.run(toy.folder, "promote", "net", "prod").code == 0
        for name in ("toy", "origin.git", "store"):
            shutil.copytree(tmp_path / name, base / project / name, symlinks=True)
    return base


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.farm
def test_killed_promotions(projects: Path, tmp_path: Path, kills: Commands, promise: Try, rounds: Rounds) -> None:
    """After a kill every version's model is at hand with the right bytes, and the same command ends right."""
    chance = random.Random(SEED)
    text = (
        "A promotion or rollback that is killed leaves no version without its files, and ends right when repeated, or "
        "after the locks that it names are removed; with `--push`, Git's remote then has all of its tags."
    )
    how = "kill -9 before steps (a changed file, a started program)"
    with promise(SUBJECT, text, how) as tried:
        locked = 0
        for case in CASES if rounds(0, 1) else CASES[1::2]:  # with --push a command does all that it does without
            whole = kills.run(_copy(projects, case, tmp_path), *case.arguments)
            assert whole.code == 0, whole.output
            steps = chance.sample(range(1, whole.steps + 1), rounds(1, whole.steps))
            before = tried.attempts
            for step in steps:
                with tried.verdict(f"{case.name} killed before step {step} of {whole.steps}"):
                    locked += _attempt(tried, case, _copy(projects, case, tmp_path), kills, step=step)
            at_steps = tried.attempts - before
            with tried.verdict(case.name):
                assert at_steps >= len(steps) * 0.9, f"only {at_steps} of {len(steps)} steps were reached"
            for number in range(rounds(0, 4)):
                after_s = chance.uniform(0, whole.seconds)
                with tried.verdict(f"{case.name} killed after {after_s:.3f} s, number {number} of seed {SEED}"):
                    locked += _attempt(tried, case, _copy(projects, case, tmp_path), kills, after_s=after_s)
            at_random = tried.attempts - before - at_steps
            tried.how += f"; `{case.name}`: {at_steps} of {whole.steps} steps, all processes at {at_random} moments"
        tried.how += f"; {locked} times a lock was removed"


def _copy(projects: Path, case: Case, folder: Path) -> Path:
    """Copies a project with its remotes to a path of its own: DVC remembers by path what a remote has."""
    copy = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(projects / case.project, copy, symlinks=True, dirs_exist_ok=True)
    return copy / "toy"


def _attempt(
    tried: Promise, case: Case, project: Path, kills: Commands, step: int | None = None, after_s: float | None = None
) -> bool:
    """Kills the command, which counts as an attempt if it had not ended before, and repeats it.

    Returns:
        Whether locks had to be removed.
    """
    killed = kills.run(project, *case.arguments, step=step, after_s=after_s)
    tried.count(killed.code == KILLED)
    assert killed.code in (0, KILLED), killed.output
    pushed = "--push" in case.arguments
    _check_files(project, kills, pushed)
    again = kills.run(project, *case.arguments)
    named = LOCKED.search(again.output) if again.code else None
    if named:
        for path in named[1].split(", "):
            Path(path).unlink()
        again = kills.run(project, *case.arguments)
    assert case.accepts(again), again.output
    assert set(_check_files(project, kills, pushed)) == {case.version}, again.output
    assert not pushed or unpushed(project) == [], again.output
    return named is not None


def _check_files(project: Path, kills: Commands, pushed: bool) -> list[str]:
    """Checks that the model of each version has its bytes, here and for those who have what was pushed.

    Returns:
        The versions that hold `prod`: here, and with `pushed` for the others.
    """
    holders = []
    for folder in (project, _clone(project)) if pushed else (project,):
        listed = kills.run(folder, "models", "--json")
        assert listed.code == 0, listed.output
        for item in json.loads(listed.output)["versions"]:
            try:
                found = fetch_model(folder, f"net@{item['version']}").path
            except InkflowError as error:
                raise AssertionError(f"{folder.name}, {item['version']}: {error}") from error
            assert (folder / found).read_text() == VERSIONS[int(item["version"][-1]) - 1]
            holders += [item["version"]] if "prod" in item["stages"] else []
    return holders


def _clone(project: Path) -> Path:
    """Returns a fresh clone of what was pushed; it has no cache of its own."""
    clone = project.parent / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(
        ["git", "clone", "-q", "--no-checkout", str(project.parent / "origin.git"), str(clone)],
        check=True,
        capture_output=True,
    )
    subprocess.run(["git", "checkout", "-q", "net@v0.0.1"], cwd=clone, check=True)
    return clone
