"""`python -m stages.serve`, but the server looks every half second at what it was asked; every 5 s otherwise."""

import sys

from stages.base.errors import exit_with
from stages.serve import command, watching

watching.PAUSE_S = 0.5

if __name__ == "__main__":
    sys.exit(exit_with(command.main))
