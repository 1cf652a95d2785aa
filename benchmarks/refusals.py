"""What a model of MNIST refuses: digits, letters, signs, photographs, two digits, noise and blank paper, by counts.

The thresholds are those that the models carry for `predict.keep`; nothing is chosen here. `--half tuning` shows the
pictures with which the measure of unlikeness was chosen. Fonts are matplotlib's; `--fonts` names a folder with more.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.support import pictures_of_no_digit as pictures

TARGET = "at most 1 % of the test images, at least 90 % of pictures without a digit and of letters without look-alikes"
MODELS = ("cnn", "dense")
ARRAYS = ("photographs as arrays", "noise as arrays")


def kinds(half: str, mnist: Path, fonts: Path | None) -> Iterator[tuple[str, list[pictures.Picture]]]:
    """Yields the name and the pictures of each kind."""
    import matplotlib  # slow

    random = np.random.default_rng(1 if half == "tuning" else 2)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    sets = {"printed": [folder / f"{name}.ttf" for name in pictures.FONTS[half]]}
    if fonts:
        sets["written"] = sorted(path for path in fonts.iterdir() if path.suffix in {".ttf", ".otf", ".woff2"})
    with np.load(mnist) as arrays:
        digits = arrays["x_train" if half == "tuning" else "x_test"]
    for kind, faces in sets.items():
        draw = {
            "digits": "0123456789",
            "letters": pictures.letters(half, False),
            "look-alikes": pictures.letters(half, True),
        }
        yield from ((f"{kind} {name}", list(pictures.drawn(text, faces, 6, random))) for name, text in draw.items())
    yield "signs", list(pictures.drawn(pictures.signs(half), [folder / "DejaVuSans.ttf"], 12, random))
    yield "photographs", list(pictures.crops_of_photographs(half, 200, random))
    yield ARRAYS[0], list(pictures.in_model_size(pictures.crops_of_photographs(half, 200, random)))
    yield "two digits that touch", list(pictures.touching_digits(digits, 200, random))
    yield ARRAYS[1], list(pictures.noise(half, 150, random))
    yield "blank paper", list(pictures.blank_paper(50, random))


def counts(model: Path, images: list[pictures.Picture], are_arrays: bool) -> dict[str, int]:
    """Returns the number of pictures, of those refused as pictures, those unsure, and those answered."""
    from stages.predict.classifier import open_classifier
    from stages.predict.image_arrays import Images
    from stages.predict.results import Prediction

    classifier = open_classifier(model)
    inputs = (Images([str(number)], image[np.newaxis], are_arrays) for number, image in enumerate(images))
    results = [result for batch in classifier.predict(inputs, raw=False) for result in batch]
    unsure = sum(isinstance(result, Prediction) and result.unsure is True for result in results)
    refused = sum(not isinstance(result, Prediction) for result in results)
    return {"pictures": len(results), "refused": refused, "unsure": unsure, "answered": len(results) - refused - unsure}


def test_images(model: Path, mnist: Path) -> dict[str, int]:
    """Returns the counts for MNIST's test images, and the wrong ones among all and among those answered."""
    from stages.predict.classifier import open_classifier
    from stages.predict.image_arrays import Images
    from stages.predict.results import Prediction

    with np.load(mnist) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    inputs = [Images([str(number) for number in range(len(images))], images, True)]
    results = [result for batch in open_classifier(model).predict(inputs, raw=True) for result in batch]
    pairs = [(result, label) for result, label in zip(results, labels, strict=True) if isinstance(result, Prediction)]
    wrong = [bool(result.unsure) for result, label in pairs if result.label != str(label)]
    unsure = sum(bool(result.unsure) for result, _ in pairs)
    return {
        "pictures": len(results),
        "refused": len(results) - len(pairs),
        "unsure": unsure,
        "answered": len(pairs) - unsure,
        "wrong": len(wrong),
        "wrong_among_answered": wrong.count(False),
    }


def main() -> None:
    """Train the models, and count."""
    parser = common.parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--half", choices=("final", "tuning"), default="final", help="half of the classes of pictures")
    parser.add_argument("--fonts", type=Path, help="folder with font files for a further set of letters")
    parser.add_argument("--trained", type=Path, help="folder with NAME/model.onnx; none is trained then")
    given = parser.parse_args()
    work = given.work / "refusals"
    if not given.trained:
        common.prepare(given.mnist, work)
        for name in MODELS:
            common.fit(name, work)
    models = {name: (given.trained or work / "models") / name / "model.onnx" for name in MODELS}
    for name, model in models.items():
        common.report(f"refusals: MNIST's test images, {name}", TARGET, runs=1, **test_images(model, given.mnist))
    for kind, images in kinds(given.half, given.mnist, given.fonts):
        for name, model in models.items():
            found = counts(model, images, kind in ARRAYS)
            common.report(f"refusals: {kind}, {name}", TARGET, runs=1, **found)


if __name__ == "__main__":
    main()
