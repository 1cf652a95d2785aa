"""Records of durations measured on this machine, for `inkflow report --open`. Git and DVC ignore these files.

.inkflow/timings/train@NAME.json    {"sha256": of model.onnx, "fit_s": seconds}
.inkflow/timings/latency@NAME.json  {"sha256": of model.onnx, "one_ms": ..., "images_per_s": ..., "batch": ...}

A record is valid only for the model file with its digest. A restored or retrained model with other bytes has no record.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from stages.base.digests import TIMINGS, write_sealed
from stages.base.errors import OutputError


def record(kind: str, model: str, onnx: Path, figures: dict[str, float], folder: Path = TIMINGS) -> None:
    """Writes the measured `figures` of the model in the file `onnx`; does nothing if the file cannot be written."""
    with suppress(OutputError, OSError):  # a missing record must not fail the stage
        digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
        write_sealed(folder / f"{kind}@{model}.json", {"sha256": digest, **figures})
