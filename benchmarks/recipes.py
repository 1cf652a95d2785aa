"""Recipes for `cnn_best`, compared by the images of held-out writers, with several seeds each.

A sixth of the training images, of writers of whom no image is trained on, judges the recipes; the test images are not
read. Each fit is recorded in FITS as soon as it ends, and a second call goes on after the last one. The validation
scores of a fit are those of the network alone (its history) and of the exported model, which averages over changed
copies of an image: their difference is the share of the test-time augmentation. Ten minutes a fit on two cores.

    python -m benchmarks.recipes --recipes "28 epochs" "14 epochs"    # compare by validation; keeps the exported models
    python -m benchmarks.recipes --look "14 epochs"                   # one look at the test images, after all of it
"""

import argparse
import csv
import json
import math
import shutil
import statistics
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.support.measure import NO_TARGET

NAME = "cnn_best"  # of `more_models` in params.yaml
FITS = "fits.jsonl"
LOOKS = "looks.jsonl"  # each look at the test images
PART: dict[str, Any] = {"prepare.held_out": "groups", "prepare.validation": 1 / 6}
RECIPES: dict[str, dict[str, Any]] = {
    "7 epochs": {"epochs": 7},
    "14 epochs": {"epochs": 14},
    "28 epochs": {"epochs": 28},
    "42 epochs": {"epochs": 42},
    "no bends": {"augmentation.elastic": 0.0},
    "wider": {"filters": [32, 96, 192], "dropout": 0.5},
    "weight decay": {"optimizer.weight_decay": 0.1, "dropout": 0.5},
}


def fitted(recipe: str, seed: int, work: Path) -> dict[str, Any]:
    """Train `recipe` with `seed` on the prepared data in `work`; what the images of the held-out writers say of it."""
    changes = {f"models.{NAME}.{key}": value for key, value in RECIPES[recipe].items()}
    base = {f"models.{NAME}": common.read_params()["more_models"][NAME]}
    params = common.params_with(work, base | changes | {f"models.{NAME}.seed": seed} | PART)
    seconds = common.fit(NAME, work, params)
    trained = work / "models" / NAME
    shutil.copytree(trained, kept(recipe, seed, work), dirs_exist_ok=True)
    samples = json.loads((work / "prepared" / "prepared.json").read_text())["samples"]["validation"]
    exported = json.loads((trained / "training.json").read_text())["validation"]
    *_, last = csv.DictReader((trained / "history.csv").read_text().splitlines())
    return {
        "recipe": recipe,
        "seed": seed,
        "fit_s": seconds,
        "samples": samples,
        "loss": exported["loss"],
        "errors": round((1 - exported["accuracy"]) * samples),
        "loss_of_one_view": float(last["val_loss"]),
        "errors_of_one_view": round((1 - float(last["val_accuracy"])) * samples),
    }


def kept(recipe: str, seed: int, work: Path) -> Path:
    """The folder of the trained model, kept for the look at the test images."""
    return work / "kept" / f"{recipe}-{seed}"


def compare(recipes: list[str], seeds: list[int], mnist: Path, work: Path) -> list[dict[str, Any]]:
    """Fit each recipe with each seed unless FITS in `work` has it; all fits that were asked for."""
    record = work / FITS
    fits = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    done = {(fit["recipe"], fit["seed"]): fit for fit in fits}
    wanted = [(recipe, seed) for seed in seeds for recipe in recipes]
    if missing := [pair for pair in wanted if pair not in done]:
        common.prepare(mnist, work, common.params_with(work, PART))
        for recipe, seed in missing:
            done[recipe, seed] = fitted(recipe, seed, work)
            with record.open("a") as file:
                file.write(json.dumps(done[recipe, seed]) + "\n")
    return [done[pair] for pair in wanted]


def summarise(recipe: str, fits: list[dict[str, Any]]) -> None:
    """Print the mean and the standard deviation between the seeds of `recipe`."""

    def over_seeds(key: str) -> str:
        values = [fit[key] for fit in fits]
        spread = f" ± {statistics.stdev(values):.4g}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.4g}{spread}"

    common.report(
        f"{NAME}, held-out writers: {recipe}",
        NO_TARGET,
        seconds={"fit": common.median([fit["fit_s"] for fit in fits])},
        runs=len(fits),
        validation_samples=fits[0]["samples"],
        validation_loss=over_seeds("loss"),
        each=", ".join(f"{fit['loss']:.4f}" for fit in fits),
        validation_errors=over_seeds("errors"),
        validation_loss_of_one_view=over_seeds("loss_of_one_view"),
        validation_errors_of_one_view=over_seeds("errors_of_one_view"),
    )


def look(recipe: str, seeds: list[int], work: Path) -> None:
    """Score the kept models of `recipe` on the test images, and print the mean of all seeds with a 95 % interval.

    The interval has both spreads: between the seeds, and of 10,000 test images drawn anew (binomial). Each look is
    recorded before it is taken, and the row has their number: the more looks, the more they choose.
    """
    record = work / LOOKS
    with record.open("a") as file:
        file.write(json.dumps({"recipe": recipe, "seeds": seeds, "date": date.today().isoformat()}) + "\n")
    scores = []
    for seed in seeds:
        exam = work / "evaluation" / f"{recipe}-{seed}"
        onnx = kept(recipe, seed, work) / "model.onnx"
        common.call(["-m", "stages.evaluate", "--model", onnx, "--raw", work / "raw", "--out", exam])
        scores.append(json.loads((exam / "metrics.json").read_text())["accuracy"])
    mean = statistics.mean(scores)
    variance = statistics.variance(scores) / len(scores) + mean * (1 - mean) / 10_000
    half = 1.96 * math.sqrt(variance)
    common.report(
        f"{NAME}, test images: {recipe}",
        "mean of five seeds at least 0.9970",
        runs=len(scores),
        mean_test_accuracy=round(mean, 5),
        interval=f"{mean - half:.4f} to {mean + half:.4f}",
        each=", ".join(f"{score:.4f}" for score in scores),
        looks=len(record.read_text().splitlines()),
    )


def main() -> None:
    """Compare the recipes seed by seed, so that a call that is cut off has judged all of them equally."""
    parser = common.parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--look", choices=RECIPES, metavar="RECIPE", help="score its kept models on the test images")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), metavar="SEED")
    given = parser.parse_args()
    if given.look:
        look(given.look, given.seeds, given.work / "recipes")
        return
    fits = compare(given.recipes, given.seeds, given.mnist, given.work / "recipes")
    for recipe in given.recipes:
        summarise(recipe, [fit for fit in fits if fit["recipe"] == recipe])


if __name__ == "__main__":
    main()
