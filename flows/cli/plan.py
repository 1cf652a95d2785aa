"""`inkflow plan`: prints which stages would run, as a table or as JSON. Runs nothing."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli.output import print_json
from flows.cli.plan_table import print_table
from flows.cli.selection import selection
from flows.core.own_data import check_own_data
from flows.core.params_edit import load_project_params
from flows.dvc_repo import remotes
from flows.dvc_repo.repository import Repository
from flows.engine.environment.grades import Difference
from flows.engine.environment.stage_environment import notices
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.planning.recorded_graph import as_recorded
from flows.engine.policy import Policies, load_policies
from flows.engine.recovery import recover
from flows.engine.resources import memory_text
from flows.engine.timings import Timings
from stages.base.errors import EXIT_DONE

EXIT_WORK_TO_DO = 3


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
        print(f"DVC remote: {count} new entries of the run cache pulled", file=sys.stderr)
    with Repository(pull=arguments.pull, policies=policies) as repository:
        facts = repository.facts(*selection(arguments, repository))
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
