"""`python -m stages.serve`: serves a model over HTTP."""

import sys

from stages.base.errors import exit_with
from stages.serve.command import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
