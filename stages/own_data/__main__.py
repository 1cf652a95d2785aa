"""Runs the program: python -m stages.own_data."""

import sys

from stages.base.errors import exit_with
from stages.own_data.program import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
