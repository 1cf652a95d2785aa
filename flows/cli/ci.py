"""`inkflow ci`: runs one lane of CI."""

import argparse
from pathlib import Path

from flows.ci.comment import comment
from flows.ci.lanes import check_lane, run_lane
from flows.cli.arguments import CI_FOLDER


def ci(arguments: argparse.Namespace) -> int:
    """Runs the lane that the arguments name and returns its exit code."""
    if arguments.lane == "check":
        return check_lane(Path(), arguments.out, remote=not arguments.no_remote)
    if arguments.lane == "run":
        run_arguments = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
        return run_lane(Path(), arguments.folder, arguments.out, run_arguments, push=arguments.push)
    if arguments.lane == "promote":
        from flows.cli.models.merged import promote_merged  # late: GTO takes 0.3 s to import

        return promote_merged(Path(), arguments.stage)
    return comment(arguments.files or sorted(CI_FOLDER.glob("[!.]*.md")))
