"""`python -m stages.runs`: writes the page."""

import sys

from stages.base.errors import exit_with
from stages.runs.runs import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
