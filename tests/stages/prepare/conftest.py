"""Running the prepare stage in a fresh folder, and watching it refuse."""

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
from tests.support.tiny_data import refusal, snapshot, tiny_arrays, write_params

RAW, OUT = Path("data/raw"), Path("data/prepared")
ARGUMENTS = ["--raw", str(RAW), "--out", str(OUT)]
INVALID, FAILED = 2, 1

Prepared = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]


def write_raw(arrays: dict[str, NDArray[Any]] | None = None) -> dict[str, NDArray[Any]]:
    """Write data/raw as the download stage does; the arrays."""
    arrays = tiny_arrays() | (arrays or {})
    ordered = Arrays(*(arrays[name] for name in ARRAYS))
    write_dataset(
        RAW,
        ordered,
        describe("tiny", Dataset.model_validate({"title": "Tiny", "embedded": "digits"}), ordered),
    )
    return arrays


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Run the stage in a fresh folder that holds data/raw; arrays by their file's name, and prepared.json."""
    monkeypatch.chdir(tmp_path)
    write_raw()

    def call(**params: Any) -> dict[str, Any]:
        write_params(Path(), **params)
        assert prepare.main(ARGUMENTS) == 0
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in OUT.glob("*.npy")}
        return arrays | {"done": json.loads((OUT / "prepared.json").read_text())}

    return call


@pytest.fixture
def refused(prepared: Prepared, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run the stage, which must fail with one sentence and leave the earlier folder as it was."""
    prepared()

    def call(expected: int = INVALID, **params: Any) -> str:
        before = snapshot(OUT)
        write_params(Path(), **params)
        code, sentence = refusal(prepare.main, ARGUMENTS, capsys)
        assert code == expected
        assert snapshot(OUT) == before
        assert [path.name for path in OUT.parent.iterdir() if path.name.startswith(".")] == []
        return sentence

    return call
