"""`python -m stages.verify`: compares pairs of files."""

import sys

from stages.base.errors import exit_with
from stages.verify.compare_files import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
