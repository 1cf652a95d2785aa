"""How well the validation part foretells the test error: random samples, the last ones, and whole writers held out.

The recipes are those of params.yaml, which the tutorials fixed: nothing is chosen here. Two minutes for each split.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.support.measure import NO_TARGET

SPLITS: dict[str, dict[str, Any]] = {
    held_out: {"prepare.held_out": held_out} for held_out in ("random", "last", "groups")
}


def scores(mnist: Path, work: Path, held_out: str) -> list[dict[str, float | str]]:
    """Train the models of params.yaml with one split; validation and test error of each, in percent."""
    params = common.params_with(work, SPLITS[held_out])
    common.prepare(mnist, work, params)
    rows: list[dict[str, float | str]] = []
    for name in common.read_params()["models"]:
        test = common.ours(name, work, params).accuracy
        training = json.loads((work / "models" / name / "training.json").read_text())
        validation = training["validation"]["accuracy"]
        rows.append({"model": name, "validation": percent_wrong(validation), "test": percent_wrong(test)})
    return rows


def percent_wrong(accuracy: float) -> float:
    """The share of wrong predictions in percent."""
    return round(100 * (1 - accuracy), 2)


def main() -> None:
    """Train all models with each split."""
    parser = common.parser(__doc__)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), metavar="SPLIT")
    given = parser.parse_args()
    for held_out in given.splits:
        rows = scores(given.mnist, given.work / "held_out", held_out)
        gaps = [float(row["test"]) - float(row["validation"]) for row in rows]
        errors = [f"{row['model']} {row['validation']} and {row['test']} %" for row in rows]
        common.report(
            f"held out: {held_out}",
            NO_TARGET,
            runs=1,
            mean_test_minus_validation_points=round(sum(gaps) / len(gaps), 3),
            largest_difference_points=round(max(map(abs, gaps)), 3),
            validation_and_test_error=", ".join(errors),
        )


if __name__ == "__main__":
    main()
