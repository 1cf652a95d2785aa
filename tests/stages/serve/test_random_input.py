"""Random input; `python -m tests.stages.serve.random_input --seconds 600` sends it for ten minutes."""

from pathlib import Path

import pytest

from tests.stages.serve.random_input import attack


@pytest.mark.parametrize("seconds", [1, pytest.param(600, marks=[pytest.mark.farm, pytest.mark.timeout(1800)])])
def test_random_input_changes_no_answer(tmp_path: Path, seconds: float) -> None:
    """Random input gets an answer or a closed connection, never a 500; a healthy client gets each answer right."""
    found = attack(tmp_path, seconds, seed=int(seconds))
    assert found["wrong"] == [] and found["asked"] > 0
    assert found["sent"] > 0 and found["hung"] == 0
    assert found["tracebacks"] == 0, found["log"]
    assert "500" not in found["statuses"]
