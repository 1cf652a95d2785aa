"""`python -m stages.params`: runs the stage `validate`."""

import sys

from stages.base.errors import exit_with
from stages.params.validate import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
