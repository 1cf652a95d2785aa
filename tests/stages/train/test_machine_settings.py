"""Settings of the machine, in files or in environment variables, do not change a training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from stages.base.errors import InvalidInput
from stages.report.page.plots import scores_picture
from stages.report.statistics.intervals import Interval
from stages.train.device import Device
from stages.train.fingerprint import training_inputs
from stages.train.machine_settings import fixed_settings, remaining_settings
from tests.support.learning import Folders, make_model, settings, write_data, write_params
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot

KERAS_JSON = {"epsilon": 1e-3, "floatx": "float16", "image_data_format": "channels_first", "backend": "torch"}
VARIABLES = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF_NUM_INTRAOP_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_BACKEND": "",
}


def train(folders: Folders, folder: Path, environment: dict[str, str]) -> dict[str, bytes]:
    """Trains in a process with these variables, and returns the files that it wrote."""
    changes = {"batch_normalisation": True, "epochs": 2}  # its epsilon and Adam's are among Keras's settings
    params = write_params(folder / "params.yaml", tried=settings("cnn", **changes))
    arguments = ["--model", "tried", "--data", folders.prepared, "--out", folder / "out", "--params", params]
    command = [sys.executable, "-m", "stages.train", *map(str, arguments), "--checkpoints", str(folder / "saved")]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    return snapshot(folder / "out")


@pytest.mark.farm
def test_settings_of_the_machine_change_no_byte(tmp_path: Path) -> None:
    """A keras.json and variables of all libraries give the files that an empty home gives; no keras.json is written."""
    folders = write_data(tmp_path / "data")
    homes = {name: tmp_path / name for name in ("plain", "set")}
    for home in homes.values():
        home.mkdir()
    (homes["set"] / ".keras").mkdir()
    (homes["set"] / ".keras/keras.json").write_text(json.dumps(KERAS_JSON))
    plain = train(folders, homes["plain"], {"HOME": str(homes["plain"])})
    assert train(folders, homes["set"], {"HOME": str(homes["set"]), **VARIABLES}) == plain
    assert not (homes["plain"] / ".keras").exists()


def test_variables_are_removed_by_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of the libraries goes but those of memory, messages and device; of XLA_FLAGS a path remains."""
    for name in [*VARIABLES, "JAX_ENABLE_X64", "NVIDIA_TF32_OVERRIDE", "NPROC", "OMP_NUM_THREADS"]:
        monkeypatch.setenv(name, "1")
    kept = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_HOME": "/k", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TFX": "1"}
    for name, value in (kept | {"KERAS_BACKEND": "jax"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/cuda --xla_allow_excess_precision=false")
    with fixed_settings():
        assert os.environ["KERAS_HOME"] == os.devnull
    remaining = {name: os.environ.get(name) for name in (*VARIABLES, *kept, "JAX_ENABLE_X64", "NPROC")}
    expected = dict.fromkeys((*VARIABLES, "JAX_ENABLE_X64", "NPROC")) | kept
    assert remaining == expected | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_gpu_cuda_data_dir=/cuda"}


def test_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """KERAS_BACKEND=torch is refused in one sentence before Keras is loaded."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(InvalidInput, match=r"KERAS_BACKEND is 'torch', expected tensorflow or jax"), fixed_settings():
        pass


def test_settings_that_stay_are_in_the_checkpoints_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that act before the stage starts, and the processor's vector features, are in the checkpoint's key."""
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX2")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2")
    inputs = training_inputs("tried", make_model(), {}, Device("cpu", "any", 2), "float32")
    assert inputs["environment"] == remaining_settings()
    assert set(inputs["environment"]) >= {"NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES"}
    assert "processor" in inputs


def test_matplotlibrc_changes_no_picture() -> None:
    """A user's settings of Matplotlib leave the picture of the scores as it is."""

    def picture() -> bytes:
        return scores_picture(["a", "b"], [0.9, 0.8], [Interval(0.85, 0.95), Interval(0.7, 0.85)], "Test accuracy")

    plain = picture()
    with mpl.rc_context({"font.size": 20, "lines.markeredgewidth": 7, "savefig.dpi": 31, "axes.linewidth": 5}):
        assert picture() == plain
