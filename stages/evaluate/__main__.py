"""`python -m stages.evaluate`: runs the stage."""

import sys

from stages.base.errors import exit_with
from stages.evaluate.evaluate import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
