"""`inkflow serve` against raw ONNX Runtime, FastAPI with `keras.predict` and MLflow's server, in turn on one model.

    python -m benchmarks.serve [--model models/cnn] [--requests 2000] [--rounds 5]

Raw ONNX Runtime is the least that serves a model in Python (benchmarks/plain/serve_onnx.py): bytes in, bytes out, on
the same HTTP server, without checks, batches or metrics. MLflow is installed into an environment of its own.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil

from benchmarks import common
from benchmarks.support.load import Load, ask, post
from benchmarks.support.processor import process_s
from stages.predict.model_files import find_model
from tests.support.tool_environment import make_environment

CLIENTS = (1, 8, 64)
SLOW = 10  # times fewer requests to servers that need milliseconds for one
BATCH = 64  # images of a large request
START_S = 300.0
PLAIN = common.ROOT / "benchmarks" / "plain"
SAVE = "import mlflow.onnx, onnx, sys; mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2])"
OURS, RAW, KERAS, MLFLOW = "inkflow serve", "raw ONNX Runtime", "FastAPI and keras.predict", "MLflow"


@dataclass(frozen=True)
class Server:
    """A server to measure: its command, where `{port}` stands for a free port, its requests and its answers."""

    name: str
    command: list[str]
    request: Callable[[Any], bytes]
    scores: Callable[[bytes], Any]
    is_slow: bool = False


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    server: Server
    port: int
    process: psutil.Process

    def megabytes(self) -> float:
        """Returns the memory of its processes; what they share counts once."""
        return sum(process.memory_full_info().pss for process in self._processes()) / 1e6

    def processor_s(self) -> float:
        """Returns the processor seconds that its processes have taken so far."""
        return sum(process_s(process) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def servers(model: Path, work: Path) -> Iterator[Server]:
    """Yields the servers that can be started here; says why one cannot."""
    onnx, name = model.with_name("model.onnx"), model.parent.name
    yield Server(
        OURS, [sys.executable, "-m", "stages.serve", str(onnx.parent), "--port={port}"], _protocol(name), _tail
    )
    raw = [sys.executable, str(PLAIN / "serve_onnx.py"), str(onnx), "{port}"]
    yield Server(RAW, raw, lambda pixels: post("/", pixels.tobytes(), {}), _tail)
    keras = [sys.executable, str(PLAIN / "serve_keras.py"), str(onnx.with_name("model.keras")), "{port}"]
    kind = {"Content-Type": "application/octet-stream"}
    yield Server(KERAS, keras, lambda pixels: post("/predict", pixels.tobytes(), kind), json.loads, True)
    try:
        python = make_environment(work / "mlflow", "mlflow", "onnx", "onnxruntime")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return
    saved = work / f"mlflow-{os.getpid()}"
    subprocess.run([str(python), "-c", SAVE, str(onnx), str(saved)], check=True, capture_output=True)
    command = [str(python), "-m", "mlflow", "models", "serve", "--model-uri", str(saved), "--port", "{port}"]
    yield Server(MLFLOW, [*command, "--env-manager", "local"], _mlflow, _mlflow_scores, True)


def _protocol(name: str) -> Callable[[Any], bytes]:
    def request(pixels: Any) -> bytes:
        tensor: dict[str, Any] = {"name": "image", "datatype": "FP32", "shape": list(pixels.shape)}
        tensor["parameters"] = {"binary_data_size": pixels.nbytes}
        outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
        head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
        return post(
            f"/v2/models/{name}/infer", head + pixels.tobytes(), {"Inference-Header-Content-Length": str(len(head))}
        )

    return request


def _tail(body: bytes) -> Any:
    """Returns the scores of the last image: ten floats at the end of an answer."""
    return [np.frombuffer(body[-40:], np.float32)]


def _mlflow(pixels: Any) -> bytes:
    body = json.dumps({"inputs": pixels.tolist()}).encode()
    return post("/invocations", body, {"Content-Type": "application/json"})


def _mlflow_scores(body: bytes) -> Any:
    return next(iter(json.loads(body)["predictions"].values()))


@contextmanager
def running(server: Server, work: Path) -> Iterator[Running]:
    """Starts a server, waits until it listens, and ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(common.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if server.name == MLFLOW:
        tools = Path(server.command[0]).parent
        environment |= {"PYTHONPATH": "", "PATH": f"{tools}:{environment['PATH']}"}
    command = [part.replace("{port}", str(port)) for part in server.command]
    with (work / f"{server.name.replace(' ', '-')}.log").open("w") as log:
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(port, process, Path(log.name))
        yield Running(server, port, process)
    finally:
        for child in [*process.children(recursive=True), process]:
            child.terminate()
        process.wait(30)


def _wait_for(port: int, process: psutil.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{log.stem} did not start: {log.read_text()[-2000:]}") from error
            time.sleep(0.1)


def in_turn(started: list[Running], pixels: Any, clients: int, requests: int, rounds: int) -> dict[str, list[Load]]:
    """Returns what the clients of each server saw, in each round; a round before them, of a few requests, warms up."""
    loads: dict[str, list[Load]] = {item.server.name: [] for item in started}
    for number in range(1 + rounds):
        for item in started:
            count = requests if number else 2 * clients
            count = max(clients, count // SLOW) if item.server.is_slow else count
            before = item.processor_s()
            load = ask(item.port, item.server.request(pixels), clients, count)
            load.processor_s = item.processor_s() - before
            if number:
                loads[item.server.name].append(load)
    return loads


def rates(loads: dict[str, list[Load]], images: int) -> dict[str, list[float]]:
    """Returns the images a second of each server, in each round."""
    return {name: [len(load.latencies) * images / load.seconds for load in found] for name, found in loads.items()}


def line(loads: dict[str, list[Load]], images: int, rounds: int) -> dict[str, Any]:
    """Returns the figures of one comparison; the ratios are medians of the rounds' ratios."""
    facts: dict[str, Any] = {}
    found = rates(loads, images)
    for name, values in found.items():
        times = [1000 * latency for load in loads[name] for latency in load.latencies]
        facts[name] = (
            f"{statistics.median(values):,.0f} images/s, median {statistics.median(times):.2f} ms, "
            f"99 % within {np.percentile(times, 99):.2f} ms, "
            f"{_processor_ms(loads[name], images):.2f} ms of the processor for an image"
        )
    against = {
        name: [other / own for other, own in zip(values, found[OURS], strict=True)] for name, values in found.items()
    }
    facts["times the throughput of Keras"] = round(1 / statistics.median(against[KERAS]), 1)
    if MLFLOW in against:
        facts["times that of MLflow"] = round(1 / statistics.median(against[MLFLOW]), 1)
    return {**facts, "ratio": round(statistics.median(against[RAW]), 2), "runs": rounds}


def _processor_ms(loads: list[Load], images: int) -> float:
    return 1000 * sum(load.processor_s for load in loads) / sum(len(load.latencies) * images for load in loads)


def check_same(started: list[Running], images: Any) -> None:
    """Checks that all servers name the same class of each image.

    Raises:
        RuntimeError: they do not.
    """
    for pixels in images:
        bodies = {item.server.name: ask(item.port, item.server.request(pixels[None]), 1, 1).body for item in started}
        found = {item.server.name: int(np.argmax(item.server.scores(bodies[item.server.name])[-1])) for item in started}
        if len(set(found.values())) != 1:
            raise RuntimeError(f"the servers name different classes: {found}")


def without_http(model: Path, pixels: Any, seconds: float = 2.0) -> float:
    """Returns the images a second of ONNX Runtime in one process, without HTTP."""
    session = onnxruntime.InferenceSession(str(model.with_name("model.onnx")), providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    count, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        session.run([output], {name: pixels})
        count += len(pixels)
    return count / took


def main() -> None:
    """Measure all servers in turn, and print a line of JSON for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn", help="name or folder of a model (default: cnn)")
    parser.add_argument("--requests", type=int, default=2000, help="to each server; slow ones get a tenth of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=common.WORK / "serve", help="folder for MLflow and for logs")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    model = find_model(given.model).absolute()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (BATCH, 28, 28)).astype(np.float32)
    target = "raw ONNX Runtime at most 1.5 times as fast, Keras 5 times slower"
    with ExitStack() as stack:
        started = [stack.enter_context(running(server, given.work)) for server in servers(model, given.work)]
        check_same(started, pixels[:5])
        for clients in CLIENTS:
            loads = in_turn(started, pixels[:1], clients, given.requests, given.rounds)
            common.report(
                f"one image a request, {clients} client{'s' * (clients > 1)}",
                target,
                **line(loads, 1, given.rounds),
            )
        loads = in_turn(started, pixels, 8, given.requests // SLOW, given.rounds)
        common.report(
            f"{BATCH} images a request, 8 clients",
            target,
            **line(loads, BATCH, given.rounds),
            **{"ONNX Runtime without HTTP": f"{without_http(model, pixels):,.0f} images/s"},
        )
        memory = {item.server.name: f"{item.megabytes():.0f} MB" for item in started}
        common.report("memory after all of them", f"{OURS} below 200 MB", **memory)


if __name__ == "__main__":
    main()
