"""`inkflow verify`: stages run again in a clean folder, and what comes out is compared with the workspace."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from flows.core.code_path import CODE
from flows.core.file_lock import only_run_here
from flows.core.params_edit import edited_params
from flows.dvc_repo.experiments import Experiments
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.engine import Engine
from flows.engine.planning.change_messages import ALWAYS
from flows.engine.policy import load_policies
from flows.engine.processes.command_runner import tied_to_us
from flows.engine.run import Options, Run
from flows.engine.types import Stage
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InkflowError, InvalidInput

DIFFERENT = "different"  # the one verdict of stages.verify that is a failure
STYLES = {"same bytes": "green", "same values": "green", "within tolerance": "yellow", DIFFERENT: "red"}


def verify(arguments: argparse.Namespace) -> int:
    """Run stages again, print how their outputs compare, and give the exit code.

    Raises:
        InvalidInput: the workspace has nothing to compare with; nothing was run.
        InkflowError: a stage failed when it was run again.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # a request to end is met as Ctrl-C is
    root = Path.cwd()
    edited_params({}, root)  # a mistake in params.yaml is said as such
    display = SilentDisplay() if arguments.json else Display()
    with only_run_here(root, display.note):  # what is compared with must not change meanwhile
        stages = _stages(arguments.stages)
        count = "1 stage runs" if len(stages) == 1 else f"{len(stages)} stages run"
        display.note(f"{count} again in a clean folder; the workspace stays as it is")
        with _clean_folder(root, stages, display) as project:
            _run(project, stages, display, arguments.jobs)
            rows = _compare(root, project, stages, arguments.tolerance)
    if arguments.json:
        print(json.dumps({"tolerance": arguments.tolerance, "outputs": rows}, indent=2, ensure_ascii=False))
    else:
        _print_rows(rows)
    return EXIT_FAILED if any(row["verdict"] == DIFFERENT for row in rows) else EXIT_DONE


def _stages(targets: Sequence[str]) -> list[Stage]:
    """The stages to verify: those that `targets` name and that have a command to run; all when empty."""
    with Repository() as repository:
        chosen = set(repository.named(targets))
        facts = [each for each in repository.facts(targets) if each.stage.name in chosen and not each.tracked]
    if not facts:
        raise InvalidInput(f"nothing to verify: no command makes {', '.join(targets) or 'anything here'}")
    stale = [each.stage.name for each in facts if set(each.changes) - {ALWAYS}]
    if stale:
        run = " ".join(["inkflow run", *targets])
        raise InvalidInput(
            f"not up to date, so nothing to compare with: {', '.join(stale)}; `{run}` first, then verify"
        )
    stages = [each.stage for each in facts]
    outside = [name for stage in stages for name in stage.outputs if Path(name).is_absolute() or name.startswith("..")]
    if outside:
        raise InvalidInput(f"{outside[0]} lies outside of the project: a stage that runs again would overwrite it")
    return stages


@contextmanager
def _clean_folder(root: Path, stages: Sequence[Stage], display: Display) -> Iterator[Path]:
    """A clone with an empty cache, with what the stages read and without what they make; removed with the block."""
    experiments = Experiments(root)
    experiments.folder.mkdir(parents=True, exist_ok=True)
    with only_run_here(experiments.folder, display.note):
        experiments.remove_leftovers()
        with experiments.clone("verify", own_cache=True) as project:
            experiments.clear(project, [stage.name for stage in stages])
            yield project


def _run(project: Path, stages: Sequence[Stage], display: Display, jobs: int | None) -> None:
    """Run the stages in the clean folder.

    Raises:
        InkflowError: one of them failed.
    """
    with chdir(project):  # DVC looks at the current folder
        repository = Repository(only=[stage.name for stage in stages])
        run = Run(options=Options(jobs, local=True), display=display)
        engine = Engine(repository, load_policies(Path()), run)
        engine.start(repository.stages())
        engine.wait()
    if run.error is not None:
        raise run.error


def _compare(root: Path, project: Path, stages: Sequence[Stage], tolerance: float) -> list[dict[str, Any]]:
    """One row an output, in the form of `--json`. A program does it: flows knows no arrays."""
    outputs = [(stage.name, name) for stage in stages for name in stage.outputs]
    done = subprocess.run(
        tied_to_us([sys.executable, "-m", "stages.verify", "--tolerance", str(tolerance)]),
        cwd=CODE,  # our own module, not that of the project
        input=json.dumps([(str(root / name), str(project / name)) for _, name in outputs]),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode:
        said = done.stderr.splitlines()[-1:] or ["it said nothing"]
        raise InkflowError(f"the comparison failed (exit code {done.returncode}): {said[0]}")
    found = json.loads(done.stdout)
    return [{"stage": stage, "output": name} | row for (stage, name), row in zip(outputs, found, strict=True)]


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A line an output below its stage: no table, which would fold long paths in the middle of a word."""
    from rich.console import Console  # late: --json needs no colours
    from rich.text import Text

    console, stage = Console(), None
    indent = " " * (max(map(len, STYLES)) + 4)
    for row in rows:
        if row["stage"] != stage:
            stage = row["stage"]
            console.print(Text(stage, "bold"), soft_wrap=True)
        verdict = Text(f"  {row['verdict']:<{len(indent) - 2}}", STYLES[row["verdict"]])
        console.print(verdict.append(row["output"], "default"), soft_wrap=True)
        if row["detail"]:
            console.print(Text(f"{indent}{row['detail']}"), soft_wrap=True)
    verdicts = [row["verdict"] for row in rows]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    console.print(f"\n{len(rows)} output{'s' * (len(rows) != 1)}: {counts or 'none'}", soft_wrap=True)
