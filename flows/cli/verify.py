"""`inkflow verify`: runs stages again in a clean folder and compares their outputs with the workspace."""

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from flows.cli.output import print_json, shown
from flows.core.code_path import own_command
from flows.core.file_lock import run_lock
from flows.core.params_edit import load_project_params
from flows.core.signals import raise_keyboard_interrupt
from flows.core.values import counted
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.engine import Engine
from flows.engine.planning.change_messages import ALWAYS
from flows.engine.policy import load_policies
from flows.engine.processes.command_runner import die_with_parent
from flows.engine.run import Options, Run
from flows.engine.types import Scope, Stage
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError, InvalidInput

DIFFERENT = "different"  # the only verdict of stages.verify that makes `inkflow verify` fail
STYLES = {"same bytes": "green", "same values": "green", "within tolerance": "yellow", DIFFERENT: "red"}


def verify(arguments: argparse.Namespace) -> int:
    """Runs stages again, prints how their outputs compare, and returns the exit code.

    Raises:
        InvalidInput: the workspace has no outputs to compare with; no stage ran.
        InkflowError: a stage failed in the second run.
    """
    raise_keyboard_interrupt()
    if arguments.against is not None:
        from flows.cli.verification.against import verify_against  # late: it needs Git and DVC's history

        return verify_against(arguments)
    root = Path.cwd()
    load_project_params(root)  # reports mistakes in params.yaml before any work
    display = SilentDisplay() if arguments.json else Display()
    with run_lock(root, display.note):  # no run may change the outputs meanwhile
        stages = _stages_to_verify(arguments.stages, arguments.folder)
        verb = "runs" if len(stages) == 1 else "run"
        display.note(f"{counted(len(stages), 'stage')} {verb} again in a clean folder; the workspace does not change")
        with _clean_folder(root, stages, display) as project:
            _run_again(project, stages, display, arguments.jobs)
            rows = _compare(root, project, stages, arguments.tolerance)
    if arguments.json:
        print_json({"tolerance": arguments.tolerance, "outputs": rows})
    else:
        _print_rows(rows)
    return EXIT_FAILED if any(row["verdict"] == DIFFERENT for row in rows) else EXIT_DONE


def _stages_to_verify(targets: Sequence[str], folder: Path) -> list[Stage]:
    """Returns the stages with a command at the addresses `targets`, given from `folder`; all if `targets` is empty.

    Raises:
        InvalidInput: a stage is not up to date or writes outside of the project, or no stage has a command.
    """
    with Repository() as repository:
        names = repository.resolve(targets, folder)
        scope = Scope.SINGLE if names else Scope.UPSTREAM
        facts = [each for each in repository.facts(names, scope, with_absent=True) if not each.tracked]
    if not facts:
        raise InvalidInput(f"nothing to verify: no command makes {', '.join(targets) or 'any output of this project'}")
    stale = [each.stage.name for each in facts if set(each.changes) - {ALWAYS}]
    if stale:
        run = " ".join(["inkflow run", *targets])
        raise InvalidInput(
            f"not up to date, so nothing to compare with: {', '.join(stale)}; `{run}` first, then verify"
        )
    stages = [each.stage for each in facts]
    outside = [name for stage in stages for name in stage.outputs if Path(name).is_absolute() or name.startswith("..")]
    if outside:
        raise InvalidInput(
            f"{outside[0]} is outside of the project, and running its stage again would overwrite it; name other stages"
        )
    return stages


@contextmanager
def _clean_folder(root: Path, stages: Sequence[Stage], display: Display) -> Iterator[Path]:
    """Yields a clone with an empty cache, the inputs of `stages` and none of their outputs; removes it afterwards."""
    clones = ProjectClones(root, experiments=False)
    clones.folder.mkdir(parents=True, exist_ok=True)
    with run_lock(clones.folder, display.note):
        clones.remove_leftovers()
        with clones.clone("verify", own_cache=True) as project:
            clones.prepare_rerun(project, [stage.name for stage in stages])
            yield project


def _run_again(project: Path, stages: Sequence[Stage], display: Display, jobs: int | None) -> None:
    """Runs the stages in the clean folder `project`.

    Raises:
        InkflowError: one of them failed.
    """
    options = Options(jobs, force=True, local=True)  # else a stage with the output of one that has run is restored
    with chdir(project):  # DVC works in the current folder
        repository = Repository(only=[stage.name for stage in stages])
        run = Run(options=options, display=display)
        engine = Engine(repository, load_policies(Path()), run)
        engine.start(repository.stages())
        engine.wait()
    if run.error is not None:
        raise run.error


def _compare(root: Path, project: Path, stages: Sequence[Stage], tolerance: float) -> list[dict[str, Any]]:
    """Compares the outputs by a program, since `flows` has no NumPy; returns a row for each, as in `--json`."""
    outputs = [(stage.name, name) for stage in stages for name in stage.outputs]
    process = subprocess.run(
        die_with_parent(own_command("stages.verify", "--tolerance", str(tolerance))),
        input=json.dumps([(str(root / name), str(project / name)) for _, name in outputs]),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if process.returncode:
        message = process.stderr.splitlines()[-1:] or ["it printed no message"]
        raise InkflowError(f"the comparison failed (exit code {process.returncode}): {message[0]}")
    comparisons = json.loads(process.stdout)
    rows = [{key: row[key] for key in ("verdict", "detail")} for row in comparisons]
    return [{"stage": stage, "output": name} | row for (stage, name), row in zip(outputs, rows, strict=True)]


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Prints a line for each output below its stage; a table would break long paths in the middle of a word."""
    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no colours

    console, stage = SafeConsole(), None
    indent = " " * (max(map(len, STYLES)) + 4)
    for row in rows:
        if row["stage"] != stage:
            stage = row["stage"]
            console.print(shown(stage, "bold"), soft_wrap=True)
        verdict = shown(f"  {row['verdict']:<{len(indent) - 2}}", STYLES[row["verdict"]])
        console.print(verdict.append(shown(row["output"], "default")), soft_wrap=True)
        if row["detail"]:
            console.print(shown(f"{indent}{row['detail']}"), soft_wrap=True)
    verdicts = [row["verdict"] for row in rows]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    console.print(f"\n{counted(len(rows), 'output')}: {counts or 'none'}", soft_wrap=True)
