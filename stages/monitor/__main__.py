"""`python -m stages.monitor`: shows what the watch of a model has found."""

import sys

from stages.base.errors import exit_with
from stages.monitor.command import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
