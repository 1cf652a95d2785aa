"""Fixtures that run the prepare stage in an empty folder, and expect success or an error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.data.config import ARRAYS, Dataset
from stages.data.datasets import Arrays, describe, write_dataset
from stages.prepare import prepare
from tests.support.tiny_data import expect_error, snapshot, tiny_arrays, write_params

RAW, OUT = Path("data/raw"), Path("data/prepared")
ARGUMENTS = ["--raw", str(RAW), "--out", str(OUT)]
INVALID, FAILED = 2, 1

RunPrepare = Callable[..., dict[str, Any]]
RunFailing = Callable[..., str]


def write_raw(arrays: dict[str, NDArray[Any]] | None = None) -> dict[str, NDArray[Any]]:
    """Writes data/raw as the download stage does, and returns the arrays."""
    arrays = tiny_arrays() | (arrays or {})
    content = Arrays(*(arrays[name] for name in ARRAYS))
    section = Dataset.model_validate({"title": "Tiny", "embedded": "digits"})
    write_dataset(RAW, content, describe("tiny", section, content))
    return arrays


@pytest.fixture
def run_prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPrepare:
    """Runs the stage with the given parameters, and returns the arrays by file name, and prepared.json as "info"."""
    monkeypatch.chdir(tmp_path)
    write_raw()

    def call(**params: Any) -> dict[str, Any]:
        write_params(Path(), **params)
        assert prepare.main(ARGUMENTS) == 0
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in OUT.glob("*.npy")}
        return arrays | {"info": json.loads((OUT / "prepared.json").read_text())}

    return call


@pytest.fixture
def run_failing(run_prepare: RunPrepare, capsys: pytest.CaptureFixture[str]) -> RunFailing:
    """Runs the stage, which must fail with a message of one line and keep the earlier folder."""
    run_prepare()

    def call(expected: int = INVALID, **params: Any) -> str:
        before = snapshot(OUT)
        write_params(Path(), **params)
        code, error = expect_error(prepare.main, ARGUMENTS, capsys)
        assert code == expected
        assert snapshot(OUT) == before
        assert [path.name for path in OUT.parent.iterdir() if path.name.startswith(".")] == []
        return error

    return call
