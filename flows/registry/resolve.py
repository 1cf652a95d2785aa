"""Prints the folder with the files of a registered model: `python -m flows.registry.resolve MODEL@STAGE`."""

import sys

from flows.core.project import find_project
from flows.registry.model_files import fetch_model
from stages.base.errors import EXIT_DONE, exit_with


def main() -> int:
    """Prints the absolute path of the folder."""
    root = find_project()
    print((root / fetch_model(root, sys.argv[1]).path).parent.resolve())
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
