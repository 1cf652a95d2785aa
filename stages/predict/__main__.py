"""`python -m stages.predict`: classifies images with a trained model."""

import sys

from stages.base.errors import exit_with
from stages.predict.command import main

if __name__ == "__main__":
    sys.exit(exit_with(main))
