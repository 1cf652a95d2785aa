"""Helpers of the tests of own data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.errors import exit_with
from stages.own_data.program import main


class Added(NamedTuple):
    """What the program wrote: the arrays, the entry of params.yaml, and what it printed."""

    arrays: dict[str, NDArray[Any]]
    entry: dict[str, Any]
    text: str


Add = Callable[..., Added]
Refuse = Callable[..., str]


@pytest.fixture
def add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Add:
    """Runs the program on files, which must succeed."""

    def run(*paths: Path | str, **options: Any) -> Added:
        out, result = tmp_path / "out.npz", tmp_path / "result.json"
        text = json.dumps({"name": "own", "paths": [str(path) for path in paths], **options})
        settings = json.loads(text) | {"out": str(out), "result": str(result)}
        code = exit_with(lambda: main([json.dumps(settings)]))
        captured = capsys.readouterr()
        assert code == 0, captured.err
        with np.load(out) as arrays:
            added = Added(dict(arrays), json.loads(result.read_text())["entry"], captured.out)
        out.unlink()
        return added

    return run


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs the program on files that it must refuse in one sentence, and writes nothing; returns the sentence."""

    def run(*paths: Path | str, **options: Any) -> str:
        out = tmp_path / "out.npz"
        settings = {"name": "own", "paths": [str(path) for path in paths], "out": str(out), **options}
        code = exit_with(lambda: main([json.dumps(settings)]))
        error = capsys.readouterr().err
        assert code == 2, error
        assert error.startswith("error: ") and error.count("\n") == 1, error
        assert not out.exists()
        return error

    return run
