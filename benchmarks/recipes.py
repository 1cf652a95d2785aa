"""Recipes beside that of `cnn_best`, compared by the last 10,000 training images, with one seed each.

40.8 % of these images are by writers of the other training images, so they are no set of new writers; and test scores
took part in the choice before this comparison (docs/decisions.md). Ten minutes a recipe: `--recipes` says which. The
loss of smoothed labels is one of its own; its errors alone can be compared.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.best import NAME
from benchmarks.support.measure import NO_TARGET

HELD_OUT = 10_000
RECIPES: dict[str, dict[str, Any]] = {
    "chosen": {},
    "one look": {"test_time_augmentation": None},
    "one look, no bends": {"test_time_augmentation": None, "augmentation.elastic": 0.0},
    "wider": {"filters": [32, 96, 192], "epochs": 24, "dropout": 0.5},
    "weight decay": {"optimizer.weight_decay": 0.1, "dropout": 0.5},
    "momentum": {
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 0.0005,
        "dropout": 0.5,
    },
    "smoothed labels": {"loss": "categorical_crossentropy", "label_smoothing": 0.1},
    "larger windows": {"kernel_size": 5, "padding": "valid", "filters": [32, 64], "units": [128], "epochs": 60},
}


def judged(recipe: str, mnist: Path, work: Path) -> None:
    """Train `recipe` and print what the held-out images say of it."""
    changes = {f"models.{NAME}.{key}": value for key, value in RECIPES[recipe].items()}
    part = {"prepare.held_out": "last", "prepare.validation": HELD_OUT / 60_000}
    base = {f"models.{NAME}": common.read_params()["more_models"][NAME]}
    params = common.params_with(work, base | changes | part)
    common.prepare(mnist, work, params)
    seconds = common.fit(NAME, work, params)
    found = json.loads((work / "models" / NAME / "training.json").read_text())["validation"]
    common.report(
        f"{NAME}: {recipe}",
        NO_TARGET,
        seconds={"fit": seconds},
        runs=1,
        validation_loss=round(found["loss"], 4),
        validation_errors=round((1 - found["accuracy"]) * HELD_OUT),
    )


def main() -> None:
    """Train one recipe after the other, with the seed that params.yaml fixes."""
    parser = common.parser(__doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RECIPE")
    given = parser.parse_args()
    for recipe in given.recipes:
        judged(recipe, given.mnist, given.work / "recipes")


if __name__ == "__main__":
    main()
