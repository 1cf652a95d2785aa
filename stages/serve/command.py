"""Arguments of `inkflow serve`. This module imports little, so that `inkflow serve --help` answers at once."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.serve.settings import LOOPBACK, TOKEN_VARIABLE, Settings

DESCRIPTION = f"""Serve MODEL over HTTP: a page to draw digits on, POST /predict for pictures, the Open Inference
Protocol below /v2, metrics for Prometheus at /metrics. /docs lists all routes.

MODEL is a name, a folder, or a registered model such as cnn@prod: then the server follows the stage.
The server listens on this machine alone. For other machines name an address with --host, and set a token in the
variable {TOKEN_VARIABLE}.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this program to `parser`."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="name or folder of a model, or MODEL@STAGE")
    parser.add_argument("--host", default=Settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=Settings.port, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="further name of this server in addresses"
    )
    parser.add_argument("--name", help="name of the model in addresses (default: its name)")
    parser.add_argument("--anyway", action="store_true", help="serve a model that failed a quality gate or is damaged")
    parser.add_argument(
        "--fetch", type=float, metavar="S", help="with MODEL@STAGE: fetch the tags of Git's remote every S seconds"
    )
    parser.add_argument("--max-body", type=int, default=Settings.max_body, metavar="BYTES", help="of a request")
    parser.add_argument("--max-pixels", type=int, default=Settings.max_pixels, metavar="N", help="of a picture")
    parser.add_argument("--timeout", type=float, default=Settings.timeout_s, metavar="S", help="for body and answer")
    parser.add_argument("--max-queue", type=int, default=Settings.max_queue, metavar="N", help="samples that wait")
    parser.add_argument("--no-watch", action="store_true", help="do not compare requests with the model's training")


def settings(arguments: argparse.Namespace, source: Path, name: str) -> Settings:
    """Returns the settings of the parsed `arguments`, for the model in `source`."""
    return Settings(
        arguments.name or name,
        source,
        arguments.host,
        arguments.port,
        os.environ.get(TOKEN_VARIABLE, ""),
        _host_names(arguments),
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
    from stages.predict.classifier import find_model  # late: imports libraries that compute
    from stages.serve.server import serve

    source = Path(arguments.model)
    if source.suffix != ".json":
        source = find_model(arguments.model)
    serve(settings(arguments, source, source.parent.name), anyway=arguments.anyway)
    return EXIT_DONE
