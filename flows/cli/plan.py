"""`inkflow plan`: prints which stages would run, as a table or as JSON. Runs nothing.

The table is readable on 80 columns and on wide ones, with few stages and with hundreds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.output import print_json, shown
from flows.cli.selection import selection
from flows.core.notices import NO_STAGES
from flows.core.own_data import check_own_data
from flows.core.params_edit import load_project_params
from flows.core.redaction import say
from flows.core.values import all_of, counted
from flows.dvc_repo import remotes
from flows.dvc_repo.recovery import recover
from flows.dvc_repo.repository import Repository
from flows.engine.display.styles import BAD, DIM, GOOD, INFO, WARNING, duration, name_width, shortened
from flows.engine.environment.grades import Difference
from flows.engine.environment.stage_environment import notices
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.planning.recorded_graph import as_recorded
from flows.engine.policy import Policies, load_policies
from flows.engine.resources import memory_text
from flows.engine.timings import Timings
from stages.base.errors import EXIT_DONE

if TYPE_CHECKING:
    from rich.console import Console

EXIT_WORK_TO_DO = 3
STYLES = {
    Verdict.UNCHANGED: DIM,
    Verdict.RESTORE: INFO,
    Verdict.RECORD: INFO,
    Verdict.MISSING: BAD,
    Verdict.RUN: GOOD,
    Verdict.MAY_RUN: WARNING,
}
MANY = 40  # rows from which on a terminal shows neighbours of a group with the same verdict as one row
MIN_GROUP = 4  # of these


def show_plan(arguments: argparse.Namespace) -> int:
    """Prints the plan for `arguments.stages` and returns the exit code.

    Raises:
        NoRemote, RemoteFailed: with `--pull`, the remote cannot be used.
    """
    root = Path()
    check_own_data(load_project_params(root), root)  # reports mistakes in params.yaml before any work
    policies = load_policies(root)
    recover(root)
    if arguments.pull:
        count = remotes.pull_run_cache(root)
        # Standard output holds the plan alone.
        say(f"DVC remote: {counted(count, 'new entry', 'new entries')} of the run cache pulled", error=True)
    with Repository(pull=arguments.pull, policies=policies) as repository:
        facts = repository.facts(*selection(arguments, repository), with_absent=arguments.recorded)
        if arguments.recorded:
            facts = as_recorded(facts, repository.cache)
        fixed = [stage.stage.name for stage in facts if policies.of(stage.stage.name).fixed_outputs]
        decisions = plan(facts, repository.cache, force=arguments.force, fixed=fixed)
    timings = Timings(root)
    found = {stage.stage.name: stage.differences for stage in facts}
    rows = [_row(decision, timings, policies, found[decision.stage]) for decision in decisions]
    if arguments.json:
        print_json({"stages": rows})
    else:
        print_table(rows, notices(found))
    is_work = any(decision.is_work for decision in decisions)
    return EXIT_WORK_TO_DO if is_work and arguments.exit_code else EXIT_DONE


def _row(decision: Decision, timings: Timings, policies: Policies, differences: Sequence[Difference]) -> dict[str, Any]:
    """Returns one stage of the plan as `--json` prints it."""
    runs = decision.verdict in (Verdict.RUN, Verdict.MAY_RUN)
    policy, total = policies.of(decision.stage), policies.resources.total_memory()
    is_too_large = runs and policy.pool is None and policy.memory > total
    too_large = f"needs {memory_text(policy.memory)} of memory, this machine has {memory_text(total)} for stages"
    return {
        "stage": decision.stage,
        "verdict": str(decision.verdict),
        "reasons": [*decision.reasons, *([too_large] if is_too_large else [])],
        "expected_s": timings.expected_s(decision.stage) if runs else 0.0,
        "environment": [asdict(difference) for difference in differences],
        "pool": policy.pool,
        "memory": policy.memory,
        "mutex": list(policy.mutex),
    }


def print_table(rows: Sequence[dict[str, Any]], notes: Sequence[str], console: "Console | None" = None) -> None:
    """Prints the plan; one line if there is nothing to do. Names are shortened and rows grouped on a terminal alone."""
    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no table

    console = console or SafeConsole()
    if not rows:
        console.print(NO_STAGES)
    elif all(row["verdict"] == Verdict.UNCHANGED and not row["reasons"] for row in rows):
        console.print(f"Nothing to do: {all_of(len(rows), 'stage')} unchanged.", soft_wrap=True, highlight=False)
    else:
        lines = _grouped(rows) if console.is_terminal and len(rows) > MANY else list(rows)
        console.print(_table(lines, console))
        console.print(_summary(rows), soft_wrap=True, highlight=False)
    for note in notes:
        console.print(shown(f"note: {note}"), soft_wrap=True)


def _table(rows: Sequence[dict[str, Any]], console: "Console") -> Any:
    from rich.table import Table

    width = name_width([row["stage"] for row in rows], console.width) if console.is_terminal else None
    optional = [name for name in ("pool", "memory", "mutex") if any(row[name] for row in rows)]
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "verdict", "expected", *optional):
        table.add_column(name, overflow="fold", no_wrap=True)  # only the reasons are wrapped
    table.add_column("why", overflow="fold")
    for row in rows:
        needs = {
            "pool": row["pool"] or "here",
            "memory": memory_text(row["memory"]) if row["memory"] else "",
            "mutex": ", ".join(row["mutex"]),
        }
        name = row["stage"] if width is None else shortened(row["stage"], width)
        verdict, why = shown(row["verdict"], STYLES[Verdict(row["verdict"])]), shown(", ".join(row["reasons"]))
        expected = "unknown" if row["expected_s"] is None else duration(row["expected_s"]) if row["expected_s"] else ""
        table.add_row(shown(name), verdict, expected, *(shown(needs[name]) for name in optional), why)
    return table


def _grouped(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows with one for neighbours of the same group, verdict and needs: `train@* (97)`."""
    lines: list[dict[str, Any]] = []
    for (group, is_group, *_), members in groupby(rows, _key):
        found = list(members)
        if not is_group or len(found) < MIN_GROUP:
            lines += found
            continue
        known = [row["expected_s"] for row in found]
        reasons = found[0]["reasons"] if all(row["reasons"] == found[0]["reasons"] for row in found) else []
        expected = None if None in known else sum(known)
        lines.append(found[0] | {"stage": f"{group}@* ({len(found)})", "expected_s": expected, "reasons": reasons})
    return lines


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    group, at, _ = row["stage"].partition("@")
    return group, bool(at), row["verdict"], row["pool"], row["memory"], tuple(row["mutex"])


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in Verdict}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    known = sum(row["expected_s"] or 0.0 for row in rows)
    unknown = any(row["expected_s"] is None for row in rows)
    if not known:
        return f"\n{verdicts}" + ("; no earlier runs here to estimate the time from" if unknown else "")
    return f"\n{verdicts}; {'at least ' if unknown else ''}{duration(known)} of work, by earlier runs here"
