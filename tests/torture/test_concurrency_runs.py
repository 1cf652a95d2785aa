"""A run beside everything that people do meanwhile: each ends right, or says that it waits or refuses."""

import hashlib
import json
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.engine.output_backup import has_backups
from tests.conftest import Toy, wait_until
from tests.flows.engine.helpers import stage_processes
from tests.torture.conftest import Rounds, Try
from tests.torture.support.beside import BESIDE, PATIENT, RUN, STAGE, Beside, Project, Started, expected

SUBJECT = "At the same time"
SEED = 17
SECONDS = 0.6  # of a stage
SLOWNESS = 5.0  # of the stages beside a command, whose start takes seconds
LATEST_S = 1.0  # after the start of the first stage
ROUNDS = 2  # in `make torture`, each with another seed
TRIES = 5  # of a run that is still under way when the other begins


@contextmanager
def finished(processes: Started) -> Iterator[None]:
    """Ends the processes at the end of the block, if they have not ended themselves."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.farm
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_beside(promise: Try, rounds: Rounds, toy: Toy) -> None:
    """A run beside each of these at a random moment: both end without a traceback, and no record is wrong."""
    project = Project(toy, SECONDS)
    sentence = "A run beside other commands and edits ends right or says why not, and records no wrong result."
    right, refused, met, commands = 0, Counter[str](), Counter[str](), 0
    with promise(SUBJECT, sentence, "") as tried:
        for seed in range(SEED, SEED + rounds(1, ROUNDS)):
            dice = random.Random(seed)
            for beside in BESIDE if rounds(0, 1) else [PATIENT]:  # two runs: tests/flows/engine/test_runs_together.py
                with tried.attempt(f"{beside.name}, seed {seed}"):
                    ended = one_round(project, beside, dice)
                    right, commands = right + ended.right, commands + ended.is_command
                    refused[beside.name] += not ended.right
                    met[beside.name] += ended.beside
        with tried.verdict("a command and a run at the same time"):
            assert not rounds(0, 1) or met["dvc repro"] + refused["dvc repro"], met
        others = ", ".join(f"{name} {number}" for name, number in refused.items() if number) or "none"
        tried.how = (
            f"{len(BESIDE)} commands, edits and checkouts at random moments of a run, then a run and `dvc status`; "
            f"both ended right: {right}; with a sentence of refusal: {others}; {met.total()} of {commands} commands "
            "ended while the run went on"
        )


@dataclass(frozen=True)
class Ended:
    """How a round ended: both right or not, and whether a command beside the run had ended while it went on."""

    right: bool
    is_command: bool
    beside: bool


def one_round(project: Project, beside: Beside, dice: random.Random) -> Ended:
    """Runs on new data, does something at a random moment, and judges what is left."""
    project.slowness = SLOWNESS if beside.is_command else 1.0
    run = under_way(project, dice)
    processes = [run]
    with finished(processes):
        processes += beside.act(project, dice)
        others = [process.communicate(timeout=240)[0] for process in processes[1:]]
        is_beside = beside.is_command and run.poll() is None
        outputs = [run.communicate(timeout=240)[0], *others]
    refusals = [beside.run, *(beside.other for _ in processes[1:])]
    ended = [ends_right(*each) for each in zip(processes, outputs, refusals, strict=True)]
    project.slowness = 0.0
    leaves_all_right(project, outputs)
    return Ended(all(ended), beside.is_command, is_beside)


def under_way(project: Project, dice: random.Random) -> "subprocess.Popen[str]":
    """Starts a run on new data, and returns it at a random moment of its stages, at which it still runs."""
    for _ in range(TRIES):
        project.toy.write({"in": f"{dice.random()}\n"})
        run = project.start(*RUN)
        try:
            wait_until(partial(_has_begun, project.folder, run), timeout_s=120)
        except TimeoutError:
            run.kill()
            raise
        time.sleep(dice.uniform(0.0, LATEST_S))
        if run.poll() is None:
            return run
        output, _ = run.communicate()
        assert run.returncode == 0, output
    raise AssertionError(f"{TRIES} runs ended before anything could be done beside them")


def _has_begun(folder: Path, run: "subprocess.Popen[str]") -> bool:
    return bool(stage_processes(folder)) or run.poll() is not None


def ends_right(process: "subprocess.Popen[str]", output: str, refusal: str) -> bool:
    """Returns whether a command ended right; fails if it did not, without the sentence of its refusal."""
    assert not re.search("^Traceback|unexpected error", output, re.MULTILINE), output
    if process.returncode == 0:
        return True
    assert refusal and re.search(refusal, output, re.MULTILINE), (process.args, process.returncode, output)
    return False


def leaves_all_right(project: Project, outputs: list[str]) -> None:
    """Runs once more, and compares outputs and records with what the graph makes of the inputs."""
    records_are_true(project, outputs)
    project.write_ignore()
    last = project.start(*RUN)
    with finished([last]):
        output, _ = last.communicate(timeout=240)
    assert last.returncode == 0, (output, outputs)
    for name, content in expected(*project.state()).items():
        assert (project.folder / name).read_bytes() == content, (name, outputs, output)
    records_are_true(project, [*outputs, output])
    status = subprocess.run(["dvc", "status", "--json"], cwd=project.folder, capture_output=True, text=True, check=True)
    assert json.loads(status.stdout) == {}, (status.stdout, outputs)
    assert stage_processes(project.folder) == [] and not has_backups(project.folder)


def records_are_true(project: Project, outputs: list[str]) -> None:
    """Compares each entry of dvc.lock, and of the run cache, with what its stage makes of the recorded inputs."""
    lock = project.folder / "dvc.lock"
    entries = YAML(typ="safe").load(lock.read_text())["stages"] if lock.exists() else {}
    listed = [*entries.items()]
    for path in (project.folder / ".dvc/cache/runs").glob("??/*/*"):
        if path.is_file():
            entry = YAML(typ="safe").load(path.read_text())
            listed.append((entry["cmd"].split()[2], entry))
    for name, entry in listed:
        stage = name.removesuffix(".py")
        digests = {item["path"]: item["md5"] for item in entry["deps"]}
        rest = _cached(project, entry["outs"][0]["md5"])
        if rest is None:
            continue  # removed from the cache since
        mark = "" if digests["stage.py"] == _md5(STAGE.encode()) else "!"
        ending = f"{stage} {entry['params']['params.yaml']['speed']}{mark}\n".encode()
        assert rest.endswith(ending), (stage, entry, rest, outputs)
        rest = rest.removesuffix(ending)
        for each in {"first": ["in"], "left": ["first"], "right": ["first", "other"], "last": ["left", "right"]}[stage]:
            part = rest if each in ("in", "other") else _cached(project, digests[each])
            if part is None:
                break
            assert rest.startswith(part) and _md5(part) == digests[each], (stage, each, entry, rest, outputs)
            rest = rest.removeprefix(part)


def _cached(project: Project, digest: str) -> bytes | None:
    path = project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    return path.read_bytes() if path.exists() else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
