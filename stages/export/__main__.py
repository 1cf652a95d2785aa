"""`python -m stages.export`: exports a model."""

import sys

from stages.base.errors import exit_with
from stages.export.command import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
