"""`inkflow up`: its arguments; what it does is loaded when it is called."""

import argparse

from flows.arguments import Verbs

DEFAULT_PORT = 4200

EXAMPLES = """examples:
  inkflow up                                                     on this machine, for this machine
  inkflow up --webhook https://chat.example/hooks/...            told when a nightly run fails or is late
  inkflow up --host 0.0.0.0                                      for other machines too, with a password
  inkflow up --database postgresql+asyncpg://db/prefect          a URL with a password: in the environment, as
                                                                 PREFECT_SERVER_DATABASE_CONNECTION_URL
"""


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "up",
        help="a Prefect server, work pools, workers and deployments; Ctrl-C ends all of it",
        description="Start a Prefect server, the work pools with one worker each, and the deployments of prefect.yaml. "
        "Ctrl-C takes all of it down; what it knows stays in .inkflow/up for the next time.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on; others than loopback need a password")
    verb.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    database = "postgresql+asyncpg://...; one with a password: in PREFECT_SERVER_DATABASE_CONNECTION_URL, which "
    database += "`ps` does not show; default: that variable, else SQLite in .inkflow/up"
    verb.add_argument("--database", metavar="URL", help=database)
    verb.add_argument("--webhook", metavar="URL", help="called when a nightly run fails, crashes or is late")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.prefect_server.up import up  # late: `inkflow --help` must answer at once

    return up(arguments)
