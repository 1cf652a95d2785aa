"""`python -m stages.download`: runs the stage."""

import sys

from stages.base.errors import exit_with
from stages.download.download import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
