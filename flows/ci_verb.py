"""`inkflow ci`: what CI does with the pipeline, the same on any machine; the workflow files only call it."""

import argparse
from pathlib import Path

from flows.arguments import Verbs

FOLDER = Path(".inkflow/ci")  # where the lanes leave what CI keeps: summaries and JUnit XML


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "ci", help="the lanes of CI: check and run, and the comment on a pull request", description=__doc__
    )
    lanes = verb.add_subparsers(title="lanes", metavar="LANE", required=True)
    check = lanes.add_parser(
        "check",
        help="without data, without training: do code, lock and remote belong together?",
        description="Without data and without training: are generated files fresh, is no credential tracked, does "
        "dvc.lock belong to the code, has the DVC remote what dvc.lock names?",
    )
    _add_output(check)
    check.add_argument("--no-remote", action="store_true", help="leave the DVC remote out: a fork has no credentials")
    check.set_defaults(do=_check)
    run = lanes.add_parser(
        "run",
        help="pull the run cache, run, hold the models against the gates, push",
        description="Pull the run cache where a DVC remote is configured, run, hold the models against the gates.",
    )
    _add_output(run)
    run.add_argument(
        "--push", action="store_true", help="send results and run cache to the DVC remote, if there is one"
    )
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="after --: more for `inkflow run`")
    run.set_defaults(do=_run)
    comment = lanes.add_parser(
        "comment",
        help="put a summary on the pull or merge request of this job, in one comment",
        description="Put the lanes' summaries on the pull request (GitHub) or merge request (GitLab) that this job is "
        "for, in one comment, which is written anew each time. Elsewhere it says so and does nothing.",
    )
    comment.add_argument("files", nargs="*", type=Path, help=f"summaries (default: those in {FOLDER})")
    comment.set_defaults(do=_comment)


def _add_output(lane: argparse.ArgumentParser) -> None:
    lane.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help=f"for summary and JUnit ({FOLDER})")


# Late imports: `inkflow --help` must answer at once.


def _check(arguments: argparse.Namespace) -> int:
    from flows.ci.lanes import check_lane

    return check_lane(Path(), arguments.out, remote=not arguments.no_remote)


def _run(arguments: argparse.Namespace) -> int:
    from flows.ci.lanes import run_lane

    further = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
    return run_lane(Path(), arguments.out, further, push=arguments.push)


def _comment(arguments: argparse.Namespace) -> int:
    from flows.ci.comment import comment

    return comment(arguments.files or sorted(FOLDER.glob("*.md")))
