"""Arguments of `inkflow serve`. This module imports little, so that `inkflow serve --help` answers at once."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE, InvalidInput
from stages.serve.settings import LOOPBACK, TOKEN_VARIABLE, Settings

DESCRIPTION = f"""Serve MODEL over HTTP: a page to draw digits on, POST /predict for pictures, the Open Inference
Protocol below /v2, metrics for Prometheus at /metrics. /docs lists all routes.

MODEL is a name, a folder, or a registered model such as cnn@prod: then the server follows the stage.
The server listens on this machine alone. For other machines name an address with --host, and set a token in the
variable {TOKEN_VARIABLE}.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this program to `parser`."""
    count = _integer(1, sys.maxsize)
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="name or folder of a model, or MODEL@STAGE")
    parser.add_argument("--host", type=_host, default=Settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_integer(0, 65_535), default=Settings.port, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="further name of the server, or of a proxy",
    )
    parser.add_argument("--name", type=_name, help="name of the model in addresses (default: its name)")
    parser.add_argument("--anyway", action="store_true", help="serve a model that failed a quality gate or is damaged")
    parser.add_argument(
        "--fetch", type=_seconds, metavar="S", help="with MODEL@STAGE: fetch the tags of Git's remote every S seconds"
    )
    for name, kind, metavar, default, text in (
        ("--max-body", count, "BYTES", Settings.max_body, "of a request"),
        ("--max-pixels", count, "N", Settings.max_pixels, "of a picture"),
        ("--timeout", _seconds, "S", Settings.timeout_s, "for body and answer, in seconds"),
        ("--max-queue", count, "N", Settings.max_queue, "samples that wait"),
    ):
        words = f"{text} (default: {default:,.10g})"
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=words)
    parser.add_argument("--no-watch", action="store_true", help="do not compare requests with the model's training")


def settings(arguments: argparse.Namespace, source: Path, name: str) -> Settings:
    """Returns the settings of the parsed `arguments`, for the model in `source`.

    Raises:
        InvalidInput: the model has no name that addresses can hold.
    """
    if not arguments.name and not _is_name(name):
        raise InvalidInput(f"{name!r} cannot be the name of a model in addresses; choose one with --name")
    return Settings(
        arguments.name or name,
        source,
        arguments.host,
        arguments.port,
        os.environ.get(TOKEN_VARIABLE, ""),
        _host_names(arguments),
        tuple(name.lower() for name in arguments.host_name),
        arguments.max_body,
        arguments.max_pixels,
        arguments.timeout,
        arguments.max_queue,
        watch=not arguments.no_watch,
    )


def _host_names(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Returns the names under which the server may be reached; none for all, on all addresses without --host-name."""
    is_everywhere = arguments.host in ("0.0.0.0", "::")
    if is_everywhere and not arguments.host_name:
        return ()
    return tuple(
        name.lower() for name in (*LOOPBACK, *arguments.host_name, *([] if is_everywhere else [arguments.host]))
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serves a model over HTTP."""
    parser = argparse.ArgumentParser(prog="python -m stages.serve")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    from stages.predict.model_files import find_model  # late: imports libraries that compute
    from stages.serve.server import serve

    source = Path(arguments.model)
    if source.suffix != ".json":
        source = find_model(arguments.model)
    folder = source.absolute().parent
    name = folder.resolve().name if folder.name == ".." else folder.name
    serve(settings(arguments, source, name), anyway=arguments.anyway)
    return EXIT_DONE


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "/" not in text and text.isprintable()


def _name(text: str) -> str:
    if not _is_name(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a printable name without /")
    return text


def _host(text: str) -> str:
    try:
        if text and text.encode("idna"):  # as the system's look-up of names has it
            return text
    except UnicodeError:
        pass
    raise argparse.ArgumentTypeError(f"got {text!r}, expected an address or a name of this machine")


def _integer(low: int, high: int) -> Callable[[str], int]:
    """Returns a function that parses a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from {low} to {high}")
        return number

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")
    return seconds
