"""Settings of the server."""

from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "INKFLOW_SERVE_TOKEN"  # a variable, not an argument: arguments are visible to all users of a machine
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """What the server serves, where, and its limits.

    Attributes:
        model: the model's name in addresses, such as /v2/models/cnn.
        source: a folder with model.onnx, or a JSON file that names such a folder in `folder` and may change.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        token: what requests have to send as a bearer token; empty for none.
        hosts: names under which the server may be reached; none for all.
        origins: names whose pages may use the server: those that --host-name gives.
        max_body: bytes of a request.
        max_pixels: pixels of a picture.
        timeout_s: seconds for the body of a request, and again for its answer.
        max_queue: samples that may wait.
        max_batch: samples that the model gets at once.
        watch: compare what the model is asked with the reference of its training.
    """

    model: str
    source: Path
    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()
    max_body: int = 16_000_000
    max_pixels: int = 16_000_000
    timeout_s: float = 10.0
    max_queue: int = 1024
    max_batch: int = 64
    watch: bool = True
