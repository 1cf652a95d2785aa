"""The `inkflow` command: parses the arguments and calls the verb. Exit codes: 0 done, 1 failed, 2 invalid input."""

import argparse
import errno
import os
import stat
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from flows.cli.verbs import VERBS, add_arguments, call
from flows.core.libraries import REMOTE_LIBRARIES
from flows.core.project import enter_project
from flows.core.signals import exit_now, raise_keyboard_interrupt, repair_inherited_state
from stages.base.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_DONE,
    EXIT_FAILED,
    InkflowError,
    InvalidInput,
    OutputError,
    exit_with,
)
from stages.base.suggestions import did_you_mean

WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)  # of standard output
# Libraries of DVC: their errors are about damaged files, and about remotes without credentials or an answer.
LIBRARIES = ("dvc.", "dvc_data.", "dvc_objects.", "scmrepo.", "sqlite3", *REMOTE_LIBRARIES)
SHORT_USAGE = """usage: inkflow VERB [options]

  inkflow init                 set up this DVC project, or a small one in an empty folder
  inkflow run                  bring all stages up to date; a second run does nothing
  inkflow plan                 show what would run, and why
  inkflow report --open        open the report about the models
  inkflow predict cnn a.png    classify images with a trained model
  inkflow doctor               check this machine for a run

`inkflow --help` lists all verbs, `inkflow VERB --help` the options of one.
"""
EXAMPLES = """examples:
  inkflow plan                                  show what would run, and why
  inkflow run                                   bring all stages up to date
  inkflow run train@cnn                         one stage and the stages before it
  inkflow run --set models.dense.epochs=3       change a parameter, run the stages that depend on it
  inkflow run --dataset digits                  use another data set
  inkflow sweep --grid models.cnn.batch_size=32,128 --grid models.cnn.epochs=5,10
  inkflow verify train@cnn                      run a stage again elsewhere and compare its outputs
"""

OPTIONS_OF_DVC = {
    "--allow-missing": "`inkflow plan --recorded` needs no data, and `inkflow run --pull` restores them",
    "--all-pipelines": "without a stage, `inkflow run` brings all stages of all dvc.yaml up to date",
    "--pipeline": "name the last stages of the pipeline, or no stage for all pipelines",
    "--force-downstream": "add --force to --downstream",
    "--dry": "use `inkflow plan`",
    "--interactive": "use `inkflow plan` first",
    "--no-run-cache": "use --force",
    "--no-commit": "outputs are always cached; `dvc gc` removes them",
    "--ignore-errors": "use --keep-going",
}


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest name for an unknown verb, choice or option."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"got {value!r}; {did_you_mean(str(value), known)}known: {', '.join(known)}"
            )

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints a help, usage or message; argparse ignores that standard output cannot be written."""
        if file is not None and file is sys.stdout:
            print(message, end="", flush=True)
        else:
            super()._print_message(message, file)

    def reject(self, unrecognized: Sequence[str]) -> NoReturn:
        """Exits with the usage and a message about arguments that the parser does not recognize."""
        if self.prog.endswith((" run", " plan")) and (hint := OPTIONS_OF_DVC.get(unrecognized[0])):
            self.error(f"{unrecognized[0]} of `dvc repro` does not exist here: {hint}")
        known = [option for option in self._option_string_actions if option.startswith("--")]
        hint = did_you_mean(unrecognized[0].partition("=")[0], known)
        self.error(f"unrecognized arguments: {' '.join(unrecognized)}; {hint}".rstrip("; "))


def console() -> None:
    """Runs the command and exits: the entry point of the console script."""
    sys.excepthook = _print_exception
    repair_inherited_state()
    raise_keyboard_interrupt()
    exit_now(_exit_code())


def _exit_code() -> int:
    """Runs the command; returns its exit code, also where standard output cannot be written."""
    try:
        code = exit_with(_redacted_main)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        _discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if not _is_of_output(error):
            raise
        _discard_output()
        print(f"error: {OutputError('standard output', error)}", file=sys.stderr)
        return EXIT_FAILED
    return code


def _is_of_output(error: OSError) -> bool:
    """Returns whether standard output could not be written: a file or device, not a pipe, which is never full."""
    if error.errno not in WRITE_ERRORS or error.filename is not None:
        return False
    try:
        return not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):  # it is closed
        return True


def _explained(error: OSError) -> InkflowError | None:
    """Returns our error if standard output cannot be written, or the current folder was deleted; None for others."""
    if _is_of_output(error):
        _discard_output()
        return OutputError("standard output", error)
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()  # noqa: PTH109 - a path is not wanted
        except FileNotFoundError:
            return InvalidInput("the present folder no longer exists; `cd` to it again")
    return None


def _discard_output() -> None:
    """Discards what is still to be written to standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_exception(*error: Any) -> None:
    """Prints the traceback of an unexpected error, with secrets masked."""
    import traceback  # late, as below

    from flows.core.redaction import mask

    print(mask("".join(traceback.format_exception(*error))), end="", file=sys.stderr)


def _redacted_main() -> int:
    """Runs `main`; replaces secrets in the message of its error, and explains those of missing packages and of DVC."""
    try:
        return main()
    except InkflowError as error:
        from flows.core.redaction import mask  # late: only errors need it

        error.args = (mask(str(error)),)
        raise
    except OSError as error:
        if explained := _explained(error):
            raise explained from error
        raise
    except RecursionError as error:  # raised by the parsers of DVC too
        raise InvalidInput(
            "a file of the project is nested too deep to be read: look at dvc.yaml, dvc.lock, params.yaml and "
            "execution.yaml, and restore the damaged one"
        ) from error
    except ModuleNotFoundError as error:
        from flows.core.extras import missing_package  # late: only errors need it

        if missing := missing_package(error.name or ""):
            raise missing from error
        raise
    except Exception as error:
        if isinstance(error, TypeError) or type(error).__module__.startswith(LIBRARIES):
            from flows.dvc_repo.dvc_errors import failed_library  # late: only errors need it

            if failed := failed_library(error):
                raise failed from error
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv`, calls the verb and returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        print(SHORT_USAGE, end="")
        return EXIT_DONE
    name = next((word for word in words if not word.startswith("-")), None)
    parser = make_parser([name] if name in VERBS else [])
    arguments, unrecognized = parser.parse_known_args(words)
    if unrecognized:
        arguments.parser.reject(unrecognized)
    if any(name.startswith("GIT_") for name in os.environ):
        from flows.core.git import forget_caller  # late: few processes are started by git

        forget_caller()
    if not VERBS[arguments.verb].anywhere:
        arguments.folder = enter_project()
    return call(arguments.verb, arguments)


def make_parser(names: Sequence[str]) -> Parser:
    """Returns the parser of the command; only the verbs `names` get their arguments, which saves imports."""
    parser = Parser("inkflow", description="Train, compare and ship digit classifiers.", epilog=EXAMPLES)
    parser.add_argument("--version", action=_Version, help="print the version")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb", parser_class=Parser)
    for name, verb in VERBS.items():
        sub = verbs.add_parser(name, help=verb.help)
        sub.set_defaults(parser=sub)
        if name in names:
            add_arguments(name, sub)
    return parser


class _Version(argparse.Action):
    """Prints the version and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # late: searches the installed packages

        print(f"inkflow {version('inkflow')}")
        parser.exit()
