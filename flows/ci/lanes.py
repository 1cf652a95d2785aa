"""The lanes of CI. A lane runs all of its steps in order, also after one of them failed.

check   schema, secrets, lock, remote     without data and without training
run     run, gates, record                pulls and pushes if a DVC remote is configured
"""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from flows.ci.summary import Status, Step, write_summary
from flows.core.code_path import own_command
from flows.core.errors import GitFailed
from flows.core.gates import count_statuses, evaluate_gates, failed_gates, junit
from flows.core.git import git_names, is_in_repository
from flows.core.params_edit import SCHEMA, edit_params, has_schema
from flows.core.project import make_state_folder
from flows.core.redaction import say, secrets_in_config
from flows.core.stage_program import run_program
from flows.core.values import counted, listed
from flows.dvc_repo.remote.key import use_key
from flows.dvc_repo.remotes import default_remote, has_remote, missing_in_remote
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import plan
from flows.engine.planning.recorded_graph import as_recorded
from flows.engine.planning.stage_facts import nothing_to_do
from flows.engine.policy import load_policies
from flows.engine.processes.command_runner import die_with_parent
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError
from stages.base.files import write_text

SUMMARY = Path("reports/summary.md")
NO_GIT = "the project is in no Git repository"
NO_REMOTE = "no DVC remote is configured (docs/remotes.md)"
# Lines of `inkflow run` that the step `run` repeats in its messages.
REPEATED = re.compile(r"Nothing to do|DVC remote: |(inkflow [a-z ]+: )?error: |.* stages ran")
RECORDS = ("dvc.lock", "environment.lock", "params.yaml")

StepResult = tuple[Status, Sequence[str]]  # with the messages


def check_lane(root: Path, out: Path, *, remote: bool = True) -> int:
    """Checks that code, parameters, lock and, if `remote`, the DVC remote match; returns the exit code."""
    _use_ssh_key(root)
    steps = [
        _run_step("schema", lambda: _check_schema(root)),
        _run_step("secrets", lambda: _check_secrets(root)),
        _run_step("lock", lambda: _check_lock(root)),
        _run_step("remote", lambda: _check_remote(root) if remote else (Status.SKIPPED, ["skipped by --no-remote"])),
    ]
    return _finish("check", steps, out)


def run_lane(root: Path, folder: Path, out: Path, arguments: Sequence[str], *, push: bool) -> int:
    """Runs the pipeline, with the DVC remote if one is configured, and checks the gates; returns the exit code.

    Args:
        root: the project's folder.
        folder: the caller's folder below it, from which `arguments` name stages.
        out: the folder of the summaries.
        arguments: those of `inkflow run`.
        push: push results and run cache to the DVC remote.
    """
    _use_ssh_key(root)
    steps = [_run_step("run", lambda: _run_pipeline(root, folder, arguments, push))]
    current = _is_current(root)
    steps.append(_run_step("gates", lambda: _check_gates(root, out, current)))
    steps.append(_run_step("record", lambda: _check_record(root)))
    report = (root / SUMMARY).read_text(encoding="utf-8") if current and (root / SUMMARY).is_file() else ""
    return _finish("run", steps, out, report)


def _use_ssh_key(root: Path) -> None:
    """Gives an SSH remote the private key in INKFLOW_SSH_KEY, which CI keeps as a secret."""
    key = os.environ.get("INKFLOW_SSH_KEY", "").strip()
    if key:
        use_key(root, key)


def _run_step(name: str, action: Callable[[], StepResult]) -> Step:
    """Runs a step and prints its result; an InkflowError makes it fail with the error's message."""
    try:
        status, messages = action()
    except InkflowError as error:
        status, messages = Status.FAILED, str(error).splitlines()
    step = Step(name, status, tuple(messages))
    say(step.text)
    return step


def _finish(lane: str, steps: Sequence[Step], out: Path, report: str = "") -> int:
    make_state_folder(Path())
    write_summary(lane, steps, out, report)
    return EXIT_FAILED if any(step.status is Status.FAILED for step in steps) else EXIT_DONE


def _check_schema(root: Path) -> StepResult:
    if not has_schema(root):
        return Status.SKIPPED, [f"this project has no {SCHEMA}"]
    edit_params({}, root)
    run_program("params.generate", ["--check"], root)
    return Status.PASSED, [f"params.yaml is valid; {SCHEMA} and docs/parameters.md are up to date"]


def _check_secrets(root: Path) -> StepResult:
    if not is_in_repository(root):
        return Status.SKIPPED, [NO_GIT]
    names = _tracked(root, ".dvc/config", ".dvc/config.local", "**/.dvc/config", "**/.dvc/config.local")
    mistakes = [
        f"{name} is tracked by git and holds a credential ({option}): remove it, revoke the credential, and put a new "
        "one into the environment or into .dvc/config.local (`dvc remote modify --local`)"
        for name in names
        for option in secrets_in_config((root / name).read_text(encoding="utf-8", errors="replace"))
    ]
    return (Status.FAILED, mistakes) if mistakes else (Status.PASSED, ["no tracked configuration holds a credential"])


def _tracked(root: Path, *patterns: str) -> list[str]:
    """Returns the existing files below `root` that git tracks and that match one of `patterns`."""
    names = git_names(["ls-files", "-z", "--", *patterns], root)
    return [name for name in names if (root / name).is_file()]


def _check_lock(root: Path) -> StepResult:
    policies = load_policies(root)
    with Repository(root) as repository:
        facts = as_recorded(repository.facts(with_absent=True), repository.cache)
        fixed = [stage.stage.name for stage in facts if policies.of(stage.stage.name).fixed_outputs]
        decisions = plan(facts, repository.cache, fixed=fixed)
    stale = [decision for decision in decisions if decision.is_work]
    if not stale:
        return Status.PASSED, [f"dvc.lock matches the code and parameters: {counted(len(decisions), 'stage')}"]
    return Status.FAILED, [
        *(f"{decision.stage}: {', '.join(decision.reasons) or decision.verdict}" for decision in stale),
        "dvc.lock does not match the code and parameters; run `inkflow run`, then commit dvc.lock",
    ]


def _check_remote(root: Path) -> StepResult:
    if not has_remote(root):
        return Status.SKIPPED, [NO_REMOTE]
    name, missing = default_remote(root), missing_in_remote(root)
    if not missing:
        where = f"the DVC remote {name} has" if name else "the DVC remotes have"
        return Status.PASSED, [f"{where} all outputs that dvc.lock names"]
    where = f"the DVC remote {name}" if name else "its DVC remote"
    return Status.FAILED, [
        *(f"{stage}: {', '.join(paths)} not in {where}" for stage, paths in missing.items()),
        "run `inkflow run --push` on a machine that has these outputs or can make them",
    ]


def _run_pipeline(root: Path, folder: Path, arguments: Sequence[str], push: bool) -> StepResult:
    """Runs `inkflow run` as a process in the caller's folder, and prints its lines as they come.

    An interrupt of this process ends it in order, before the interrupt goes on; a second one kills it.
    """
    remote = has_remote(root)
    options = ["--pull", *(["--push"] if push else [])] if remote else []
    command = own_command("flows", "run", *options, *arguments)
    messages = [] if remote else [f"{NO_REMOTE}: nothing is pulled or pushed"]
    with subprocess.Popen(
        die_with_parent(command),
        cwd=root / folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            messages += _say_lines(process)
        except BaseException:
            process.terminate()
            try:
                _say_lines(process)
            except BaseException:
                process.kill()
                raise
            raise
    if process.returncode:
        return Status.FAILED, [*messages, f"`inkflow run` ended with exit code {process.returncode}"]
    return Status.PASSED, messages


def _say_lines(process: "subprocess.Popen[str]") -> list[str]:
    """Prints the lines of a process until it has ended; returns those that the step repeats."""
    assert process.stdout is not None
    repeated = []
    for line in process.stdout:
        say(line.removesuffix("\n"))
        if REPEATED.match(line):
            repeated.append(line.strip())
    process.wait()
    return repeated


def _is_current(root: Path) -> bool:
    """Returns whether all outputs in the workspace match the code and parameters, so that the gates can be checked."""
    try:
        with Repository(root) as repository:
            return nothing_to_do(repository.facts())
    except InkflowError:
        return False


def _check_gates(root: Path, out: Path, current: bool) -> StepResult:
    if not has_schema(root):
        return Status.SKIPPED, ["this project has no gates"]
    if not current:
        return Status.SKIPPED, ["the outputs are not up to date"]
    record = evaluate_gates(root)
    write_text(out / "gates.xml", junit(record))
    if failed := failed_gates(record):
        return Status.FAILED, failed
    counts = count_statuses(record)
    numbers = ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "none is set"
    note = f": {record['note']}" if record["note"] else ""
    return Status.PASSED if counts["passed"] else Status.SKIPPED, [f"gates: {numbers}{note}"]


def _check_record(root: Path) -> StepResult:
    """Reports whether the run changed dvc.lock or params.yaml; never fails."""
    if not is_in_repository(root):
        return Status.SKIPPED, [NO_GIT]
    try:
        changed = [line[3:] for line in git_names(["status", "--porcelain", "-z", "--", *RECORDS], root)]
    except GitFailed as error:
        return Status.SKIPPED, str(error).splitlines()
    if not changed:
        return Status.PASSED, ["dvc.lock is as committed"]
    return Status.PASSED, [
        f"{listed(changed)} {'differs' if len(changed) == 1 else 'differ'} from the commit: to keep this, run the same "
        "locally and commit it"
    ]
