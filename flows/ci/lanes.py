"""The lanes of CI: steps one after another, each with a verdict and sentences; each runs whatever came before.

check   schema, secrets, lock, remote     without data, without training
run     run, gates, record                pulls and pushes where a DVC remote is configured
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from flows.ci.summary import Step, Verdict, keep
from flows.core.gates import failures, judge, junit
from flows.core.params_edit import SCHEMA, edited_params
from flows.core.redaction import secrets_in_config
from flows.core.stage_program import run_program
from flows.dvc_repo.remote_key import use_key
from flows.dvc_repo.remotes import default_remote, missing_in_remote
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import Verdict as Planned
from flows.engine.planning.plan import plan
from flows.engine.planning.recorded_graph import as_recorded
from flows.engine.planning.stage_facts import nothing_to_do
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError
from stages.base.files import write_text

SUMMARY = Path("reports/summary.md")
NO_REMOTE = "no DVC remote is configured (docs/remotes.md)"
SAID = ("Nothing to do", "DVC remote: ", "error: ")  # lines of a run that its step repeats
COUNT = " stages ran"

Found = tuple[Verdict, Sequence[str]]


def check_lane(root: Path, out: Path, *, remote: bool = True) -> int:
    """Do code, parameters, lock and, unless not wanted, `remote` belong together? Nothing is run; the exit code."""
    _use_key(root)
    steps = [
        _step("schema", partial(_schema, root)),
        _step("secrets", partial(_secrets, root)),
        _step("lock", partial(_lock, root)),
        _step("remote", partial(_remote, root, remote)),
    ]
    return _end("check", steps, out)


def run_lane(root: Path, out: Path, arguments: Sequence[str], *, push: bool) -> int:
    """Run the pipeline, with the remote where there is one, and hold the models against the gates; the exit code."""
    _use_key(root)
    steps = [_step("run", partial(_run, root, arguments, push))]
    current = _is_current(root)
    steps.append(_step("gates", partial(_gates, root, out, current)))
    steps.append(_step("record", partial(_record, root)))
    report = (root / SUMMARY).read_text(encoding="utf-8") if current and (root / SUMMARY).is_file() else ""
    return _end("run", steps, out, report)


def _use_key(root: Path) -> None:
    """Let an SSH remote have the key that CI keeps as a secret, where it does."""
    key = os.environ.get("INKFLOW_SSH_KEY", "").strip()
    if key:
        use_key(root, key)


def _step(name: str, work: Callable[[], Found]) -> Step:
    """Do a step's work; an error of ours is what it found."""
    try:
        verdict, found = work()
    except InkflowError as error:
        verdict, found = Verdict.FAILED, str(error).splitlines()
    step = Step(name, verdict, tuple(found))
    print(step.text, flush=True)
    return step


def _end(lane: str, steps: Sequence[Step], out: Path, report: str = "") -> int:
    keep(lane, steps, out, report)
    return EXIT_FAILED if any(step.verdict is Verdict.FAILED for step in steps) else EXIT_DONE


def _schema(root: Path) -> Found:
    if not (root / SCHEMA).exists():
        return Verdict.SKIPPED, [f"there is no {SCHEMA} here"]
    edited_params({}, root)
    run_program("params.generate", ["--check"], root)
    return Verdict.PASSED, [f"params.yaml is valid; {SCHEMA} and docs/parameters.md are fresh"]


def _secrets(root: Path) -> Found:
    names = tracked(root, ".dvc/config", ".dvc/config.local", "**/.dvc/config", "**/.dvc/config.local")
    mistakes = [
        f"{name} is tracked by git and holds a credential ({option}): take it out, make the credential invalid, and "
        "put the new one into the environment or into .dvc/config.local (`dvc remote modify --local`)"
        for name in names
        for option in secrets_in_config((root / name).read_text(encoding="utf-8"))
    ]
    return (Verdict.FAILED, mistakes) if mistakes else (Verdict.PASSED, ["no tracked configuration holds a credential"])


def tracked(root: Path, *patterns: str) -> list[str]:
    """Files below `root` that git tracks and that fit one of `patterns`."""
    done = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=root, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (root / name).is_file()]


def _lock(root: Path) -> Found:
    with Repository(root) as repository:
        decisions = plan(as_recorded(repository.facts(), repository.cache), repository.cache)
    stale = [decision for decision in decisions if decision.verdict is not Planned.UNCHANGED]
    if not stale:
        return Verdict.PASSED, [f"dvc.lock belongs to the code and parameters: all {len(decisions)} stages"]
    advice = "run `inkflow run`, then commit dvc.lock"
    return Verdict.FAILED, [
        *(f"{decision.stage}: {', '.join(decision.reasons) or decision.verdict}" for decision in stale),
        f"dvc.lock does not belong to the code and parameters; {advice}",
    ]


def _remote(root: Path, wanted: bool) -> Found:
    if not wanted:
        return Verdict.SKIPPED, ["not looked at, by --no-remote"]
    name = default_remote(root)
    if name is None:
        return Verdict.SKIPPED, [NO_REMOTE]
    missing = missing_in_remote(root)
    if not missing:
        return Verdict.PASSED, [f"the DVC remote {name} has all that dvc.lock names"]
    return Verdict.FAILED, [
        *(f"{stage}: {', '.join(paths)} not in the DVC remote {name}" for stage, paths in missing.items()),
        "run `inkflow run --push` where these outputs are, or where they can be made",
    ]


def _run(root: Path, arguments: Sequence[str], push: bool) -> Found:
    """`inkflow run` as a person calls it, its lines shown as they come."""
    remote = default_remote(root) is not None
    options = ["--pull", *(["--push"] if push else [])] if remote else []
    command = [sys.executable, "-m", "flows", "run", *options, *arguments]
    said = [] if remote else [f"{NO_REMOTE}: nothing is pulled or pushed"]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith(SAID) or COUNT in line:
                said.append(line.strip())
    if process.returncode:
        return Verdict.FAILED, [*said, f"`inkflow run` ended with exit code {process.returncode}"]
    return Verdict.PASSED, said


def _is_current(root: Path) -> bool:
    """True when all that the graph makes lies here as the code and parameters say: results that may be judged."""
    try:
        with Repository(root) as repository:
            return nothing_to_do(repository.facts())
    except InkflowError:
        return False


def _gates(root: Path, out: Path, current: bool) -> Found:
    if not (root / SCHEMA).exists():
        return Verdict.SKIPPED, ["this project has no gates"]
    if not current:
        return Verdict.SKIPPED, ["the run did not come so far"]
    found = judge(root)
    write_text(out / "gates.xml", junit(found))
    if failed := failures(found):
        return Verdict.FAILED, failed
    return Verdict.PASSED, [f"{len(found['checks'])} gates{': ' + found['note'] if found['note'] else ''}"]


def _record(root: Path) -> Found:
    done = subprocess.run(
        ["git", "status", "--porcelain", "--", "dvc.lock", "params.yaml"], cwd=root, capture_output=True, text=True
    )
    changed = [line[3:] for line in done.stdout.splitlines()]
    if not changed:
        return Verdict.PASSED, ["dvc.lock is as committed"]
    return Verdict.PASSED, [
        f"{' and '.join(changed)} is not as committed: run the same and commit it, if it is to stay"
    ]
