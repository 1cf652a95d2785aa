"""Stage `prepare`: validates, crops, splits, normalises and reshapes the training part of a data set."""

import argparse
import functools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.config import load_section
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import replacing_folder, require_replaceable, write_json
from stages.base.sample_kinds import KINDS, Kind
from stages.data.config import Prepare
from stages.data.data_warnings import ImageScan, label_warnings
from stages.data.datasets import (
    ARRAYS_FILE,
    DESCRIPTION_FILE,
    Description,
    check_labels,
    open_part,
    read_description,
)
from stages.data.groups import GROUPS_FILE, read_groups
from stages.data.npz import Entry
from stages.data.sample_checks import check_samples
from stages.data.sample_weights import WEIGHTS, check_weights, read_weights
from stages.prepare.held_out_groups import count_groups, held_out_groups
from stages.prepare.normalisation import normalisation
from stages.prepare.picture_scan import PictureScan
from stages.samples.pixels import Crop, Pixels
from stages.samples.prepared import Constant, normalise
from stages.samples.sampling import held_out_mask

OUTPUTS = (
    "x_train.npy", "x_validation.npy", "y_train.npy", "y_validation.npy", f"{WEIGHTS}.npy", "prepared.json",
)  # fmt: skip
CHUNK_PIXELS = 1 << 20  # pixels in memory at once, for a data set of any size


@dataclass(frozen=True)
class Plan:
    """Selection, split and crop of the training samples.

    `validation`, bool (n,), marks the held-out samples among the n samples from `start` on. `raw_shape` is (h, w) or
    (h, w, c) before the crop, `shape` is (h, w, c) after the crop, and `pixels` is the range of the raw pixels. Other
    samples than images keep their shape, without a crop.
    """

    start: int
    validation: NDArray[np.bool_]
    crop: Crop
    raw_shape: tuple[int, ...]
    shape: tuple[int, ...]
    pixels: Pixels
    kind: Kind = "image"
    vocabulary: int | None = None

    @property
    def stop(self) -> int:
        """Index after the last selected sample."""
        return self.start + len(self.validation)

    @property
    def facts_of_kind(self) -> dict[str, Any]:
        """The kind of samples that are no images and, of tokens, the vocabulary."""
        return {"kind": self.kind, **({"vocabulary": self.vocabulary} if self.vocabulary else {})}

    @property
    def samples(self) -> dict[str, int]:
        """Number of samples in each part."""
        validation = int(self.validation.sum())
        return {"train": len(self.validation) - validation, "validation": validation}


def prepare(raw: Path, out: Path, params: Prepare) -> dict[str, Any]:
    """Writes the folder `out` from the data set in the folder `raw`, and returns the content of prepared.json.

    What is likely a mistake in the data, but can be meant, becomes a warning on standard error.

    x_train.npy and x_validation.npy: float32 (n, h, w, c), or (n, ...) for other samples; y_train.npy and
    y_validation.npy: int64 (n,); w_train.npy: float32 (n,), if any; prepared.json: shapes, crop, normalisation, and the
    form of grey images that do not have that of MNIST.

    Raises:
        DataError: the data set is missing or invalid.
        InvalidInput: `params` are not compatible with the data set, or `out` has other files, which would be deleted.
        OutputError: `out` cannot be written.
    """
    require_replaceable(out, OUTPUTS)
    description = read_description(raw / DESCRIPTION_FILE)
    kind = description.kind
    with open_part(raw / ARRAYS_FILE, "train", kind) as (images, labels):
        check_labels("y_train", labels, description.classes)
        groups = read_groups(raw / GROUPS_FILE, len(labels)) if params.held_out == "groups" else None
        plan = make_plan(images.shape, labels, params, description.pixels, groups and groups.train, kind)
        plan = replace(plan, vocabulary=description.vocabulary)
        learnt_samples = functools.partial(_training_chunks, images, plan)
        offset, scale = normalisation(learnt_samples, params.normalise, kind, plan.pixels)
        info = _facts(description, plan, params, offset, scale)
        if groups:
            info["groups"] = count_groups(groups, plan.validation, plan.start)
        with replacing_folder(out) as folder:
            scan, pictures = _write_images(folder, images, plan, offset, scale)
            _write_labels(folder, labels, plan)
            _write_weights(folder, raw / ARRAYS_FILE, plan, len(labels))
            if form := pictures.form():
                info["picture_form"] = form.model_dump()
            write_json(folder / "prepared.json", info)
        learnt = labels[plan.start : plan.stop][~plan.validation]
    names, noun = description.class_names, description.noun
    for warning in (*label_warnings(learnt, names, noun), *scan.warnings("training", plan.pixels)):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    return info


def _facts(description: Description, plan: Plan, params: Prepare, offset: Constant, scale: Constant) -> dict[str, Any]:
    """Returns the content of prepared.json, without what the groups and the pixels show."""
    is_image = plan.kind == "image"
    return {
        "dataset": description.name,
        "classes": description.classes,
        "class_names": description.class_names,
        **({"pixels": description.pixels.model_dump()} if is_image else plan.facts_of_kind),
        **({"stand_in_for": description.stand_in_for} if description.stand_in_for else {}),
        "raw_shape": plan.raw_shape,
        "shape": plan.shape,
        **({"crop": plan.crop.model_dump()} if is_image else {}),
        "normalise": "none" if plan.kind == "tokens" else params.normalise,
        "offset": offset,
        "scale": scale,
        "samples": plan.samples,
        "validation_seed": None if params.held_out == "last" else params.seed,
    }


def make_plan(
    shape: Sequence[int],
    labels: NDArray[Any],
    params: Prepare,
    pixels: Pixels,
    groups: NDArray[np.int32] | None = None,
    kind: Kind = "image",
) -> Plan:
    """Plans the preparation of images of `shape`, (n, h, w) or (n, h, w, c), with `labels` (n,) and range `pixels`.

    Samples of another `kind` have another shape, and no range. `groups` (n,) is needed where `params.held_out` is
    `groups`.

    Raises:
        InvalidInput: the crop leaves no pixel, or the split leaves no sample in a part.
    """
    count, crop = shape[0], params.crop or Crop()
    start, stop = params.samples or (0, count)
    if stop > count:
        raise InvalidInput(
            f"prepare.samples is [{start}, {stop}], but the training part has {count:,} samples; "
            f"choose a stop of at most {count}"
        )
    validation = round((stop - start) * params.validation)
    if params.validation and not 0 < validation < stop - start:
        raise InvalidInput(
            f"prepare.validation {params.validation} of {stop - start:,} samples leaves "
            f"{stop - start - validation:,} for training and {validation:,} for validation; "
            "choose a share or a range of samples that leaves at least 1 for both, or 0 to train on all"
        )
    cropped = _cropped_shape(shape[1:], crop, kind)
    if not params.validation:
        mask = np.zeros(stop - start, np.bool_)
    elif groups is not None:
        mask = held_out_groups(labels[start:stop], groups[start:stop], params.validation, params.seed)
        _check_learnable(labels[start:stop], mask, "choose another seed, a smaller share, or random")
    else:
        mask = _held_out_mask(labels[start:stop], validation, params)
    return Plan(start, mask, crop, tuple(shape[1:]), cropped, pixels, kind)


def _cropped_shape(shape: Sequence[int], crop: Crop, kind: Kind) -> tuple[int, ...]:
    """Returns the shape of a network input from that of a sample.

    Raises:
        InvalidInput: the crop leaves no pixel, or the sample is no image.
    """
    if kind != "image":
        if crop != Crop():
            raise InvalidInput(f"prepare.crop is for images, but the data set has {KINDS[kind].noun}s; remove it")
        return tuple(shape)
    height, width, *channels = shape
    if messages := crop.size_errors(height, width):
        raise InvalidInput(f"prepare.crop {messages[0]}")
    return (*crop.cropped_size(height, width), *(channels or [1]))


def _held_out_mask(labels: NDArray[Any], count: int, params: Prepare) -> NDArray[np.bool_]:
    """Returns a mask, bool (n,), of the held-out samples among the samples with `labels` (n,)."""
    if params.held_out == "random":
        mask = held_out_mask(labels, count, params.seed)
        _check_learnable(labels, mask, "choose another share, or remove the class")
        return mask
    mask = np.arange(len(labels)) >= len(labels) - count
    _check_learnable(labels, mask, "choose random for data in the order of their labels")
    return mask


def _check_learnable(labels: NDArray[Any], mask: NDArray[np.bool_], remedy: str) -> None:
    """Checks that each label has a sample that is not held out."""
    if missing := np.setdiff1d(labels[mask], labels[~mask]).tolist():
        raise InvalidInput(
            f"the {int(mask.sum()):,} samples of prepare.held_out hold all samples of label {missing[0]}, so it cannot "
            f"be learnt; {remedy}"
        )


def _chunks(images: Entry, plan: Plan) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yields chunks of the selected samples (n, *raw_shape), and the mask of the held-out ones (n,)."""
    rows = max(1, CHUNK_PIXELS // math.prod(plan.raw_shape))
    for number, chunk in enumerate(images.chunks(rows)):
        first = number * rows
        if first >= plan.stop:
            return
        selected = chunk[max(plan.start - first, 0) : plan.stop - first]
        if len(selected):
            check_samples(images.name, selected, plan.kind, plan.pixels, plan.vocabulary)
            offset = max(first - plan.start, 0)
            yield selected, plan.validation[offset : offset + len(selected)]


def _training_chunks(images: Entry, plan: Plan) -> Iterator[NDArray[Any]]:
    """Yields the samples of `_chunks` that are not held out, cropped, without empty chunks."""
    return (_cropped(samples[~held_out], plan) for samples, held_out in _chunks(images, plan) if not held_out.all())


def _cropped(images: NDArray[Any], plan: Plan) -> NDArray[Any]:
    if plan.kind != "image":
        return images
    height, width, _ = plan.shape
    top, left = plan.crop.top, plan.crop.left
    return images[:, top : top + height, left : left + width].reshape(-1, *plan.shape)


def _write_images(
    folder: Path, images: Entry, plan: Plan, offset: Constant, scale: Constant
) -> tuple[ImageScan, PictureScan]:
    scan, pictures = ImageScan(), PictureScan(len(plan.validation), plan.pixels)
    with (folder / "x_train.npy").open("wb") as train, (folder / "x_validation.npy").open("wb") as validation:
        for file, count in zip((train, validation), plan.samples.values(), strict=True):
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, *plan.shape)}
            np.lib.format.write_array_header_1_0(file, header)
        for samples, held_out in _chunks(images, plan):
            pixels = _cropped(samples, plan)
            scaled = normalise(pixels, offset, scale).astype("<f4", copy=False)
            train.write(scaled[~held_out].tobytes())
            validation.write(scaled[held_out].tobytes())
            if plan.kind == "image":
                scan.add(pixels)
                pictures.add(samples)
    return scan, pictures


def _write_labels(folder: Path, labels: NDArray[Any], plan: Plan) -> None:
    selected = labels[plan.start : plan.stop].astype("<i8")
    np.save(folder / "y_train.npy", selected[~plan.validation])
    np.save(folder / "y_validation.npy", selected[plan.validation])


def _write_weights(folder: Path, arrays: Path, plan: Plan, samples: int) -> None:
    weights = read_weights(arrays, samples)
    if weights is not None:
        selected = weights[plan.start : plan.stop]
        np.save(folder / f"{WEIGHTS}.npy", check_weights(WEIGHTS, selected[~plan.validation]))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the stage and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.prepare", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    arguments = parser.parse_args(argv)
    info = prepare(arguments.raw, arguments.out, load_section(arguments.params, ["prepare"], Prepare))
    shape = "x".join(map(str, info["shape"]))
    for part, count in info["samples"].items():
        print(f"{part}: {count:,} samples of {shape}", flush=True)
    if groups := info.get("groups"):
        print(f"groups: {groups['train']:,} for training, {groups['validation']:,} for validation, no group in both")
    if isinstance(info["offset"], float) and "kind" not in info:
        print(f"pixels: (pixel - {info['offset']:g}) / {info['scale']:g}", flush=True)
    return EXIT_DONE
