"""The workflow files of GitHub and GitLab, against their schemas and our own rules."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.commands import run_python
from tests.support.root import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
GITLAB = ROOT / ".gitlab-ci.yml"
DEPENDABOT = ROOT / ".github/dependabot.yml"
LONG = ("ci.yml:farm", "torture.yml:torture")  # jobs of more than an hour


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("schema", "files"),
    [("vendor.github-workflows", WORKFLOWS), ("vendor.gitlab-ci", [GITLAB]), ("vendor.dependabot", [DEPENDABOT])],
    ids=["GitHub", "GitLab", "Dependabot"],
)
def test_files_fit_the_published_schemas(schema: str, files: list[Path], tmp_path: Path) -> None:
    """The workflow files are valid under the schemas of GitHub and GitLab; a file with a misspelt key is not."""
    command = ["-m", "check_jsonschema", "--builtin-schema", schema]
    done = run_python(*command, *map(str, files))
    assert done.returncode == 0, done.stdout
    broken = tmp_path / files[-1].name
    broken.write_text(files[-1].read_text().replace("timeout", "tmeout").replace("schedule", "shedule"))
    assert run_python(*command, str(broken)).returncode == 1


def jobs() -> list[tuple[str, dict[str, Any]]]:
    """Returns each job of the GitHub workflows, with a name for messages."""
    parsed = {path: YAML(typ="safe", pure=True).load(path.read_text()) for path in WORKFLOWS}
    return [(f"{path.name}:{name}", job) for path, content in parsed.items() for name, job in content["jobs"].items()]


def test_workflows_have_minimal_permissions() -> None:
    """Permissions are read-only, except for the comment job, which runs the code of the base branch, and for the
    promotion, which runs after a push to the default branch. No event runs code of a fork with secrets. Actions are
    pinned by hash, the checkout keeps no credentials, every job has a time limit.
    """
    for path in WORKFLOWS:
        content = YAML(typ="safe", pure=True).load(path.read_text())
        assert content["permissions"] == {"contents": "read"}
        assert "pull_request_target" not in content["on"] and "workflow_run" not in content["on"]
        assert not re.search(r"run:.*\$\{\{", path.read_text()), "an expression in a command allows injection"
    for name, job in jobs():
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", use) for use in used), name
        checkouts = [step for step in job["steps"] if "checkout@" in step.get("uses", "")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts), name
        assert job["timeout-minutes"] <= (120 if name in LONG else 60), name
        if name == "pipeline.yml:promote":  # pushes tags, for code that was merged
            assert job["permissions"] == {"contents": "write", "pull-requests": "read"}
            assert job["if"] == "github.event_name == 'push'"
        elif "permissions" in job:
            assert (name, job["permissions"]) == (
                "pipeline.yml:comment",
                {"contents": "read", "pull-requests": "write"},
            )
            assert checkouts[0]["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"


def test_no_push_loses_its_promotion() -> None:
    """A newer push cancels neither a running nor a waiting job of an earlier one that its promotion needs.

    GitHub: such a job has a group of its own, or waits in a queue for all. GitLab: pipelines of pushes go on.
    """
    pipeline = {name.partition(":")[2]: job for name, job in jobs() if name.startswith("pipeline.yml:")}
    needed = ["promote", *pipeline["promote"]["needs"]]
    assert needed == ["promote", "check", "run"]
    for name in needed:
        concurrency = pipeline[name]["concurrency"]
        waits = concurrency.get("queue") == "max" and concurrency["cancel-in-progress"] is False
        is_alone = concurrency["group"].endswith("== 'pull_request' && github.ref || github.run_id }}")
        assert waits or is_alone, name
    gitlab = YAML(typ="safe", pure=True).load(GITLAB.read_text())
    [of_pushes] = [rule for rule in gitlab["workflow"]["rules"] if "CI_DEFAULT_BRANCH" in rule["if"]]
    assert of_pushes["auto_cancel"] == {"on_new_commit": "none"}


def test_jobs_call_make_targets() -> None:
    """The jobs' commands are existing make targets and .ci/run, which users can call too."""
    gitlab = YAML(typ="safe", pure=True).load(GITLAB.read_text())
    commands = [step["run"] for _, job in jobs() for step in job["steps"] if "run" in step]
    commands += [line for job in gitlab.values() if isinstance(job, dict) for line in job.get("script", [])]
    assert len(commands) == 21
    for command in commands:
        targets = "bill audit|archives|ci-[a-z]+|test-newest"
        target = re.fullmatch(
            rf"make ({targets})( ARGS=\"\$(LANE|CHECK)_ARGS\")?"
            r"|\.ci/run( test-farm| torture| test ARGS=\"--random-order \$GITHUB_RUN_NUMBER\")?",
            command,
        )
        assert target, command
        if target[1]:
            dry_run = ["make", "--dry-run", *target[1].split()]
            assert subprocess.run(dry_run, cwd=ROOT, capture_output=True).returncode == 0
