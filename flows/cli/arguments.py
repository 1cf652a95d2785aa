"""The arguments of each verb. Imports nothing that takes time: `inkflow VERB --help` answers at once."""

import argparse
from datetime import timedelta
from pathlib import Path

CI_FOLDER = Path(".inkflow/ci")  # where the lanes leave what CI keeps: summaries and JUnit XML
DEFAULT_AGE = "30d"
DEFAULT_PORT = 4200
SHELLS = ("bash", "zsh", "tcsh")
AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UP_EXAMPLES = """examples:
  inkflow up                                                     on this machine, for this machine
  inkflow up --webhook https://chat.example/hooks/...            told when a nightly run fails or is late
  inkflow up --host 0.0.0.0                                      for other machines too, with a password
  inkflow up --database postgresql+asyncpg://db/prefect          a URL with a password: in the environment, as
                                                                 PREFECT_SERVER_DATABASE_CONNECTION_URL
"""


def run(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow run`."""
    verb.description = "Bring the stages up to date."
    _add_stages(verb)
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="edit params.yaml first")
    verb.add_argument(
        "--with",
        dest="with_models",
        action="append",
        default=[],
        metavar="MODEL",
        help="train this one of `more_models` too: edits params.yaml",
    )
    verb.add_argument("--dataset", metavar="NAME", help="use this data set: edits params.yaml")
    verb.add_argument("--fallback", metavar="NAME", help="use this data set, loudly, if the chosen one cannot be had")
    _add_jobs(verb)
    verb.add_argument("--force", action="store_true", help="run the stages even when nothing changed")
    verb.add_argument("--keep-going", action="store_true", help="after a failure, run what does not depend on it")
    verb.add_argument("--local", action="store_true", help="run every stage on this machine, whatever its pool")
    verb.add_argument("--pull", action="store_true", help="restore what the DVC remote has, before anything runs")
    verb.add_argument("--push", action="store_true", help="send results and run cache to the DVC remote afterwards")


def plan(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow plan`."""
    verb.description = "Say what would run, be restored from the cache, or stay, and why. Runs nothing."
    _add_stages(verb)
    verb.add_argument("--force", action="store_true", help="plan for `run --force`")
    verb.add_argument("--pull", action="store_true", help="plan for `run --pull`: count what the DVC remote holds too")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON")
    verb.add_argument("--exit-code", action="store_true", help="end with 0 when there is nothing to do, with 3 else")
    verb.add_argument(
        "--recorded", action="store_true", help="take outputs as dvc.lock has them: a clone needs no data"
    )


def sweep(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow sweep`."""
    verb.description = (
        "Try combinations of parameters side by side, each recorded as a DVC experiment "
        "(`dvc exp show`, `dvc exp apply NAME`). The workspace stays as it is."
    )
    _add_stages(verb)
    verb.add_argument("--grid", action="append", default=[], metavar="KEY=V1,V2", help="each value, with all others")
    verb.add_argument("--list", action="append", default=[], metavar='"KEY=V KEY2=V"', help="one combination")
    verb.add_argument("--from", type=_path, dest="file", metavar="FILE", help="one combination on each line of a file")
    _add_jobs(verb)
    verb.add_argument("--json", action="store_true", help="print what became of each combination as JSON")


def verify(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow verify`."""
    verb.description = (
        "Run stages again in a clean temporary folder, all from nothing or the named ones on what lies in the "
        "workspace, and say of each output: same bytes, same values, within tolerance or different. "
        "Ends with 1 when something is different. The workspace stays as it is."
    )
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="just these stages or groups; all by default")
    _add_jobs(verb)
    verb.add_argument("--tolerance", type=float, default=1e-6, metavar="X", help="for numbers (default: 1e-6)")
    verb.add_argument("--json", action="store_true", help="print what became of each output as JSON")


def report(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow report`."""
    verb.description = "Write the report with this machine's timings and the commit to .inkflow/report/index.html."
    verb.add_argument("--open", action="store_true", help="open it in the browser")
    verb.add_argument("--json", action="store_true", help="print this machine's figures as JSON")


def check(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow check`."""
    verb.description = "Hold the models, as they lie here, against `gates` of params.yaml. Exit code 1: a gate failed."
    verb.add_argument("--json", action="store_true", help="print the judgement as JSON")
    verb.add_argument("--junit", type=_path, metavar="FILE", help="write JUnit XML for CI")
    verb.add_argument("--against", metavar="REV", help="no model may be worse than at that commit or experiment")


def compare(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow compare`."""
    verb.description = "Compare the models of two versions on the same test images: a table here, and a page."
    verb.add_argument("old", metavar="REV", help="a commit, branch, tag or experiment")
    verb.add_argument("new", metavar="REV2", nargs="?", help="another one; the files as they lie here by default")
    verb.add_argument("--json", action="store_true", help="print the comparison as JSON")
    verb.add_argument("--open", action="store_true", help="open the page in the browser")


def ci(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow ci`."""
    verb.description = "What CI does with the pipeline, the same on any machine; the workflow files only call it."
    lanes = verb.add_subparsers(title="lanes", metavar="LANE", required=True, dest="lane")
    lane = lanes.add_parser(
        "check",
        help="without data, without training: do code, lock and remote belong together?",
        description="Without data and without training: are generated files fresh, is no credential tracked, does "
        "dvc.lock belong to the code, has the DVC remote what dvc.lock names?",
    )
    _add_output(lane)
    lane.add_argument("--no-remote", action="store_true", help="leave the DVC remote out: a fork has no credentials")
    lane = lanes.add_parser(
        "run",
        help="pull the run cache, run, hold the models against the gates, push",
        description="Pull the run cache where a DVC remote is configured, run, hold the models against the gates.",
    )
    _add_output(lane)
    lane.add_argument(
        "--push", action="store_true", help="send results and run cache to the DVC remote, if there is one"
    )
    lane.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="after --: more for `inkflow run`")
    lane = lanes.add_parser(
        "comment",
        help="put a summary on the pull or merge request of this job, in one comment",
        description="Put the lanes' summaries on the pull request (GitHub) or merge request (GitLab) that this job is "
        "for, in one comment, which is written anew each time. StageTransfer it says so and does nothing.",
    )
    lane.add_argument("files", nargs="*", type=Path, help=f"summaries (default: those in {CI_FOLDER})")


def up(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow up`."""
    verb.description = (
        "Start a Prefect server, the work pools with one worker each, and the deployments of prefect.yaml. "
        "Ctrl-C takes all of it down; what it knows stays in .inkflow/up for the next time."
    )
    verb.epilog = UP_EXAMPLES
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on; others than loopback need a password")
    verb.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    verb.add_argument(
        "--database",
        metavar="URL",
        help="postgresql+asyncpg://...; one with a password: in PREFECT_SERVER_DATABASE_CONNECTION_URL, which `ps` "
        "does not show; default: that variable, else SQLite in .inkflow/up",
    )
    verb.add_argument("--webhook", metavar="URL", help="called when a nightly run fails, crashes or is late")


def prune(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow prune`."""
    verb.description = (
        "Free old run-cache entries with what only they need, checkpoints of trainings that nobody came back for, and "
        "Prefect's records in .inkflow/up. What the workspace, a branch, a tag or an experiment needs stays."
    )
    verb.add_argument("--older-than", type=age, metavar="AGE", help=f"30d, 12h; default: {DEFAULT_AGE}")
    verb.add_argument("--keep-size", type=size, metavar="SIZE", help="10G: the oldest go until the cache is no larger")
    verb.add_argument(
        "--also-for",
        type=_path,
        action="append",
        default=[],
        metavar="PATH",
        help="another project with the same cache: what it needs stays",
    )
    verb.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    verb.add_argument("--json", action="store_true", help="print what went as JSON")


def doctor(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow doctor`."""
    verb.description = (
        "Check Python, packages, GPU, Prefect's server, DVC's remote, the data set and the disk. "
        "Exit code 1: something has to be fixed before a run."
    )
    verb.add_argument("--json", action="store_true", help="print the findings as JSON")


def completion(verb: argparse.ArgumentParser) -> None:
    """Arguments of `inkflow completion`."""
    verb.description = 'Print the completion script of a shell; for bash: eval "$(inkflow completion bash)"'
    verb.add_argument("shell", choices=SHELLS, help="the shell")


def age(text: str) -> timedelta:
    """`30d`, `12h`, `0`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in AGES else (text, "d")
    try:
        return timedelta(seconds=_positive(number) * AGES[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with s, m, h, d or w, as 30d") from error


def size(text: str) -> int:
    """`10G`, `500M`, `0`."""
    plain = text.upper().removesuffix("B")
    number, unit = (plain[:-1], plain[-1]) if plain[-1:] in SIZES else (plain, "")
    try:
        return int(_positive(number) * SIZES[unit])
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number with K, M, G or T, as 10G") from error


def _add_stages(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="stages or groups (train@cnn, train); all by default")


def _add_jobs(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--jobs", type=_count, metavar="N", help="stages that may run at the same time (default: cores)")


def _add_output(lane: argparse.ArgumentParser) -> None:
    lane.add_argument("--out", type=Path, default=CI_FOLDER, metavar="DIR", help=f"for summary and JUnit ({CI_FOLDER})")


def _path(text: str) -> Path:
    """`text` as a path from the caller's folder: the verbs work in the project's."""
    return Path(text).absolute()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number
