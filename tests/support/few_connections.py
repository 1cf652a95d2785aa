"""`python -m stages.serve`, but with a few connections at most, which may stay idle for long."""

import sys

from stages.base.errors import exit_with
from stages.serve import command, server

CONNECTIONS = 5

if __name__ == "__main__":
    server.MAX_CONNECTIONS, server.IDLE_TIMEOUT_S = CONNECTIONS, 240.0
    sys.exit(exit_with(command.main))
