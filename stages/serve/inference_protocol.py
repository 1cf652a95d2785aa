"""The Open Inference Protocol, version 2: tensors in JSON, or behind it as bytes (the binary extension).

https://github.com/kserve/open-inference-protocol, and Triton's extension for binary tensor data.
"""

import json
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, InvalidInput
from stages.predict.classifier import BLANK, Classifier
from stages.predict.results import Prediction, Result, Value
from stages.serve.served_model import ServedModel

HEADER_LENGTH = "inference-header-content-length"
INPUT = "image"
MAX_JSON = 4_000_000  # bytes: parsing them takes a tenth of a second, in which no other request is answered
MAX_VALUE = 1e9  # of a pixel: larger ones overflow in the first layer
TYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"), "FP16": np.dtype("<f2"), "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"), "INT8": np.dtype("i1"), "UINT16": np.dtype("<u2"),
    "INT16": np.dtype("<i2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
}  # fmt: skip


class InferRequest(NamedTuple):
    """A request for an inference.

    Attributes:
        id: what the client called it; empty without a name.
        pixels: float32 (n, *shape).
        outputs: names of the outputs, and whether each is sent as bytes.
    """

    id: str
    pixels: NDArray[np.float32]
    outputs: dict[str, bool]


def model_metadata(name: str, model: ServedModel) -> dict[str, Any]:
    """Returns the metadata of the model: name, versions, inputs and outputs."""
    shape = model.classifier.shape
    return {
        "name": name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *shape]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, *shape[1:]]}
            for output, (datatype, shape, _) in _columns([], model).items()
        ],
    }


def read_request(body: bytes, header_length: str | None, model: ServedModel, max_samples: int) -> InferRequest:
    """Returns the request in `body`, whose JSON has `header_length` bytes if tensors follow it.

    Raises:
        InvalidInput: it does not follow the protocol, or does not fit the model; the message says how.
    """
    known = _columns([], model).keys()
    length = len(body) if header_length is None else _length(header_length, len(body))
    if length > MAX_JSON:
        raise InvalidInput(f"the JSON part has {length:,} bytes, expected at most {MAX_JSON:,}; send tensors as bytes")
    try:
        request = json.loads(body[:length])
        [tensor] = request["inputs"]
        shape = [operator.index(number) for number in tensor["shape"]]
        datatype, parameters = str(tensor["datatype"]), tensor.get("parameters") or {}
        size = parameters.get("binary_data_size")
        default = bool((request.get("parameters") or {}).get("binary_data_output", False))
        wanted = request.get("outputs") or [{"name": name} for name in known]
        outputs = {
            str(item["name"]): bool((item.get("parameters") or {}).get("binary_data", default)) for item in wanted
        }
        name = str(request.get("id") or "")
        if any("classification" in (item.get("parameters") or {}) for item in wanted):
            raise ValueError("classification of outputs is not supported")
        if tensor["name"] != INPUT:
            raise ValueError(f"got the input {tensor['name']!r}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InvalidInput(
            f"the body is no inference request with one input ({error}): expected "
            '{"inputs": [{"name": "image", "shape": [...], "datatype": "FP32", "data": [...]}]}'
        ) from error
    if unknown := outputs.keys() - known:
        raise InvalidInput(f"unknown output {min(unknown)!r}; known: {', '.join(known)}")
    expected = model.classifier.shape
    if datatype not in TYPES:
        raise InvalidInput(f"datatype {datatype!r}: expected one of {', '.join(TYPES)}")
    if tuple(shape[1:]) != expected or not 0 < shape[0] <= max_samples:
        raise InvalidInput(
            f"shape {shape}: expected [n, {', '.join(map(str, expected))}] with n from 1 to {max_samples}"
        )
    values = _values(tensor, body[length:], size, TYPES[datatype], int(np.prod(shape)))
    return InferRequest(name, _checked(values.reshape(shape), model.classifier), outputs)


def _checked(values: NDArray[Any], classifier: Classifier) -> NDArray[np.float32]:
    """Returns `values` (n, *shape) as float32, if the model takes all of them, as `inkflow predict` has it."""
    form = classifier.form
    if form is not None and not form.takes(values).all():
        raise DataError(f"the input has values from {values.min():g} to {values.max():g}, but the model takes {form}")
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if form is None and not (np.abs(found) <= MAX_VALUE).all():  # False for NaN
        raise DataError(f"the input has values beyond {MAX_VALUE:g}, or that are no numbers")
    if form is None and (blank := classifier.are_blank(found)).any():
        raise DataError(f"image {int(blank.argmax())} of the input {BLANK}")
    return found


def _length(text: str, total: int) -> int:
    if not text.isdecimal() or len(text) > 12 or int(text) > total:
        raise InvalidInput(
            f"{HEADER_LENGTH}: got {text[:20]!r}, expected a number of at most {total}, the bytes of the body"
        )
    return int(text)


def _values(tensor: dict[str, Any], binary: bytes, size: object, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Returns `count` values of a tensor."""
    if size is not None:
        if size != len(binary) or len(binary) != count * dtype.itemsize:
            raise InvalidInput(
                f"the tensor has {len(binary)} bytes and binary_data_size {size!r}, expected {count * dtype.itemsize}"
            )
        values = np.frombuffer(binary, dtype)
    else:
        values = _listed_values(tensor.get("data"), dtype)
        if len(values) != count:
            raise InvalidInput(f"`data` has {len(values)} values, expected {count} for this shape")
    return values


def _listed_values(data: object, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns the numbers of a JSON list, which may be nested, in a row: those that `dtype` has, as in binary form."""
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("`data` of the input is no list of numbers, or its rows differ in length") from error
    if values.dtype.kind not in "iuf" and values.size:
        raise InvalidInput("`data` of the input is missing or no list of numbers")
    if dtype.kind == "f":
        return values.astype(np.float64).reshape(-1)
    limits = np.iinfo(dtype)
    if not ((values >= limits.min) & (values <= limits.max) & (values == np.floor(values))).all():
        raise InvalidInput(f"`data` of the input has numbers that {dtype} does not have; expected whole ones from "
                           f"{limits.min} to {limits.max}")  # fmt: skip
    return values.astype(dtype).reshape(-1)


def write_response(
    name: str, request: InferRequest, predictions: list[Result], model: ServedModel
) -> tuple[bytes, dict[str, str]]:
    """Returns the body and the headers of the answer."""
    columns = _columns(predictions, model)
    outputs, tensors = [], []
    for output, as_bytes in request.outputs.items():
        datatype, shape, values = columns[output]
        entry: dict[str, Any] = {"name": output, "datatype": datatype, "shape": shape}
        if as_bytes:
            content = _bytes_tensor(values) if datatype == "BYTES" else values.tobytes()
            entry["parameters"] = {"binary_data_size": len(content)}
            tensors.append(content)
        else:
            entry["data"] = values if datatype == "BYTES" else values.reshape(-1).tolist()
        outputs.append(entry)
    answer: dict[str, Any] = {"model_name": name, "model_version": model.version, "outputs": outputs}
    answer["parameters"] = model.identity
    if request.id:
        answer["id"] = request.id
    header = json.dumps(answer).encode()
    if not tensors:
        return header, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return header + b"".join(tensors), headers


def _columns(predictions: Sequence[Result], model: ServedModel) -> dict[str, tuple[str, list[int], Any]]:
    """Returns type, shape and values of each output: probabilities and label, or the value of a regression."""
    count, classes = len(predictions), len(model.classifier.class_names)
    classified = [item for item in predictions if isinstance(item, Prediction)]
    values = [item.value for item in predictions if isinstance(item, Value)]
    unsure = ("BOOL", [count], np.array([bool(item.unsure) for item in predictions]))
    if model.classifier.predicts_values:
        return {"values": ("FP32", [count, 1], np.array(values, "<f4")), "unsure": unsure}
    return {
        "probabilities": ("FP32", [count, classes], np.array([item.probabilities for item in classified], "<f4")),
        "label": ("BYTES", [count], [item.label for item in classified]),
        "unsure": unsure,
    }


def _bytes_tensor(texts: list[str]) -> bytes:
    """Returns texts as the protocol packs them: the length of each in 4 bytes, little-endian, then its bytes."""
    parts = [text.encode() for text in texts]
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)
