"""Readers of files that others made, each as a target of the fuzzers, with small valid files to begin with."""

import contextlib
import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from stages.data.datasets import read_arrays
from stages.data.npz import array_names, open_npy
from stages.own_data.program import main as add_data
from stages.predict.classifier import open_classifier
from stages.predict.image_files import read_images
from stages.predict.sample_files import read_samples
from stages.predict.sample_form import SampleForm
from stages.samples.npy_reader import NpyReader
from stages.serve.inference_protocol import HEADER_LENGTH, read_request, write_response
from stages.serve.pictures import read_picture
from stages.serve.served_model import ServedModel
from stages.train.checkpoints import Checkpoint, decode, encode
from stages.verify.compare_files import compare
from tests.support.own_forms import idx_bytes, write_csv, write_parquet, write_svhn
from tests.support.pictures import draw, encoded, npy, npz, write_reader

LIMIT = 2_000_000  # bytes that a file may unpack to
SHAPE = (9, 12)
Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Target:
    """A reader of untrusted input.

    Attributes:
        read: reads the input; may use the folder that it gets.
        seeds: valid inputs.
        errors: what it raises by its own contract, besides the errors of the project.
        words: parts of which texts are made; none for a reader of bytes.
    """

    read: Read
    seeds: Callable[[Path], Sequence[bytes]]
    errors: tuple[type[Exception], ...] = ()
    words: tuple[str, ...] = ()


def _write(content: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (12, *SHAPE), np.uint8), (np.arange(12) % 3).astype(np.uint8)


def _npz_seeds(_: Path) -> list[bytes]:
    x, y = _images()
    stored = io.BytesIO()
    np.savez(stored, allow_pickle=False, x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    return [stored.getvalue(), npz(x_train=x[:3], y_train=y[:3], x_test=x[:3] / 255, y_test=y[:3])]


def _read_npz(content: bytes, folder: Path) -> None:
    path = _write(content, folder, "a.npz")
    with contextlib.suppress(Exception):  # the next line meets the same file
        array_names(path)
    read_arrays(path, LIMIT, None, floats=True)


def _npy_seeds(_: Path) -> list[bytes]:
    x, y = _images()
    return [npy(x[:2]), npy(y.astype(">i8")), npy(np.asfortranarray(x[0] / 255))]


def _read_npy(content: bytes, folder: Path) -> None:
    open_npy(_write(content, folder, "a.npy"), "x", LIMIT).read()


def _read_rows(content: bytes, folder: Path) -> None:
    reader = NpyReader(_write(content, folder, "a.npy"))
    _ = reader[0 : min(4, len(reader))]


def _own(name: str, **options: Any) -> Read:
    """Returns a reader that adds a file of this name as `inkflow data add` does."""

    def read(content: bytes, folder: Path) -> None:
        path = _write(content, folder, name)
        settings = {"name": "own", "paths": [str(path)], "max_bytes": LIMIT, "colour": "never", **options}
        with contextlib.redirect_stdout(io.StringIO()):
            add_data([json.dumps(settings)])

    return read


def _made(make: Callable[[Path, Any, Any], Path], name: str) -> Callable[[Path], list[bytes]]:
    """Returns the seeds of a file that `make` writes; those of text-like forms also with other labels."""

    def seeds(folder: Path) -> list[bytes]:
        x, y = _images()
        found = [make(folder / name, x, y).read_bytes()]
        if name.endswith(".mat"):
            found[0] = found[0][:30].ljust(116) + found[0][116:]  # its first line has the time
        if name.endswith((".csv", ".parquet")):
            found.append(make(folder / name, x, np.array(["a", "b", "ü"])[y]).read_bytes())
        return found

    return seeds


def _svhn(path: Path, _: Any, labels: Any) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
    return write_svhn(path, images, np.arange(10, dtype=np.uint8))


def _picture_folder(content: bytes, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "p" / name).mkdir(parents=True, exist_ok=True)
        _write(encoded(draw(3, 20), "PNG"), folder / "p" / name, "0.png")
    _write(content, folder / "p" / "a", "1.png")
    with contextlib.redirect_stdout(io.StringIO()):
        add_data([json.dumps({"name": "own", "paths": [str(folder / "p")], "size": [9], "max_bytes": LIMIT})])


def _picture_seeds(_: Path) -> list[bytes]:
    page, deep = draw(3, 20), np.asarray(draw(3, 20)).astype(np.uint16) * 257
    pictures = [encoded(page, form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")]
    return [*pictures, encoded(page.convert("RGBA"), "PNG"), encoded(Image.fromarray(deep), "TIFF")]


def _read_pictures(content: bytes, folder: Path) -> None:
    for _ in read_images(str(_write(content, folder, "a"))):
        pass


def _read_samples(content: bytes, folder: Path) -> None:
    path = str(_write(content, folder, "a"))
    for form in (SampleForm("vector", (3,)), SampleForm("tokens", (3,), 50)):
        for _ in read_samples(path, form):
            pass


def _model(folder: Path) -> ServedModel:
    path = folder / "models" / "reader" / "model.onnx"
    if not path.exists():
        write_reader(path)
    return ServedModel(open_classifier(path), "workspace", "", "0" * 64, {})


_served: list[ServedModel] = []


def _serve(content: bytes, folder: Path) -> None:
    """Reads a body of the Open Inference Protocol; a first line of digits is the length of its JSON part."""
    if not _served:
        _served.append(_model(folder))
    first, line, rest = content.partition(b"\n")
    length, body = (first.decode("latin-1"), rest) if line and first.isdigit() else (None, content)
    request = read_request(body, length, _served[0], 64)
    body, headers = write_response("reader", request, _served[0].answers(request.pixels), _served[0])
    assert HEADER_LENGTH not in headers or int(headers[HEADER_LENGTH]) <= len(body)


def _serve_seeds(_: Path) -> list[bytes]:
    pixels = np.zeros((1, 28, 28), "u1")
    entry: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}
    plain = json.dumps({"id": "a", "inputs": [entry | {"data": pixels.tolist()}], "outputs": [{"name": "label"}]})
    packed = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": pixels.nbytes}}]})
    return [plain.encode(), str(len(packed)).encode() + b"\n" + packed.encode() + pixels.tobytes()]


def _serve_picture(content: bytes, folder: Path) -> None:
    if not _served:
        _served.append(_model(folder))
    read_picture(content, _served[0].classifier, 4_000_000)


def _open_model(content: bytes, folder: Path) -> None:
    place = folder / "models" / "m"  # where a model is in its project, which tells of the data
    place.mkdir(parents=True, exist_ok=True)
    open_classifier(_write(content, place, "model.onnx"))


def _onnx_seeds(folder: Path) -> list[bytes]:
    small = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("Softmax", ["f"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, ["b", 3, 3])],
            [onnx.helper.make_tensor_value_info("y", 1, ["b", 9])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 15)],
        ir_version=8,
    )
    onnx.helper.set_model_props(small, {"inkflow.task": '{"kind": "multiclass"}', "class_names": '["a"]'})
    return [small.SerializeToString()]


def _checkpoint_seeds(_: Path) -> list[bytes]:
    return [encode(Checkpoint([], [np.arange(3.0)], [np.arange(3.0)], 1.0))]


def _verify(suffix: str) -> Read:
    """Returns a reader that compares a file with the empty one of this suffix, as `inkflow verify` does."""

    def read(content: bytes, folder: Path) -> None:
        other = _write(b"", folder, f"other{suffix}")
        compare(_write(content, folder, f"a{suffix}"), _write(content + b" ", folder, f"b{suffix}"), 1e-6)
        compare(_write(content, folder, f"a{suffix}"), other, 1e-6)

    return read


FILES: dict[str, Target] = {
    "npz": Target(_read_npz, _npz_seeds),
    "npy": Target(_read_npy, _npy_seeds),
    "prepared rows": Target(_read_rows, _npy_seeds, (OSError, ValueError)),
    "IDX": Target(_own("train-images-idx3-ubyte"), lambda _: [idx_bytes(a) for a in _images()] + [gzip.compress(b"")]),
    "CSV": Target(_own("a.csv"), _made(write_csv, "s.csv")),
    "MATLAB": Target(_own("a.mat"), _made(_svhn, "s.mat")),
    "Parquet": Target(_own("a.parquet"), _made(write_parquet, "s.parquet")),
    "a folder of pictures": Target(_picture_folder, _picture_seeds),
    "pictures": Target(_read_pictures, _picture_seeds),
    "samples": Target(_read_samples, lambda folder: [*_npy_seeds(folder), b"1,2,3\n4,5,6\n", b"a;b;c\n1;2;3\n"]),
    "inference protocol": Target(_serve, _serve_seeds),
    "served pictures": Target(_serve_picture, _picture_seeds),
    "ONNX": Target(_open_model, _onnx_seeds),
    "checkpoints": Target(lambda content, _: decode(content), _checkpoint_seeds, (ValueError,)),
    "verify npz": Target(_verify(".npz"), _npz_seeds),
    "verify npy": Target(_verify(".npy"), _npy_seeds),
    "verify json": Target(_verify(".json"), lambda _: [b'{"a": [1, 2.5, null]}']),
    "verify csv": Target(_verify(".csv"), lambda _: [b"a,b\n1,2.5\n"]),
    "verify parquet": Target(_verify(".parquet"), _made(write_parquet, "s.parquet")),
}  # fmt: skip
