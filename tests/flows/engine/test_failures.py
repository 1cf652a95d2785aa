"""Failures, retries, time limits, inputs that change meanwhile: nothing wrong is recorded, nothing is left over."""

import os
import time
from pathlib import Path

import pytest
from dvc.stage import Stage
from ruamel.yaml import YAML

from flows.core.errors import InputsChanged, StageFailed, StageTimedOut
from flows.engine.policy import Policies, StagePolicy
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.run import Run
from flows.engine.types import Command, Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.toys import locks, outcomes, plan_here, stage_processes, status, succeeded

WATCHED = """
stages:
  reader:
    cmd: >-
      echo >> reader.runs; {edit}; cat folder/* > out
    deps: [in, folder]
    params: [speed, {{other.yaml: [speed]}}, {{whole.yaml: null}}]
    outs: [out]
"""


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ("echo new > in", "in"),
        ("cp in kept; echo new > in; cp kept in", "in"),
        ("echo 'speed: 2' > params.yaml", "speed"),
        ("echo 'speed: 2' > other.yaml", "other.yaml:speed"),
        ("echo 'pace: 2' >> whole.yaml", "whole.yaml:pace"),
        ("echo new > folder/x", "folder"),
        ("echo new > folder/another", "folder"),
        ("cp folder/x kept; echo new > folder/x; cp kept folder/x", "folder"),
        ("rm in; mkdir in; touch in/y", "in"),
    ],
)
def test_inputs_are_frozen_at_start(toy: Toy, edit: str, named: str) -> None:
    """What a stage reads is edited while it runs: it fails and names it, nothing is recorded, and it is done again."""
    toy.write(
        {
            "dvc.yaml": WATCHED.format(edit="true"),
            "in": "one\n",
            "folder/x": "x\n",
            "params.yaml": "speed: 1\n",
            "other.yaml": "speed: 1\n",
            "whole.yaml": "speed: 1\n",
        }
    )
    succeeded(run_engine())
    before, cached = locks(toy.folder), run_cache(toy.folder)
    toy.write({"dvc.yaml": WATCHED.format(edit="test -e once || { touch once; " + edit + "; }")})
    run = run_engine()
    assert isinstance(run.error, InputsChanged)
    assert str(run.error).startswith(f"reader: {named} changed while it ran"), run.error
    assert (locks(toy.folder), run_cache(toy.folder)) == (before, cached)
    if (toy.folder / "in").is_dir():
        (toy.folder / "in/y").unlink()
        (toy.folder / "in").rmdir()
        toy.write({"in": "new\n"})
    assert outcomes(succeeded(run_engine())) == {"reader": Outcome.RAN}
    assert status() == {}


def test_files_that_dvc_ignores_are_no_inputs(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that imports from a folder it depends on writes `__pycache__` there: DVC ignores it, and so do we."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    command = """python -c 'import pkg.mod; open("out", "w").write("1")'"""
    files = {".dvcignore": "__pycache__\n", "pkg/mod.py": "", "pkg/data": "one\n"}
    toy.write(files | {"dvc.yaml": f"stages:\n  use:\n    cmd: {command}\n    deps: [pkg]\n    outs: [out]\n"})
    assert outcomes(succeeded(run_engine())) == {"use": Outcome.RAN}
    assert (toy.folder / "pkg/__pycache__").is_dir()
    assert status() == {}


def test_input_edited_while_it_is_recorded(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input edited at the last moment never gets the result of what it was before: what is compared is recorded."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: cp in a, deps: [in], outs: [a]}\n", "in": "one\n"})
    hash_inputs, hashed_after_the_command = Stage.save_deps, 0

    def edit_before_the_second(stage: Stage, allow_missing: bool = False) -> None:
        nonlocal hashed_after_the_command
        hashed_after_the_command += (toy.folder / "a").exists()
        if hashed_after_the_command == 2:
            toy.write({"in": "two\n"})
        hash_inputs(stage, allow_missing)

    monkeypatch.setattr(Stage, "save_deps", edit_before_the_second)
    run_engine()
    entry = YAML(typ="safe").load(toy.read("dvc.lock"))["stages"]["a"]
    assert entry["deps"][0]["md5"] == entry["outs"][0]["md5"]


def run_cache(folder: Path) -> set[str]:
    """Names of the run cache's entries."""
    return {path.name for path in (folder / ".dvc/cache/runs").rglob("*") if path.is_file()}


FAILING = """
stages:
  a: {{cmd: "echo >> a.runs; {failure}", deps: [in], outs: [a, a2]}}
  b: {{cmd: "echo >> b.runs; cat a > b", deps: [a], outs: [b]}}
  other: {{cmd: "echo >> other.runs; sleep 0.5; cat in > other", deps: [in], outs: [other]}}
  after: {{cmd: "echo >> after.runs; cat other > after", deps: [other], outs: [after]}}
"""


def failing(toy: Toy, failure: str, *, given: str = "one\n", keep_going: bool = False, **policy: object) -> Run:
    """A run in which stage `a` does `failure`."""
    toy.write({"dvc.yaml": FAILING.format(failure=failure), "in": given})
    policies = Policies.model_validate({"stages": {"a": policy}})
    return run_engine(jobs=2, keep_going=keep_going, policies=policies)


@pytest.mark.parametrize(("code", "tries"), [(69, 3), (75, 3), (1, 1), (2, 1), (130, 1)])
def test_retries(toy: Toy, code: int, tries: int) -> None:
    """Only what can pass by itself is tried again, as often as the policy says."""
    run = failing(toy, f"exit {code}", retries=2)
    assert isinstance(run.error, StageFailed)
    assert toy.runs("a") == tries


def test_retry_that_succeeds(toy: Toy) -> None:
    """A stage that succeeds with its second try is as good as any."""
    run = failing(toy, "test $(wc -l < a.runs) = 2 || exit 75; echo 1 > a; echo 2 > a2", retries=2)
    assert outcomes(succeeded(run))["a"] is Outcome.RAN
    assert status() == {}
    assert toy.runs("a") == 2


@pytest.mark.usefixtures("no_stray")
@pytest.mark.parametrize("command", ["sleep 60", "(sleep 60 & sleep 60)", "setsid sleep 60", "trap '' TERM; sleep 60"])
def test_time_limit(toy: Toy, command: str) -> None:
    """A stage that takes longer than its limit ends with all that it started, and fails."""
    started = time.monotonic()
    run = failing(toy, command, timeout_s=0.7)
    assert isinstance(run.error, StageTimedOut)
    assert time.monotonic() - started < 20
    assert stage_processes(toy.folder) == []


def test_nobody_can_hear(toy: Toy) -> None:
    """A stage that says more than a pipe holds ends well, also when whoever hears it fails with each line."""

    def fail(text: str) -> None:
        if not text.startswith("> "):
            raise BrokenPipeError(text)

    CommandRunner(toy.folder).run(
        Command("a", ("seq -f %0100g 3000", "echo done > a"), str(toy.folder)), fail, timeout_s=60
    )
    assert toy.read("a") == "done\n"


@pytest.mark.usefixtures("no_stray")
def test_left_behind_on_success(toy: Toy) -> None:
    """What a stage leaves in the background when it ends well is ended, even where it holds our pipe."""
    run = failing(toy, "echo 1 > a; echo 2 > a2; sleep 60 & setsid sleep 60 & true")
    assert outcomes(succeeded(run))["a"] is Outcome.RAN


def test_keep_going(toy: Toy) -> None:
    """With keep_going all runs that does not depend on the failure; without, nothing more starts."""
    run = failing(toy, "exit 1", keep_going=True)
    assert (list(run.errors), run.not_run) == (["a"], {"b": "a failed"})
    assert set(run.ran) == {"other", "after"}
    again = failing(toy, "exit 3", given="two\n")
    assert set(again.not_run) == {"b", "after"}


@pytest.mark.parametrize("failure", ["echo half > a; exit 1", "echo half > a", "rm -f a; exit 1"])
def test_failure_brings_outputs_back(toy: Toy, failure: str) -> None:
    """A failed stage leaves its earlier outputs as they were, dvc.lock too; also when it wrote one of two outputs."""
    succeeded(failing(toy, "cat in > a; echo 2 > a2"))
    before = locks(toy.folder)
    run = failing(toy, failure)
    assert list(run.errors) == ["a"]
    assert (toy.read("a"), toy.read("a2")) == ("one\n", "2\n")
    assert locks(toy.folder) == before
    toy.write({"dvc.yaml": FAILING.format(failure="cat in > a; echo 2 > a2")})
    assert {decision.verdict for decision in plan_here().values()} == {"unchanged"}


GPUS = """
stages:
  train:
    foreach: [p, q, r, s]
    do:
      cmd: >-
        echo $(date +%s.%N) $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS > ${item}; sleep 0.4; date +%s.%N >> ${item}
      deps: [in]
      outs: ["${item}"]
"""


def test_gpus_and_threads(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stages that take a GPU each, as many run at once as there are GPUs, each with its own and its threads."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    toy.write({"dvc.yaml": GPUS, "in": "one\n"})
    succeeded(run_engine(jobs=4, policies=Policies(stages={"train@*": StagePolicy(gpus=1)})))
    spans = []
    for name in "pqrs":
        start, gpu, threads, end = toy.read(name).split()
        assert int(threads) == max(1, len(os.sched_getaffinity(0)) // 4)
        spans.append((float(start), float(end), gpu))
    together = [[other for other in spans if other[0] <= span[0] < other[1]] for span in spans]
    assert max(map(len, together)) == 2
    assert all(len({gpu for _, _, gpu in group}) == len(group) for group in together)
