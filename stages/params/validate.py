"""Stage `validate`: checks the whole params.yaml, before all other stages.

All other stages depend on its output file. The content of this file is constant, so a change of params.yaml reruns no
other stage; a mistake anywhere in params.yaml stops all of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.base.files import write_text
from stages.params.schema import load_params

CONTENT = "params.yaml is valid\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Checks the whole params.yaml and writes a file with constant content."""
    parser = argparse.ArgumentParser(prog="python -m stages.params", description=main.__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="output file")
    arguments = parser.parse_args(argv)
    load_params(arguments.params)
    write_text(arguments.out, CONTENT)
    print(CONTENT.strip(), flush=True)
    return EXIT_DONE
