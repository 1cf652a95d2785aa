"""Stage `validate`: checks all of params.yaml, before any other stage runs.

The other stages depend on the file that it writes. Its content never changes, so a run of this stage makes no other
stage run; a mistake anywhere in params.yaml stops all of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.base.files import write_text
from stages.params.schema import load_params

CONTENT = "params.yaml is valid\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Check all of params.yaml and write a file of constant content."""
    parser = argparse.ArgumentParser(prog="python -m stages.params", description=main.__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args(argv)
    load_params(given.params)
    write_text(given.out, CONTENT)
    print(CONTENT.strip(), flush=True)
    return EXIT_DONE
