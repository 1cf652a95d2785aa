"""`python -m stages.train`: runs the stage."""

import sys

from stages.base.errors import exit_with
from stages.train.training import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
