"""Measure the latency and throughput of exported models on this machine.

models/NAME/model.onnx + data/raw (test part) -> .inkflow/timings/latency@NAME.json, .inkflow/timings/machine.json
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.base.digests import TIMINGS, write_sealed
from stages.base.errors import EXIT_DONE, exit_with
from stages.base.machine import available_cores, processor_name
from stages.base.timings import record
from stages.data.datasets import ARRAYS_FILE, DESCRIPTION_FILE, open_part, read_description
from stages.inference.onnx_session import open_model, predict

MACHINE = "machine.json"  # processor and cores of the machine
BATCH = 1000  # images
SINGLE_RUNS, BATCH_RUNS = 200, 5  # the result is their median


def measure(model: Path, raw: Path) -> dict[str, float]:
    """Returns the median milliseconds for one image, and the median images per second in batches.

    Raises:
        ModelError: the model cannot be read, or expects other images.
        DataError: the data set is missing or invalid.
    """
    description = read_description(raw / DESCRIPTION_FILE)
    with open_part(raw / ARRAYS_FILE, "test", description.kind) as (images, _):
        pixels = next(iter(images.chunks(BATCH)))
        session = open_model(model, images.shape[1:], description.classes)
    one = _median_s(lambda: predict(session, model, pixels[:1]), SINGLE_RUNS)
    many = _median_s(lambda: predict(session, model, pixels), BATCH_RUNS)
    return {"one_ms": 1000 * one, "images_per_s": len(pixels) / many, "batch": len(pixels)}


def _median_s(work: Callable[[], object], runs: int) -> float:
    work()  # warm-up
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the latency and throughput of exported models on this machine."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.latency", description=main.__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="folders with a model.onnx")
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="folder of the stage download")
    parser.add_argument("--out", type=Path, default=TIMINGS, help="output folder")
    arguments = parser.parse_args(argv)
    write_sealed(arguments.out / MACHINE, {"processor": processor_name(), "cores": available_cores()})
    noun = read_description(arguments.raw / DESCRIPTION_FILE).noun
    for folder in arguments.models:
        figures = measure(folder / "model.onnx", arguments.raw)
        record("latency", folder.name, folder / "model.onnx", figures, arguments.out)
        print(f"{folder.name}: {figures['one_ms']:.2f} ms, {figures['images_per_s']:.0f} {noun}s/s", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
