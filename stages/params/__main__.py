"""`python -m stages.params`: runs the stage `validate`."""

import sys

from stages.base.errors import exit_with


def main() -> int:
    """Runs the stage."""
    from stages.params.validate import main as run  # late: if a library cannot be loaded, a sentence says so

    return run()


if __name__ == "__main__":
    sys.exit(exit_with(main))
