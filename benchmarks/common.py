"""What the benchmarks of training share: data, processes that are timed, and the line that is printed."""

import argparse
import functools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
WORK = Path(tempfile.gettempdir()) / "inkflow-benchmark"
SYSTEMS = ("dense", "dense_small", "dense_dropout", "cnn_softmax", "cnn")
FITTED = re.compile(r"fitted in ([\d.]+) s")


class Trained(NamedTuple):
    """One training: seconds of fit, and accuracy on the test part."""

    fit_s: float
    accuracy: float


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that all of them have."""
    found = argparse.ArgumentParser(description=description)
    mirror = os.environ.get("INKFLOW_MIRROR")
    default = {"default": str(Path(mirror, "mnist.npz"))} if mirror else {"required": True}
    found.add_argument(
        "--mnist", type=_file, help="mnist.npz; where INKFLOW_MIRROR names a folder, the one there", **default
    )
    found.add_argument("--work", type=Path, default=WORK, help="folder for what is made")
    return found


def _file(name: str) -> Path:
    """A file that is there, by its full path."""
    if not Path(name).is_file():
        raise argparse.ArgumentTypeError(f"{name}: expected the file mnist.npz; set INKFLOW_MIRROR to its folder")
    return Path(name).resolve()


def hardware() -> dict[str, Any]:
    """What this was measured on."""
    sys.path.insert(0, str(ROOT))
    from stages.base.machine import available_cores, processor_name  # after the path is set

    return {"processor": processor_name(), "cores": available_cores(), "load": os.getloadavg()[0]}


def call(arguments: Sequence[str | Path], **environment: str) -> str:
    """Standard output of a program of this project, which must end well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def prepare(mnist: Path, work: Path, params: Path = ROOT / "params.yaml") -> None:
    """The prepared MNIST in `work`, made anew: what lay there may be of other parameters."""
    mirror = {"INKFLOW_MIRROR": str(mnist.parent)}
    call(["-m", "stages.download", "--out", work / "raw", "--params", params], **mirror)
    call(["-m", "stages.prepare", "--raw", work / "raw", "--out", work / "prepared", "--params", params])


def plain(system: str, mnist: Path) -> Trained:
    """Run a plain script."""
    found = json.loads(call([f"benchmarks/plain/{system}.py", mnist]).splitlines()[-1])
    return Trained(found["fit_s"], found["test_accuracy"])


def fit(system: str, work: Path, params: Path = ROOT / "params.yaml") -> float:
    """Run the stage train; seconds of the fit alone."""
    model, checkpoints = work / "models" / system, work / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)  # of a benchmark that was cut off: it would take less time
    given: list[str | Path] = ["--model", system, "--data", work / "prepared", "--out", model, "--params", params]
    log = call(["-m", "stages.train", *given, "--checkpoints", checkpoints])
    fitted = FITTED.search(log)
    assert fitted, log
    return float(fitted[1])


def ours(system: str, work: Path, params: Path = ROOT / "params.yaml") -> Trained:
    """Run the stages train and evaluate."""
    fit_s = fit(system, work, params)
    onnx, exam = work / "models" / system / "model.onnx", work / "evaluation" / system
    call(["-m", "stages.evaluate", "--model", onnx, "--raw", work / "raw", "--out", exam])
    return Trained(fit_s, json.loads((exam / "metrics.json").read_text())["accuracy"])


def params_with(work: Path, changes: Mapping[str, Any]) -> Path:
    """A copy of our params.yaml in `work`, with values at dotted keys."""
    from ruamel.yaml import YAML  # not on the GPU machine, where this is not called

    path, content = work / "params.yaml", read_params()
    for key, value in changes.items():
        *parents, last = key.split(".")
        functools.reduce(lambda here, name: here[name], parents, content)[last] = value
    work.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        YAML().dump(content, file)
    return path


def read_params() -> Any:
    """Content of our params.yaml, unchecked."""
    from ruamel.yaml import YAML  # as above

    return YAML().load((ROOT / "params.yaml").read_text())


def median(values: Sequence[float]) -> float:
    """The median, rounded for print."""
    return round(statistics.median(values), 4)


def report(benchmark: str, target: str, **facts: Any) -> None:
    """Print the one line; `target` is what was asked for, in words."""
    print(json.dumps({"benchmark": benchmark, "target": target, **facts, "hardware": hardware()}), flush=True)
