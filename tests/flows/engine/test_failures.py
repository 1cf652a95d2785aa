"""Failures, retries, time limits, changed inputs: no wrong result is recorded, and no process or output is left."""

import os
from pathlib import Path

import pytest
from dvc.stage import Stage
from ruamel.yaml import YAML

from flows.core.errors import InputsChanged, StageFailed, StageTimedOut
from flows.engine.display.plain import SilentDisplay
from flows.engine.policy import Policies, StagePolicy
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.run import Run
from flows.engine.types import Command, Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import (
    RecordingDisplay,
    dvc_repro,
    locks,
    make_plan,
    outcomes,
    stage_processes,
    status,
    succeeded,
    twin,
)
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import track

WATCHED = """
stages:
  reader:
    cmd: >-
      echo >> reader.runs; {edit}; cat folder/* > out
    deps: [in, folder, ignored]
    params: [speed, {{other.yaml: [speed]}}, {{whole.yaml: null}}]
    outs: [out]
"""


def make_watched(folder: Path) -> None:
    """Makes a project whose stage has run, with inputs of all kinds."""
    toy = Toy(folder)
    toy.write(
        {
            "dvc.yaml": WATCHED.format(edit="true"),
            "in": "one\n",
            ".gitignore": "/ignored\n",
        }
        | dict.fromkeys(("params.yaml", "other.yaml", "whole.yaml"), "speed: 1\n")
        | {"folder/x": "x\n", "folder/y": "y\n", "folder/tracked": "data\n", "ignored/x": "x\n"}
    )
    track("folder/tracked")
    succeeded(run_engine())


@pytest.mark.cases(7)
@pytest.mark.parametrize(
    ("edit", "name"),
    [
        ("echo new > in", "in"),
        ("echo 'speed: 2' > params.yaml", "speed"),
        ("echo 'pace: 2' >> whole.yaml", "whole.yaml:pace"),
        ("rm folder/y", "folder"),
        ("echo new > folder/tracked", "folder"),
        ("echo new > ignored/x", "ignored"),
        ("rm in; mkdir in; touch in/y", "in"),
        ("echo 'speed: 2' > other.yaml", "other.yaml:speed"),
        ("echo new > folder/x", "folder"),
    ],
)
def test_input_changes_while_stage_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str, name: str) -> None:
    """A stage whose input changes while it runs fails and names the input; it is not recorded, and runs again."""
    toy = copied_toy(make_watched, tmp_path / "toy", monkeypatch)
    before, cached = locks(toy.folder), run_cache(toy.folder)
    toy.write({"dvc.yaml": WATCHED.format(edit="test -e once || { touch once; " + edit + "; }")})
    run = run_engine()
    assert isinstance(run.error, InputsChanged)
    assert str(run.error).startswith(f"reader: {name} changed while it ran"), run.error
    assert (locks(toy.folder), run_cache(toy.folder)) == (before, cached)
    toy.write({"folder/tracked": "data\n"})  # else it is recorded, and a stage that is not the reader has a result
    if (toy.folder / "in").is_dir():
        (toy.folder / "in/y").unlink()
        (toy.folder / "in").rmdir()
        toy.write({"in": "new\n"})
    assert outcomes(succeeded(run_engine()))["reader"] is Outcome.RAN
    assert status() == {}


UNCHANGED_EDITS = [
    "touch in folder/x",
    "cp folder/x kept; echo new > folder/x; cp kept folder/x",
    "echo new > folder/made.log; rm folder/old.log",
    "mkdir -p folder/sub/__pycache__ folder/.ipynb_checkpoints; touch folder/*/__pycache__/x folder/.ipynb*/x",
    "cp in kept; echo new > in; cp kept in",
    "echo 1 > folder/x.lock; echo 1 > folder/db-journal",
]


@pytest.mark.cases(4)
@pytest.mark.parametrize("edit", UNCHANGED_EDITS)
def test_by_products_are_no_changes(toy: Toy, edit: str) -> None:
    """Equal content, ignored files and by-products are no changes of an input: the result is that of `dvc repro`."""
    files = {".gitignore": "*.log\n", "folder/x": "x\n", "folder/old.log": "old\n", "in": "one\n"}
    command = f"{edit}; cat in folder/x > out"
    toy.write(files | {"dvc.yaml": f"stages:\n  use: {{cmd: {command}, deps: [in, folder], outs: [out]}}\n"})
    copy = twin(toy.folder)
    display = RecordingDisplay()
    assert outcomes(succeeded(run_engine(display=display))) == {"use": Outcome.RAN}
    assert display.notes == []
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    assert outcomes(succeeded(run_engine())) == {"use": Outcome.UNCHANGED}


def test_new_file_in_an_input(toy: Toy) -> None:
    """A file that a stage adds to its own input folder is recorded with it, as by `dvc repro`, and named once."""
    command = "for n in 1 2 3 4 5; do echo > folder/new$n; done; cat folder/x > out"
    toy.write({"dvc.yaml": f"stages:\n  use: {{cmd: {command}, deps: [folder], outs: [out]}}\n", "folder/x": "x\n"})
    copy = twin(toy.folder)
    display = RecordingDisplay()
    succeeded(run_engine(display=display))
    (note,) = display.notes
    assert note.startswith("use: folder/new1, folder/new2, folder/new3 and 2 more appeared in its inputs")
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    assert outcomes(succeeded(run_engine())) == {"use": Outcome.UNCHANGED}


def test_ignored_files_are_no_inputs(toy: Toy) -> None:
    """A file that DVC ignores may change while a stage runs, such as `__pycache__` in a folder that is an input."""
    command = """python -c 'import pkg.mod; open("out", "w").write("1")'"""
    files = {".dvcignore": "__pycache__\n", "pkg/mod.py": "", "pkg/data": "one\n"}
    toy.write(files | {"dvc.yaml": f"stages:\n  use:\n    cmd: {command}\n    deps: [pkg]\n    outs: [out]\n"})
    assert outcomes(succeeded(run_engine())) == {"use": Outcome.RAN}
    assert (toy.folder / "pkg/__pycache__").is_dir()
    assert status() == {}


def test_input_changes_while_stage_is_recorded(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that changes during the recording is never recorded with the result of its earlier content."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: cp in a, deps: [in], outs: [a]}\n", "in": "one\n"})
    hash_inputs, hashed_after_the_command = Stage.save_deps, 0

    def edit_before_second_hash(stage: Stage, allow_missing: bool = False) -> None:
        nonlocal hashed_after_the_command
        hashed_after_the_command += (toy.folder / "a").exists()
        if hashed_after_the_command == 2:
            toy.write({"in": "two\n"})
        hash_inputs(stage, allow_missing)

    monkeypatch.setattr(Stage, "save_deps", edit_before_second_hash)
    run_engine()
    entry = YAML(typ="safe").load(toy.read("dvc.lock"))["stages"]["a"]
    assert entry["deps"][0]["md5"] == entry["outs"][0]["md5"]


def run_cache(folder: Path) -> set[str]:
    """Returns the names of the entries in the run cache."""
    return {path.name for path in (folder / ".dvc/cache/runs").rglob("*") if path.is_file()}


FAILING = """
stages:
  a: {{cmd: "echo >> a.runs; {failure}", deps: [in], outs: [a, a2]}}
  b: {{cmd: "echo >> b.runs; cat a > b", deps: [a], outs: [b]}}
  other: {{cmd: "echo >> other.runs; {wait}; cat in > other", deps: [in], outs: [other]}}
  after: {{cmd: "echo >> after.runs; cat other > after", deps: [other], outs: [after]}}
"""


class LettingGo(SilentDisplay):
    """Makes the file `go` once a stage has failed."""

    def failure(self, stage: str, message: str) -> None:
        """Makes the file."""
        Path("go").touch()


def failing(
    toy: Toy, failure: str, *, content: str = "one\n", wait: str = "true", keep_going: bool = False, **policy: object
) -> Run:
    """Returns a run in which stage `a` runs the shell command `failure`, and stage `other` the command `wait`."""
    toy.write({"dvc.yaml": FAILING.format(failure=failure, wait=wait), "in": content})
    policies = Policies.model_validate({"stages": {"a": policy}})
    return run_engine(jobs=2, keep_going=keep_going, policies=policies, display=LettingGo())


@pytest.mark.cases(4)
@pytest.mark.parametrize(("code", "attempts"), [(75, 3), (1, 1), (2, 1), (130, 1), (69, 3)])
def test_retries(toy: Toy, code: int, attempts: int) -> None:
    """Only failures that may be temporary are retried, as often as the policy says."""
    run = failing(toy, f"exit {code}", retries=2)
    assert isinstance(run.error, StageFailed)
    assert toy.runs("a") == attempts


def test_retry_that_succeeds(toy: Toy) -> None:
    """A stage that succeeds at its second attempt is recorded."""
    run = failing(toy, "test $(wc -l < a.runs) = 2 || exit 75; echo 1 > a; echo 2 > a2", retries=2)
    assert outcomes(succeeded(run))["a"] is Outcome.RAN
    assert status() == {}
    assert toy.runs("a") == 2


@pytest.mark.cases(1)
@pytest.mark.usefixtures("no_orphans")
@pytest.mark.parametrize(
    "command", ["sleep 900", "(sleep 900 & sleep 900)", "setsid sleep 900", "trap '' TERM; sleep 900"]
)
def test_time_limit(toy: Toy, command: str) -> None:
    """A stage that exceeds its time limit fails, and all processes that it started are terminated."""
    run = failing(toy, command, timeout_s=0.7)
    assert isinstance(run.error, StageTimedOut)
    assert stage_processes(toy.folder) == []


def test_failing_output_callback(toy: Toy) -> None:
    """A stage that prints more than a pipe holds succeeds, even if the callback for its output fails with each line."""

    def fail(text: str) -> None:
        if not text.startswith("> "):
            raise BrokenPipeError(text)

    CommandRunner(toy.folder).run(
        Command("a", ("seq -f %0100g 3000", "echo done > a"), str(toy.folder)), fail, timeout_s=240
    )
    assert toy.read("a") == "done\n"


@pytest.mark.farm
@pytest.mark.usefixtures("no_orphans")
def test_background_processes_after_success(toy: Toy) -> None:
    """Background processes of a stage that succeeds are terminated, even if they hold its output pipe open."""
    run = failing(toy, "echo 1 > a; echo 2 > a2; sleep 60 & setsid sleep 60 & true")
    assert outcomes(succeeded(run))["a"] is Outcome.RAN


def test_keep_going(toy: Toy) -> None:
    """After a failure no stage starts; with keep_going, those stages start that do not depend on the failed one."""
    wait = "until test -e go; do sleep 0.05; done; rm go"  # the other stage ends after the failure
    run = failing(toy, "exit 1", wait=wait, keep_going=True)
    assert (list(run.errors), run.not_run) == (["a"], {"b": "a failed"})
    assert set(run.ran) == {"other", "after"}
    again = failing(toy, "exit 3", wait=wait, content="two\n")
    assert set(again.not_run) == {"b", "after"}
    assert again.stopped == ["after"] and again.summary.endswith("1 not run, 1 stopped (`--keep-going` runs them)")


@pytest.mark.parametrize("command", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
def test_a_killed_stage_says_so(toy: Toy, command: str) -> None:
    """A killed stage names the signal and its epoch, of itself and through a shell, instead of its last line."""
    run = failing(toy, f"echo epoch 6/61 loss 0.2; {command}")
    assert str(run.error) == "a: killed by SIGKILL in epoch 7 of 61 (out of memory?)"


@pytest.mark.cases(2)
@pytest.mark.parametrize("failure", ["echo half > a; exit 1", "echo half > a", "rm -f a; exit 1"])
def test_failure_restores_outputs(toy: Toy, failure: str) -> None:
    """After a failure the earlier outputs and dvc.lock are restored, even if the stage wrote one of two outputs."""
    succeeded(failing(toy, "cat in > a; echo 2 > a2"))
    before = locks(toy.folder)
    run = failing(toy, failure)
    assert list(run.errors) == ["a"]
    assert (toy.read("a"), toy.read("a2")) == ("one\n", "2\n")
    assert locks(toy.folder) == before
    toy.write({"dvc.yaml": FAILING.format(failure="cat in > a; echo 2 > a2", wait="true")})
    assert {decision.verdict for decision in make_plan().values()} == {"unchanged"}


GPUS = """
stages:
  train:
    foreach: [p, q, r, s]
    do:
      cmd: >-
        echo $(date +%s.%N) $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS > ${item}; touch here-${item};
        until test $(ls here-* | wc -l) -ge 2; do sleep 0.05; done; date +%s.%N >> ${item}
      deps: [in]
      outs: ["${item}"]
"""


def test_gpus_and_threads(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stages that take a GPU each, as many run at once as there are GPUs, each with its own GPU and its threads."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    toy.write({"dvc.yaml": GPUS, "in": "one\n"})
    succeeded(run_engine(jobs=4, policies=Policies(stages={"train@*": StagePolicy(gpus=1)})))
    spans = []
    for name in "pqrs":
        start, gpu, threads, end = toy.read(name).split()
        assert int(threads) == max(1, len(os.sched_getaffinity(0)) // 4)
        spans.append((float(start), float(end), gpu))
    concurrent = [[other for other in spans if other[0] <= span[0] < other[1]] for span in spans]
    assert max(map(len, concurrent)) == 2
    assert all(len({gpu for _, _, gpu in group}) == len(group) for group in concurrent)
