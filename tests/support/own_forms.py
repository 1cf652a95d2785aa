"""Writes images and labels as the files of other programs: IDX, CSV, MATLAB, Parquet, folders of pictures."""

import gzip
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
SHAPE = (9, 12)  # of an image; not square, so that exchanged axes are noticed


def samples(count: int, seed: int = 0, classes: int = 3, shape: Sequence[int] = SHAPE) -> tuple[Bytes, Bytes]:
    """Returns `count` images of noise, which use all bytes, and labels 0, 1, ..., 0, 1, ..."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    return images, (np.arange(count) % classes).astype(np.uint8)


def idx_bytes(array: NDArray[Any], code: int = 0x08, kind: str = ">u1") -> bytes:
    """Returns `array` as the content of an IDX file."""
    sides = b"".join(struct.pack(">I", side) for side in array.shape)
    return struct.pack(">HBB", 0, code, array.ndim) + sides + array.astype(kind).tobytes()


def write_idx(path: Path, array: NDArray[Any]) -> Path:
    """Writes an IDX file, packed by gzip if its name ends with .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def write_csv(
    path: Path, images: Bytes, labels: Sequence[Any] | NDArray[Any], header: bool = True, separator: str = ","
) -> Path:
    """Writes a table with the label and the pixels of an image a line, as Kaggle gives it."""
    flat = images.reshape(len(images), -1)
    names = ["label", *(f"pixel{number}" for number in range(flat.shape[1]))]
    rows = [[str(label), *map(str, row)] for label, row in zip(labels, flat.tolist(), strict=True)]
    path.write_text("\n".join(separator.join(row) for row in ([names] if header else []) + rows) + "\n")
    return path


def write_pictures(folder: Path, images: NDArray[Any], labels: Bytes, names: Sequence[str], form: str = "png") -> Path:
    """Writes a folder of pictures for each class."""
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        target = folder / names[label]
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target / f"{number:04}.{form}")
    return folder


def write_parquet(path: Path, images: NDArray[Any], labels: Sequence[Any], names: Sequence[str] | None = None) -> Path:
    """Writes a Parquet file as Hugging Face's data sets are: pictures {bytes, path}, labels, names in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = pa.array([{"bytes": png(image), "path": None} for image in images], kind)
    table = pa.table({"image": pictures, "label": pa.array(labels)})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": [*names], "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def write_svhn(path: Path, images: Bytes, labels: Bytes) -> Path:
    """Writes a MATLAB file in the form of SVHN: X (32, 32, 3, n), y (n, 1), and the label 10 for 0."""
    y = np.where(labels == 0, 10, labels)[:, np.newaxis]
    scipy.io.savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": y}, do_compression=True)
    return path


def png(image: NDArray[Any]) -> bytes:
    """Returns `image` as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
