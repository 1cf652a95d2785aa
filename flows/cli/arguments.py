"""Adds the arguments of each verb to its parser. Imports only light modules, so that `--help` is fast."""

import argparse
from datetime import timedelta
from pathlib import Path

CI_FOLDER = Path(".inkflow/ci")  # output of the lanes: summaries and JUnit XML
DEFAULT_AGE = "30d"
DEFAULT_PORT = 4200
SHELLS = ("bash", "zsh", "tcsh")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNIT_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UP_EXAMPLES = """examples:
  inkflow up                                                     reachable from this machine only
  inkflow up --webhook https://chat.example/hooks/...            called when an unattended run fails, or works again
  inkflow up --notify slack-webhook/on-call                      the same by a notification block of Prefect
  inkflow up --host 0.0.0.0                                      reachable from other machines, with a password
  inkflow up --database postgresql+asyncpg://db/prefect          set a URL with a password in the variable
                                                                 PREFECT_SERVER_DATABASE_CONNECTION_URL
"""


def init(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow init`."""
    verb.description = (
        "Add what is missing to the DVC project around this folder: ignore rules, execution.yaml, prefect.yaml. An "
        "empty folder becomes a small project that runs. Shows each file; overwrites none."
    )
    verb.add_argument("--template", choices=("small", "digits"), help="start with this pipeline; digits: Inkflow's own")
    verb.add_argument("--ci", action="append", default=[], choices=("github", "gitlab"), help="add a workflow of CI")
    verb.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")


def run(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow run`."""
    verb.description = "Bring the stages up to date."
    add_stages(verb)
    _add_selection(verb)
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="edit params.yaml first")
    verb.add_argument(
        "--with",
        dest="with_models",
        action="append",
        default=[],
        metavar="MODEL",
        help="also train this model of `more_models`: edits params.yaml",
    )
    verb.add_argument("--dataset", metavar="NAME", help="use this data set: edits params.yaml")
    verb.add_argument("--fallback", metavar="NAME", help="use this data set if the chosen one is not available")
    add_jobs(verb)
    verb.add_argument("--force", action="store_true", help="run the stages even if nothing changed")
    verb.add_argument("--keep-going", action="store_true", help="after a failure, run all independent stages")
    verb.add_argument("--local", action="store_true", help="run every stage on this machine, whatever its pool")
    verb.add_argument("--no-server", action="store_true", help="run without Prefect: faster, but shown on no page")
    verb.add_argument("--pull", action="store_true", help="pull the run cache of the DVC remote first")
    verb.add_argument("--push", action="store_true", help="push results and run cache to the DVC remote afterwards")


def plan(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow plan`."""
    verb.description = "Show which stages would run, be restored from the cache or stay, and why. Runs nothing."
    add_stages(verb)
    _add_selection(verb)
    verb.add_argument("--force", action="store_true", help="plan for `run --force`")
    verb.add_argument("--pull", action="store_true", help="plan for `run --pull`: pull the remote's run cache")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON")
    verb.add_argument("--exit-code", action="store_true", help="exit with 0 if there is nothing to do, else with 3")
    verb.add_argument(
        "--recorded", action="store_true", help="assume the outputs that dvc.lock records: a clone needs no data"
    )


def deps(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow deps`."""
    verb.description = (
        "Find the project files that the Python programs of the stages import, and compare them with the dependencies "
        "in dvc.yaml. Runs nothing; docs/code-dependencies.md."
    )
    add_stages(verb)
    action = verb.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="exit with 1 if a dependency is missing or needless")
    action.add_argument("--write", action="store_true", help="edit dvc.yaml; comments and order stay")
    verb.add_argument("--strict", action="store_true", help="report also files in declared folders that are not needed")
    verb.add_argument("--json", action="store_true", help="print the comparison as JSON")


def report(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow report`."""
    verb.description = (
        "Write the report with this machine's timings and the commit to .inkflow/report/index.html. With --runs, in "
        "any DVC project: a page over all commits, branches, tags and experiments, .inkflow/report/runs.html."
    )
    verb.add_argument("--open", action="store_true", help="open it in the browser")
    verb.add_argument("--json", action="store_true", help="print the figures as JSON: of this machine, or of all runs")
    verb.add_argument("--runs", action="store_true", help="write the page over all versions of the project")
    verb.add_argument("--baseline", metavar="REV", help="with --runs: compare all others with this version")
    verb.add_argument("--limit", type=count, metavar="N", help="with --runs: the newest N commits (default: 1000)")


def check(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow check`."""
    verb.description = "Check the models in the workspace against `gates` of params.yaml. Exit code 1: a gate failed."
    verb.add_argument("--json", action="store_true", help="print the gate results as JSON")
    verb.add_argument("--junit", type=path, metavar="FILE", help="write JUnit XML for CI")
    verb.add_argument("--against", metavar="REV", help="fail too if a model is worse than at that revision")


def compare(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow compare`."""
    verb.description = (
        "Compare the models of two versions on the same test images, in a table and on a page. In another DVC project: "
        "show which parameters, metrics and outputs differ."
    )
    verb.add_argument("old", metavar="REV", help="a commit, branch, tag, experiment, MODEL@STAGE or MODEL@VERSION")
    verb.add_argument("new", metavar="REV2", nargs="?", help="another one; by default the files in the workspace")
    verb.add_argument("--json", action="store_true", help="print the comparison as JSON")
    verb.add_argument("--open", action="store_true", help="open the page in the browser")


def ci(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow ci`."""
    verb.description = "Run a lane of CI. The lanes work on any machine; the workflow files only call them."
    lanes = verb.add_subparsers(title="lanes", metavar="LANE", required=True, dest="lane")
    lane = lanes.add_parser(
        "check",
        help="check that code, dvc.lock and remote match; needs no data and trains nothing",
        description="Check, without data and training, that generated files are up to date, that git tracks no "
        "credential, that dvc.lock matches the code, and that the DVC remote has the files that dvc.lock names.",
    )
    _add_output(lane)
    lane.add_argument("--no-remote", action="store_true", help="skip the DVC remote: a fork has no credentials")
    lane = lanes.add_parser(
        "run",
        help="pull the run cache, run, check the quality gates, push",
        description="Pull the run cache if a DVC remote is configured, run the pipeline, check the quality gates.",
    )
    _add_output(lane)
    lane.add_argument(
        "--push", action="store_true", help="push results and run cache to the DVC remote, if one is configured"
    )
    lane.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="after --: arguments of `inkflow run`")
    lane = lanes.add_parser(
        "comment",
        help="write the summaries into one comment on the pull or merge request of this job",
        description="Write the summaries of the lanes into one comment on the pull request (GitHub) or merge request "
        "(GitLab) of this job. Later calls update that comment. Elsewhere, print the reason and do nothing.",
    )
    lane.add_argument("files", nargs="*", type=path, help=f"summaries (default: those in {CI_FOLDER})")
    text = "after the merge of a branch retrain/..., promote the models that hold STAGE"
    lane = lanes.add_parser("promote", help=text, description=f"{text[0].upper()}{text[1:]}, and push the tags.")
    lane.add_argument("stage", nargs="?", metavar="STAGE", default="prod", help="(default: prod)")


def up(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow up`."""
    verb.description = (
        "Start a Prefect server, the work pools with one worker each, and the deployments of prefect.yaml. "
        "Ctrl-C stops all of them; their data stay in .inkflow/up for the next start."
    )
    verb.epilog = UP_EXAMPLES
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    verb.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    verb.add_argument(
        "--database",
        metavar="URL",
        help="postgresql+asyncpg://...; set a URL with a password in PREFECT_SERVER_DATABASE_CONNECTION_URL, which "
        "`ps` does not show; default: that variable, else SQLite in .inkflow/up",
    )
    verb.add_argument("--open", action="store_true", help="open Prefect's page in the browser, with the password")
    verb.add_argument("--webhook", metavar="URL", help="URL to call when an unattended run fails or works again")
    verb.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="URL",
        help="chat, mailbox or phone that gets the same: a URL of Apprise, such as ntfys://TOPIC, or a notification "
        "block of Prefect, such as slack-webhook/on-call; may be repeated; INKFLOW_NOTIFY, which `ps` does not show, "
        "takes several with spaces between",
    )


def prune(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow prune`."""
    verb.description = (
        "Remove old run-cache entries with the objects that only they need, checkpoints of abandoned trainings, files "
        "in .inkflow/models of versions that hold no stage (not exports beside them), files that a killed DVC left in "
        "the cache, lock files of ended runs, and Prefect's records of ended runs in .inkflow/up and .inkflow/prefect. "
        "Keeps in the cache the files of the workspace, of the newest commit of each branch, and of each tag, "
        "experiment, stash and working tree of the repository. Runs `git gc --auto` in the repository of each project "
        "and waits for it."
    )
    verb.add_argument("--older-than", type=age, metavar="AGE", help=f"such as 30d or 12h (default: {DEFAULT_AGE})")
    verb.add_argument(
        "--keep-size",
        type=size,
        metavar="SIZE",
        help="such as 10G: remove the oldest from the cache until it fits; without --older-than, nothing else",
    )
    verb.add_argument(
        "--also-for",
        type=path,
        action="append",
        default=[],
        metavar="PATH",
        help="another project with the same cache, whose files are kept too",
    )
    verb.add_argument("--dry-run", action="store_true", help="print what would be removed, and change nothing")
    verb.add_argument("--json", action="store_true", help="print the result as JSON")


def doctor(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow doctor`."""
    verb.description = (
        "Check Python, packages, GPU, Prefect's server, DVC's remote, the data set and the disk. "
        "Exit code 1: a problem must be fixed before a run."
    )
    verb.add_argument("--json", action="store_true", help="print the findings as JSON")


def completion(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow completion`."""
    verb.description = 'Print the completion script of a shell; for bash: eval "$(inkflow completion bash)"'
    verb.add_argument("shell", choices=SHELLS, help="the shell")


def age(text: str) -> timedelta:
    """Parses an age such as `30d`, `12h` or `0`; the unit is days by default.

    Raises:
        ArgumentTypeError: it is not a number with a unit.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNIT_SECONDS else (text, "d")
    try:
        return timedelta(seconds=non_negative(number) * UNIT_SECONDS[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with s, m, h, d or w, as 30d") from error


def size(text: str) -> int:
    """Parses a size such as `10G`, `500MB` or `0` in bytes.

    Raises:
        ArgumentTypeError: it is not a number with a unit.
    """
    plain = text.upper().removesuffix("B")
    number, unit = (plain[:-1], plain[-1]) if plain[-1:] in UNIT_BYTES else (plain, "")
    try:
        return int(non_negative(number) * UNIT_BYTES[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with K, M, G or T, as 10G") from error


def add_stages(verb: argparse.ArgumentParser) -> None:
    """Adds the stages, as positional arguments."""
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="stages or groups (train@cnn, train); all by default")


def _add_selection(verb: argparse.ArgumentParser) -> None:
    """Adds the options of `dvc repro` that select stages."""
    verb.add_argument("--glob", action="store_true", help="names of stages may have wildcards: 'train*'")
    verb.add_argument("-R", "--recursive", action="store_true", help="a folder stands for all stages below it")
    scope = verb.add_mutually_exclusive_group()
    scope.add_argument("--downstream", action="store_true", help="the stages, and all that depend on them")
    scope.add_argument("-s", "--single-item", action="store_true", help="the stages alone")


def add_jobs(verb: argparse.ArgumentParser) -> None:
    """Adds the option `--jobs`."""
    verb.add_argument("--jobs", type=count, metavar="N", help="stages that may run at the same time (default: cores)")


def _add_output(lane: argparse.ArgumentParser) -> None:
    lane.add_argument(
        "--out", type=path, default=CI_FOLDER, metavar="DIR", help=f"output folder (default: {CI_FOLDER})"
    )


def path(text: str) -> Path:
    """Returns `text`, a path from the caller's folder, as an absolute path: the verbs change into the project."""
    return Path(text).absolute()


def count(text: str) -> int:
    """Parses a whole number from 1 on.

    Raises:
        ArgumentTypeError: it is below 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected 1 or more")
    return number


def non_negative(text: str) -> float:
    """Parses a finite number from 0 on; raises ValueError for any other text."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number
