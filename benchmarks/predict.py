"""What `inkflow predict` costs: one JSON line a benchmark, medians of alternating runs.

python benchmarks/predict.py [--model models/cnn] [--images 10000] [--rounds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SIZE = (28, 28)
# Runs the command, then says the peak of its memory in KiB: what the kernel counted since the program was started.
WITNESS = """
import sys
from pathlib import Path
from flows.cli.main import main
code = main(sys.argv[1:])
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], file=sys.stderr)
sys.exit(code)
"""


def call(*arguments: str) -> tuple[float, float]:
    """Seconds that `inkflow predict` took as a process of its own, and MB at its peak."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", WITNESS, "predict", *arguments], env=environment, capture_output=True, check=True
    )
    return time.perf_counter() - start, int(run.stderr.split()[-1]) * 1024 / 1e6


def one_picture(model: str, picture: Path, rounds: int) -> dict[str, Any]:
    """One PNG: wall time of the command, interpreter's start included, and memory."""
    seconds, megabytes = zip(*(call(model, str(picture)) for _ in range(rounds)), strict=True)
    return {
        "benchmark": "`inkflow predict` on one PNG",
        "wall_s": round(statistics.median(seconds), 3),
        "peak_mb": round(statistics.median(megabytes), 1),
        "target": "at most 1.0 s and 250 MB",
        "runs": rounds,
    }


def batch_against_singles(model: str, pixels: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """All images in one npz file against as many single calls, which are extrapolated from a few."""
    npz = folder / "all.npz"
    np.savez(npz, allow_pickle=True, x=pixels)
    pictures = []
    for number in range(rounds):
        pictures.append(folder / f"{number}.png")
        Image.fromarray(pixels[number]).save(pictures[-1])
    batch, single = [], []
    for picture in pictures:  # alternating, so that both meet the same machine
        batch.append(call(model, str(npz), "--csv")[0])
        single.append(call(model, str(picture))[0])
    together, apart = statistics.median(batch), statistics.median(single) * len(pixels)
    return {
        "benchmark": "`inkflow predict` on 10,000 images in an npz against single calls",
        "images": len(pixels),
        "npz_s": round(together, 3),
        "single_call_s": round(statistics.median(single), 3),
        "single_calls_extrapolated_s": round(apart, 1),
        "times_faster": round(apart / together, 1),
        "target": "20 times as fast",
        "note": f"single calls are extrapolated from {rounds} of them",
    }


def within_one_process(model: str, folder: Path, images: int, rounds: int) -> dict[str, Any]:
    """The same without the processes' start: the npz file against PNG files one by one, in one interpreter."""
    from stages.predict.classifier import open_classifier
    from stages.predict.image_files import read_images
    from stages.predict.model_files import find_model

    classifier = open_classifier(find_model(model))
    pictures = sorted(folder.glob("*.png"))

    def ask(name: Path) -> int:
        return sum(len(results) for results in classifier.predict(read_images(str(name)), raw=False))

    together, apart = alternate(
        rounds, lambda: ask(folder / "all.npz"), lambda: sum(ask(picture) for picture in pictures)
    )
    apart = apart / len(pictures) * images
    return {
        "benchmark": "the same in one process: an npz against single pictures",
        "target": "",
        "images": images,
        "npz_s": round(together, 3),
        "single_pictures_extrapolated_s": round(apart, 2),
        "times_faster": round(apart / together, 1),
        "note": f"single pictures are extrapolated from {len(pictures)} of them",
    }


def throughput(model: str, pixels: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """Images a second from an array in memory or in a file: ours from raw pixels, Keras from prepared ones."""
    from stages.predict.classifier import open_classifier
    from stages.predict.image_files import read_images
    from stages.predict.model_files import find_model
    from stages.train.device import load_keras

    load_keras()
    import keras

    network = keras.saving.load_model(find_model(model, "model.keras"), compile=False)
    prepared = (pixels.astype(np.float32) / 255).reshape(-1, *network.input_shape[1:])
    classifier = open_classifier(find_model(model))

    def ours() -> int:
        return sum(len(results) for results in classifier.predict(read_images(str(folder / "all.npz")), raw=False))

    def keras_in(batch: int) -> Callable[[], Any]:
        return lambda: network.predict(prepared, batch_size=batch, verbose=0)

    batches = (32, 256, 1024)  # 32 is Keras's default
    ours_s, *theirs = alternate(rounds, ours, *map(keras_in, batches))
    return {
        "benchmark": "images a second of `inkflow predict` against `keras.Model.predict`",
        "images": len(pixels),
        "inkflow_images_per_s": round(len(pixels) / ours_s),
        **{
            f"keras_predict_batch_{batch}_images_per_s": round(len(pixels) / seconds)
            for batch, seconds in zip(batches, theirs, strict=True)
        },
        "ratio_to_keras_at_its_best": round(min(theirs) / ours_s, 2),
        "target": "at least as fast",
        "note": "ours reads the file and names each answer too; Keras has prepared float32 in memory",
    }


def alternate(rounds: int, *works: Callable[[], Any]) -> list[float]:
    """Median seconds of each of `works`, run in turn, each once before for warming up."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def test_images(count: int) -> Any:
    """Raw pixels uint8 (count, 28, 28): MNIST's test images where the download stage left them, else noise."""
    path = Path("data/raw/dataset.npz")
    if path.exists():
        with np.load(path) as arrays:
            images = arrays["x_test"]
        if images.shape[1:] == SIZE:
            return np.resize(images, (count, *SIZE))
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE), np.uint8)


def main() -> None:
    """Run all benchmarks on one model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="cnn", help="name or folder of a model (default: cnn)")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pixels = test_images(given.images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = folder / "scan.png"
        Image.fromarray(255 - pixels[0]).resize((280, 280)).save(picture)
        print(json.dumps(one_picture(given.model, picture, given.rounds)), flush=True)
        picture.unlink()
        print(json.dumps(batch_against_singles(given.model, pixels, folder, given.rounds)), flush=True)
        print(json.dumps(within_one_process(given.model, folder, given.images, given.rounds)), flush=True)
        print(json.dumps(throughput(given.model, pixels, folder, given.rounds)), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
