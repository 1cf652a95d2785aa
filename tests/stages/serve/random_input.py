"""Sends random input to a server while a healthy client asks.

    python -m tests.stages.serve.random_input --seconds 600

Half of it is damaged: a request that would be answered, with bytes changed, cut, doubled or put in. The other half is
put together from the grammar of HTTP, of the protocol and of pictures, with wrong parts. Prints the counts as JSON.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.stages.serve.test_hostile import INFER, healthy_requests
from tests.stages.serve.test_serve import tensor
from tests.support.model_server import model_server
from tests.support.pictures import draw, encoded, garbage, template, write_reader
from tests.support.raw_http import HealthyClient, connect, head, is_whole, status

ANSWER_S, IMPATIENT_S = 240.0, 0.5
SENDERS = 4
PATHS = (
    "/predict", "/predict?seen=true", "/predict?seen=7", INFER, "/v2/models/reader/versions/workspace/infer", "/v2",
    "/v2/models/reader", "/card", "/metrics", "/", "/docs", "/openapi.json", "/%00", "/..%2f", "//", "*",
)  # fmt: skip
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "POST\t")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1e308, 2**63, "", "x" * 999, [], {}, [[]], "FP32", "image", [1, 28, 28],
)  # fmt: skip


def main() -> int:
    """Sends random input for the seconds that are given; the exit code is 1 if the healthy client noted a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = attack(Path(folder), given.seconds, given.seed)
    print(json.dumps(found, indent=1))
    return (
        1
        if found["wrong"] or not found["asked"] or found["hung"] or found["tracebacks"] or "500" in found["statuses"]
        else 0
    )


def attack(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Returns what the server answered to random input, and what the healthy client saw meanwhile."""
    write_reader(folder / "models/reader/model.onnx")
    statuses, hung = Counter[str](), Counter[bool]()
    with model_server(folder, "reader", "--max-body=2000000", "--max-pixels=4000000", "--timeout=5") as client:
        senders = [Requests(client, random.Random(seed * SENDERS + number)) for number in range(SENDERS)]
        end = time.monotonic() + seconds

        def work(requests: Requests) -> None:
            while time.monotonic() < end:
                answer = send(client, requests.make(), is_patient=requests.draws.random() < 0.1)
                hung[answer is None] += 1
                statuses[str(status(answer or b""))] += 1

        with HealthyClient(client, healthy_requests()) as healthy:
            threads = [threading.Thread(target=work, args=(requests,)) for requests in senders]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        alive = client.get("/v2/health/live").status_code == 200
        log = (folder / "serve.log").read_text(encoding="utf-8", errors="replace")
    return {
        "sent": sum(statuses.values()),
        "statuses": dict(sorted(statuses.items())),
        "hung": hung[True],
        "asked": healthy.asked,
        "slowest_s": round(healthy.slowest_s, 2),
        "wrong": healthy.wrong[:10] + ([] if alive else ["the server is gone"]),
        "tracebacks": log.count("Traceback"),
        "log": log[log.find("Traceback") :][:3000] if "Traceback" in log else "",
    }


def send(client: httpx.Client, content: bytes, *, is_patient: bool) -> bytes | None:
    """Sends a request and returns the answer; None if the server keeps the connection in silence.

    If no answer comes at once, the request may be a part of one: only a patient client then waits for the server to
    give it up.
    """
    answer = b""
    with connect(client) as connection:
        connection.settimeout(ANSWER_S if is_patient else IMPATIENT_S)
        try:
            connection.sendall(content)
            while not is_whole(answer) and (part := connection.recv(1 << 16)):
                answer += part
        except TimeoutError:
            return None if is_patient else answer
        except OSError:  # it refused in the middle
            pass
    return answer


class Requests:
    """Makes random requests."""

    def __init__(self, client: httpx.Client, draws: random.Random) -> None:
        self._client, self.draws = client, draws
        self._files = [content for _, content in garbage() if len(content) < 100_000]
        self._good = [self._post(INFER, json.dumps(tensor([digit])).encode()) for digit in range(3)]
        pictures = [encoded(draw(1, 60), "PNG"), encoded(draw(2, 60), "JPEG")]
        self._good += [self._post("/predict", picture) for picture in pictures]
        self._good += [self._binary(), head(client, "GET /card"), head(client, "GET /metrics")]

    def make(self) -> bytes:
        """Returns the next request."""
        makers: tuple[Callable[[], bytes], ...] = (self._damaged, self._file, self._grammar, self._protocol)
        return self.draws.choices(makers, (4, 1, 1.5, 1.5))[0]()

    def _post(self, path: str, body: bytes, *headers: str) -> bytes:
        return head(self._client, f"POST {path}", f"Content-Length: {len(body)}", *headers) + body

    def _binary(self) -> bytes:
        pixels = np.stack([template(4)]).astype("<f4")
        entry = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28]}
        inputs = [entry | {"parameters": {"binary_data_size": pixels.nbytes}}]
        text = json.dumps({"inputs": inputs}).encode()
        return self._post(INFER, text + pixels.tobytes(), f"Inference-Header-Content-Length: {len(text)}")

    def _damaged(self) -> bytes:
        """A good request with a few bytes changed, cut, doubled or put in; half of the time in its head."""
        content = bytearray(self.draws.choice(self._good))
        for _ in range(self.draws.randint(1, 6)):
            limit = len(content) if self.draws.random() < 0.5 else max(1, content.find(b"\r\n\r\n"))
            place, size = self.draws.randrange(max(1, limit)), self.draws.randint(1, 20)
            kind = self.draws.randrange(4)
            if kind == 0:
                content[place : place + size] = self.draws.randbytes(size)
            elif kind == 1:
                del content[place : place + size]
            elif kind == 2:
                content[place:place] = content[place : place + size]
            else:
                content[place:place] = self.draws.choice((b"\r\n", b"\0", b"\r\n\r\n", b"%", b"\xff", b"9" * size))
        return bytes(content)

    def _file(self) -> bytes:
        return self._post("/predict", self.draws.choice(self._files))

    def _grammar(self) -> bytes:
        """A request of methods, paths and headers that do not belong together."""
        body = self.draws.randbytes(self.draws.choice((0, 1, 100, 5000)))
        headers = self.draws.sample(
            (f"Content-Length: {len(body)}", "Content-Length: 7", "Transfer-Encoding: chunked", "Expect: 100-continue",
             "Connection: close", "Upgrade: h2c", "Content-Encoding: gzip", "Range: bytes=0-9", "Origin: null",
             "Inference-Header-Content-Length: 99", "Authorization: Basic x", "Accept: \xe9", "X:", ": y", "Te: x"),
            self.draws.randint(0, 6),
        )  # fmt: skip
        start = f"{self.draws.choice(METHODS)} {self.draws.choice(PATHS)}"
        return head(self._client, start, *headers) + body

    def _protocol(self) -> bytes:
        """An inference request with parts of other types, or without them."""
        content: dict[str, Any] = tensor([self.draws.randrange(10)])
        for _ in range(self.draws.randint(1, 3)):
            inputs = content.get("inputs")
            target = inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) else content
            target = target if self.draws.random() < 0.7 else content
            key = self.draws.choice((*target, "parameters", "outputs", "id", "inputs"))
            target[key] = self.draws.choice((*VALUES, [{"name": value} for value in VALUES], {"binary_data_size": 8}))
        return self._post(INFER, json.dumps(content).encode())


if __name__ == "__main__":
    sys.exit(main())
