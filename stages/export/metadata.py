"""What an export says of itself: a file in the zip of the LiteRT file, or in assets.extra of the SavedModel."""

import hashlib
import json
from pathlib import Path
from typing import Any

from stages.inference.onnx_session import open_session, read_task
from stages.model.tasks import PICTURE_FORM, Task
from stages.predict.earlier_outputs import readable
from stages.samples.prepared import Prepared

METADATA_FILE = "inkflow.json"
LABELS_FILE = "labels.txt"  # a name for each output, one a line, as tools for LiteRT expect

Metadata = dict[str, Any]


def metadata_of(path: Path, prepared: Prepared) -> Metadata:
    """Returns what a reader of the export must know: names of the outputs, shape of the samples, range of the pixels.

    The form of pictures is named if it is not that of MNIST. The positive classes of a two-class model and the numbers
    of a regression come from the ONNX file beside it, whose SHA-256 tells which training the export is of.
    """
    onnx_file = readable(path.with_name("model.onnx"))
    task, origin = Task(), {}
    if onnx_file.exists():
        task = read_task(open_session(onnx_file), onnx_file)
        origin = {"onnx_sha256": hashlib.sha256(onnx_file.read_bytes()).hexdigest()}
    names = prepared.class_names or tuple(map(str, range(prepared.classes)))
    if task.kind == "regression":
        outputs: Metadata = {"values": task.label_values(prepared.classes).tolist()}
    else:
        outputs = {"class_names": task.class_names(names)}
    facts: Metadata = {"pixels": prepared.pixels.model_dump()}
    facts |= {PICTURE_FORM: prepared.picture_form.model_dump()} if prepared.picture_form else {}
    if prepared.kind != "image":
        facts = {"kind": prepared.kind, **({"vocabulary": prepared.vocabulary} if prepared.vocabulary else {})}
    return {"task": task.kind, **facts, "shape": prepared.raw_shape, **outputs, **origin}


def metadata_files(metadata: Metadata) -> dict[str, str]:
    """Returns the content of the metadata files by name."""
    files = {METADATA_FILE: json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"}
    if "class_names" in metadata:
        files[LABELS_FILE] = "".join(f"{name}\n" for name in metadata["class_names"])
    return files
