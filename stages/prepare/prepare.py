"""Stage `prepare`: validate, crop, split, normalise and reshape the training part of a data set."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.config import load_section
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import replacing_folder, write_json
from stages.data.config import Prepare
from stages.data.datasets import (
    ARRAYS_FILE,
    DESCRIPTION_FILE,
    check_labels,
    check_range,
    open_part,
    read_description,
)
from stages.data.npz import Entry
from stages.data.sample_weights import WEIGHTS, checked, read_weights
from stages.samples.pixels import Crop, Pixels
from stages.samples.sampling import held_out

CHUNK_PIXELS = 1 << 20  # in memory at once, however large the data set is


@dataclass(frozen=True)
class Plan:
    """Which of the training samples become what.

    `validation`, bool (n,), says of each of the n samples from `start` on whether it is held out.
    `raw_shape` is (h, w) or (h, w, c) before the crop, `shape` is (h, w, c) after it; `pixels` is their range.
    """

    start: int
    validation: NDArray[np.bool_]
    crop: Crop
    raw_shape: tuple[int, ...]
    shape: tuple[int, int, int]
    pixels: Pixels

    @property
    def samples(self) -> dict[str, int]:
        """Number of samples in each part."""
        held = int(self.validation.sum())
        return {"train": len(self.validation) - held, "validation": held}


def prepare(raw: Path, out: Path, params: Prepare) -> dict[str, Any]:
    """Write the folder `out` from the data set in the folder `raw`; says what was done.

    x_train.npy and x_validation.npy: float32 (n, h, w, c); y_train.npy and y_validation.npy:
    int64 (n,); w_train.npy: float32 (n,), where the data set has weights; prepared.json: what is returned.

    Raises:
        DataError: the data set is missing or not what it should be.
        InvalidInput: `params` do not fit the data set.
        OutputError: `out` cannot be written.
    """
    description = read_description(raw / DESCRIPTION_FILE)
    with open_part(raw / ARRAYS_FILE, "train") as (images, labels):
        check_labels("y_train", labels, description.classes)
        plan = make_plan(images.shape, labels, params, description.pixels)
        offset, scale = _constants(images, plan, params.normalise)
        done = {
            "dataset": description.name,
            "classes": description.classes,
            "class_names": description.class_names,
            "pixels": description.pixels.model_dump(),
            "raw_shape": plan.raw_shape,
            "shape": plan.shape,
            "crop": plan.crop.model_dump(),
            "normalise": params.normalise,
            "offset": offset,
            "scale": scale,
            "samples": plan.samples,
            "validation_seed": params.seed if params.held_out == "random" else None,
        }
        with replacing_folder(out) as folder:
            _write_images(folder, images, plan, offset, scale)
            _write_labels(folder, labels, plan)
            _write_weights(folder, raw / ARRAYS_FILE, plan, len(labels))
            write_json(folder / "prepared.json", done)
    return done


def make_plan(shape: Sequence[int], labels: NDArray[Any], params: Prepare, pixels: Pixels) -> Plan:
    """What `params` mean for images of `shape`, (n, h, w) or (n, h, w, c), with these labels and this range.

    Raises:
        InvalidInput: the crop, the range of samples or the held-out samples leave nothing to learn from.
    """
    count, height, width = shape[:3]
    crop = params.crop or Crop(top=0, bottom=0, left=0, right=0)
    start, stop = params.samples or (0, count)
    if stop > count:
        raise InvalidInput(
            f"prepare.samples is [{start}, {stop}], but the training part has {count:,} samples; "
            f"choose a stop of at most {count}"
        )
    held = round((stop - start) * params.validation)
    if not 0 < held < stop - start:
        raise InvalidInput(
            f"prepare.validation {params.validation} of {stop - start:,} samples leaves "
            f"{stop - start - held:,} to train on and {held:,} to validate with; "
            "choose a share or a range of samples that leaves at least 1 of both"
        )
    if wrong := crop.misfits(height, width):
        raise InvalidInput(f"prepare.crop {wrong[0]}")
    left = (
        height - crop.top - crop.bottom,
        width - crop.left - crop.right,
        shape[3] if len(shape) == 4 else 1,
    )
    validation = _held_out(labels[start:stop], held, params)
    return Plan(start, validation, crop, tuple(shape[1:]), left, pixels)


def _held_out(labels: NDArray[Any], count: int, params: Prepare) -> NDArray[np.bool_]:
    """Which of the samples with these labels (n,) are held out, bool (n,)."""
    if params.held_out == "random":
        return held_out(labels, count, params.seed)
    start = len(labels) - count
    if missing := sorted(set(labels[start:].tolist()) - set(labels[:start].tolist())):
        raise InvalidInput(
            f"prepare.held_out last takes the last {count:,} samples, and with them all of label {missing[0]}, which "
            "could not be learnt: the data seem to lie in the order of their labels; choose random"
        )
    return np.arange(len(labels)) >= start


def normalise(pixels: NDArray[Any], offset: float, scale: float) -> NDArray[np.float32]:
    """(pixels - offset) / scale, computed in float32 as the exported models do."""
    return (pixels.astype(np.float32) - np.float32(offset)) / np.float32(scale)


def _selected(images: Entry, plan: Plan) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Cropped pixels (n, h, w, c), and which of them are held out, a bounded piece at a time."""
    rows = max(1, CHUNK_PIXELS // math.prod(plan.raw_shape))
    stop = plan.start + len(plan.validation)
    for number, chunk in enumerate(images.chunks(rows)):
        first = number * rows
        if first >= stop:
            return
        chosen = chunk[max(plan.start - first, 0) : stop - first]
        if len(chosen):
            check_range(images.name, chosen, plan.pixels)
            place = max(first - plan.start, 0)
            yield _cropped(chosen, plan), plan.validation[place : place + len(chosen)]


def _cropped(images: NDArray[Any], plan: Plan) -> NDArray[Any]:
    height, width, _ = plan.shape
    top, left = plan.crop.top, plan.crop.left
    return images[:, top : top + height, left : left + width].reshape(-1, *plan.shape)


def _constants(images: Entry, plan: Plan, kind: str) -> tuple[float, float]:
    """Offset and scale of the normalisation, from the training part alone."""
    if kind == "unit":
        return plan.pixels.low, plan.pixels.span
    mean, deviation = _moments_of_bytes(images, plan) if images.dtype == np.uint8 else _moments_of_floats(images, plan)
    if not deviation:
        raise InvalidInput(
            f"prepare.normalise is standard, but every pixel is {mean:g}: there is no deviation to "
            "divide by; choose unit, or another crop"
        )
    return mean, deviation


def _moments_of_bytes(images: Entry, plan: Plan) -> tuple[float, float]:
    counts = np.zeros(256, np.int64)
    for pixels, held in _selected(images, plan):
        counts += np.bincount(pixels[~held].reshape(-1), minlength=256)
    return moments(counts)


def _moments_of_floats(images: Entry, plan: Plan) -> tuple[float, float]:
    """Mean and standard deviation; the sums of the images are added exactly, so pieces do not show."""
    number = plan.samples["train"] * math.prod(plan.shape)

    def total(about: float, power: int) -> float:
        return math.fsum(
            part
            for pixels, held in _selected(images, plan)
            for part in ((pixels[~held].astype(np.float64) - about) ** power).reshape((~held).sum(), -1).sum(axis=1)
        )

    mean = total(0.0, 1) / number
    return mean, math.sqrt(total(mean, 2) / number)


def moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of values from 0 on, of which there are `counts`.

    Sums are exact (Python's integers), so the result depends on no order of summation.
    """
    number, total, squares = (
        sum(int(count) * value**power for value, count in enumerate(counts)) for power in (0, 1, 2)
    )
    return total / number, math.sqrt((number * squares - total**2) / number**2)


def _write_images(folder: Path, images: Entry, plan: Plan, offset: float, scale: float) -> None:
    names = (folder / f"x_{part}.npy" for part in plan.samples)
    with next(names).open("wb") as train, next(names).open("wb") as validation:
        for file, count in zip((train, validation), plan.samples.values(), strict=True):
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, *plan.shape)}
            np.lib.format.write_array_header_1_0(file, header)
        for pixels, held in _selected(images, plan):
            scaled = normalise(pixels, offset, scale).astype("<f4", copy=False)
            train.write(scaled[~held].tobytes())
            validation.write(scaled[held].tobytes())


def _write_labels(folder: Path, labels: NDArray[Any], plan: Plan) -> None:
    used = labels[plan.start : plan.start + len(plan.validation)].astype("<i8")
    np.save(folder / "y_train.npy", used[~plan.validation])
    np.save(folder / "y_validation.npy", used[plan.validation])


def _write_weights(folder: Path, arrays: Path, plan: Plan, samples: int) -> None:
    weights = read_weights(arrays, samples)
    if weights is not None:
        used = weights[plan.start : plan.start + len(plan.validation)]
        np.save(folder / f"{WEIGHTS}.npy", checked(WEIGHTS, used[~plan.validation]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.prepare", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for what networks read")
    args = parser.parse_args(argv)
    done = prepare(args.raw, args.out, load_section(args.params, ["prepare"], Prepare))
    size = "x".join(map(str, done["shape"]))
    for part, count in done["samples"].items():
        print(f"{part}: {count:,} samples of {size}", flush=True)
    print(f"pixels: (pixel - {done['offset']:g}) / {done['scale']:g}", flush=True)
    return EXIT_DONE
