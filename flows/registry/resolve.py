"""Prints the folder with the files of a registered model: `python -m flows.registry.resolve MODEL@STAGE`."""

import os
import sys

from flows.core.project import find_project
from flows.registry.model_files import fetch_model
from stages.base.errors import EXIT_DONE, exit_with


def main() -> int:
    """Prints the absolute path of the folder, byte by byte: no encoding of standard output changes it."""
    root = find_project()
    path = (root / fetch_model(root, sys.argv[1]).path).parent.resolve()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.flush()
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
