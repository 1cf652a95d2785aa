"""Parquet files with pictures, as data sets of Hugging Face have them: a column {bytes, path} and a label."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import DataError, raise_fault
from stages.own_data.options import Options
from stages.own_data.pictures import MAX_PICTURES, Stack
from stages.own_data.pieces import IMAGE_WORDS, LABEL_WORDS, Piece, words
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import read_images

BATCH = 32  # rows
MAX_METADATA = 10_000_000  # bytes
# Of values that Python cannot hold: texts that are no UTF-8, dates out of its range.
VALUE_ERRORS = (pa.ArrowException, ValueError, TypeError, LookupError, OverflowError)
REMEDY = "expected a column of pictures {bytes, path} and one of labels; name them by --image and --label"


def read_parquet(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the piece of a Parquet file with a picture and a label a row.

    Raises:
        DataError: the file is damaged, too large, or has no pictures or labels; the message does not name it.
    """
    try:
        file = pq.ParquetFile(path, thrift_string_size_limit=MAX_METADATA, thrift_container_size_limit=MAX_METADATA)
        image, label = _columns(file.schema_arrow, options)
        _check_size(file.metadata, options.max_bytes)
        stack, labels = Stack(options), list[Any]()
        for number, (picture, value) in enumerate(_rows(file, image, label)):
            stack.add(f"row {number}", _decoded(picture, number))
            if value is None:
                raise DataError(f"row {number} has no label; add it or remove the row")
            labels.append(value)
    except (*VALUE_ERRORS, OSError) as error:
        raise_fault(error)  # also too little memory, which is one of PyArrow's errors
        what, reason = "cut short" if isinstance(error, OSError) else "no Parquet file", " ".join(str(error).split())
        raise DataError(f"is damaged or {what} ({reason[:100]}); download it again") from error
    if not labels:
        raise DataError(f"has no rows; {REMEDY}")
    try:
        values = np.array(labels)
    except ValueError as error:
        raise DataError(
            f"the column {label} holds lists of different lengths, expected a label a row, or one-hot lists of one "
            "length; name the column of the labels by --label"
        ) from error
    return [Piece(name, part, stack.images(), values, class_names(file.schema_arrow, label))]


def _columns(schema: pa.Schema, options: Options) -> tuple[str, str]:
    pictures = [field.name for field in schema if _holds_bytes(field.type)]
    found = f"has the columns {', '.join(f'{field.name} ({field.type})' for field in schema)[:200]}"
    for option, column in (("image", options.image), ("label", options.label)):
        if column is not None and column not in schema.names:
            raise DataError(f"{found}, but no {column} (--{option})")
    image = options.image or _only([n for n in pictures if set(words(n)) & IMAGE_WORDS] or pictures)
    if image is None or image not in pictures:
        raise DataError(f"{found}, and no single one of pictures with their bytes; {REMEDY}")
    others = [field.name for field in schema if field.name != image and not pa.types.is_nested(field.type)]
    label = options.label or _only([n for n in others if set(words(n)) & LABEL_WORDS] or others)
    if label is None:
        raise DataError(f"{found}, and no single one of labels; {REMEDY}")
    return image, label


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _is_binary(kind.field(i).type) for i in range(kind.num_fields))
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_size(metadata: pq.FileMetaData, max_bytes: int) -> None:
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if size > max_bytes or metadata.num_rows > MAX_PICTURES:
        raise DataError(
            f"unpacks to {size:,} bytes and {metadata.num_rows:,} rows, expected at most {max_bytes:,} and "
            f"{MAX_PICTURES:,}; raise --max-bytes, or name fewer of its files"
        )


def _rows(file: pq.ParquetFile, image: str, label: str) -> Iterator[tuple[bytes | None, Any]]:
    for batch in file.iter_batches(BATCH, columns=[image, label], use_threads=False):
        columns = batch.to_pydict()
        for picture, value in zip(columns[image], columns[label], strict=True):
            yield (picture.get("bytes") if isinstance(picture, dict) else picture), value


def _decoded(picture: bytes | None, number: int) -> Any:
    if not picture:
        raise DataError(f"row {number} has no bytes of a picture, but its path at most; embed the pictures in the file")
    with tempfile.NamedTemporaryFile() as file:
        file.write(picture)
        file.flush()
        for found in read_images(file.name, deep=True):
            if isinstance(found, RejectedInput):
                raise DataError(f"the picture of row {number} {found.reason}; remove it or replace it")
            if not found.from_array:
                return found.pixels[0]
    raise DataError(f"row {number} holds arrays, expected a picture")


def class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Returns the names of the classes in the metadata that Hugging Face's `datasets` writes, or None."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        names = content["info"]["features"][label]["names"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    is_list = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else None
