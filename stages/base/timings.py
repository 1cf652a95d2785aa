"""How long things take on this machine: records that git and DVC never see, for `inkflow report --open`.

.inkflow/timings/train@NAME.json    {"sha256": of model.onnx, "fit_s": seconds}
.inkflow/timings/latency@NAME.json  {"sha256": of model.onnx, "one_ms": ..., "images_per_s": ..., "batch": ...}

A record counts only for the very model that it names by its digest: a restored or retrained model does not borrow
another one's figures.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from stages.base.errors import OutputError
from stages.base.files import write_json

TIMINGS = Path(".inkflow/timings")


def record(kind: str, model: str, onnx: Path, figures: dict[str, float], folder: Path = TIMINGS) -> None:
    """Note `figures` about the model in the file `onnx`; where nothing can be written, nothing is noted."""
    with suppress(OutputError, OSError):  # a figure for people: its lack must not fail the work
        digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
        write_json(folder / f"{kind}@{model}.json", {"sha256": digest, **figures})
