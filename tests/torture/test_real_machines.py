"""Real trainings that differ as those of two machines do, judged by `inkflow verify --against`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL_MODELS, Project
from tests.torture.conftest import Try
from tests.torture.test_machines import SUBJECT

# Variables that the C library sees and Python does not, so that the stage cannot remove them: another processor.
C_ENVIRONMENT = """
import ctypes, os
for pair in os.environ.get("INKFLOW_TEST_C_ENVIRONMENT", "").split():
    name, _, value = pair.partition("=")
    ctypes.CDLL(None).setenv(name.encode(), value.encode(), 1)
"""
KERNELS = "TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=SSE41"
REAL = {  # how a training differs from that of HEAD: variables, processors, options of `inkflow run`
    "the same again": ({}, None, []),
    "one thread": ({}, 1, []),
    "other kernels": ({"INKFLOW_TEST_C_ENVIRONMENT": KERNELS}, None, []),
    "bfloat16": ({}, None, ["--set", "models.cnn.precision=bfloat16"]),
    "another seed": ({}, None, ["--set", "models.cnn.seed=1"]),
}


@pytest.mark.farm
@pytest.mark.timeout(1200)
def test_real_trainings_of_other_machines(promise: Try, project: Project, tmp_path: Path) -> None:
    """Keras trainings with other threads, kernels, precision and seed: never byte-equal by mistake, never different."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(C_ENVIRONMENT)
    project.set({"models": {"cnn": SMALL_MODELS["cnn"] | {"precision": "float32"}}})
    path = os.pathsep.join([str(tmp_path / "site"), str(project.folder)])

    def call(*words: str, cores: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        limit = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))] if cores else []
        command = [*limit, sys.executable, "-m", "flows", *words]
        environment = os.environ | {"PYTHONPATH": path} | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)

    stages = ["train@cnn", "evaluate@cnn"]
    assert (done := call("run", "--no-server", *stages)).returncode == 0, done.stderr
    for command in (
        ["git", "add", "--all"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(command, check=True)
    sentence = (
        "A real training with other threads, kernels, precision or seed is judged byte-equal, within tolerance or "
        "statistically equal, never different."
    )
    how = "a real Keras training again, on one thread, with oneDNN's kernels disabled, in bfloat16, with another seed"
    with promise(SUBJECT, sentence, how) as tried:
        for name, (variables, cores, options) in REAL.items():
            subprocess.run(["git", "checkout", "-q", "."], check=True)
            done = call("run", "--no-server", "--force", *options, *stages, cores=cores, **variables)
            assert done.returncode == 0, done.stderr
            with tried.attempt(name):
                found = json.loads(call("verify", "--against", "HEAD", "--json", *stages).stdout)
                rows = {row["output"]: row for row in found["outputs"]}
                model = rows["models/cnn/model.onnx"]
                is_same = model["here"] == model["there"]
                assert (model["verdict"] == "byte-equal") == is_same
                assert is_same or name not in ("the same again",)
                assert model["verdict"] in ("byte-equal", "within tolerance", "statistically equal"), model
                assert not (is_same and options), model
                named = {item["name"] for item in [*found["inputs"], *found["environment"]]}
                assert not options or options[1].partition("=")[0] in named, named
                assert cores is None or "threads" in named or len(os.sched_getaffinity(0)) == 1, named
