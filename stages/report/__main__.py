"""`python -m stages.report`: Runs the stage."""

import sys

from stages.base.errors import exit_with
from stages.report.report import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
