"""Makes the long run: writes what was used after each run as a table, draws it, and says what grows too much.

python -m tests.torture.long_run --runs 500 --out FOLDER
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from stages.base.errors import EXIT_DONE, InkflowError, exit_with
from tests.torture.long_run.chart import draw
from tests.torture.long_run.growth import excesses, growths
from tests.torture.long_run.runs import Row, make_runs

TABLE, CHART = "long-run.csv", "long-run.svg"


def main() -> int:
    """Makes the runs, or reads the table of runs that were made.

    Raises:
        InkflowError: a quantity grows by more than it may.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="number of runs; 0 to draw the table that is in --out")
    parser.add_argument("--seed", type=int, default=17, help="seed of the changes between the runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table and the chart")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / TABLE
    if options.runs:
        with tempfile.TemporaryDirectory() as folder:
            _write(make_runs(Path(folder), options.runs, options.seed), table)
    rows = read(table)
    draw(rows, options.out / CHART)
    for name, growth in growths(rows).items():
        print(f"{name:16} {growth.first:+.5f} a run, then {growth.second:+.5f}; from first to last {growth.total:+.3f}")
    if found := excesses(rows):
        raise InkflowError("; ".join(found))
    return EXIT_DONE


def read(table: Path) -> list[Row]:
    """Returns the rows of a table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [{**row, "pruned": row["pruned"] == "True"} for row in csv.DictReader(file)]


def _write(rows: Iterable[Row], table: Path) -> None:
    """Writes each row at once: what was measured stays when the program is stopped."""
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = None
        for row in rows:
            cells = {name: round(cell, 3) if isinstance(cell, float) else cell for name, cell in row.items()}
            if writer is None:
                writer = csv.DictWriter(file, [*cells])
                writer.writeheader()
            writer.writerow(cells)
            file.flush()


if __name__ == "__main__":
    sys.exit(exit_with(main))
