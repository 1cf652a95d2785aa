"""`inkflow deps` on this project: what dvc.yaml declares is what the programs import."""

from pathlib import Path

import pytest

from flows.cli.main import main
from tests.conftest import SMALL_MODELS, Project
from tests.support.root import ROOT


def test_one_model_of_this_project(
    original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rooms that dvc.yaml of this project declares are those that its programs import."""
    copy = original.copy_to(tmp_path / "copy")
    copy.set({"models": {"cnn": SMALL_MODELS["cnn"]}})  # all models have the same code
    monkeypatch.chdir(copy.folder)
    assert main(["deps", "--check"]) == 0
    assert "train@cnn: " in capsys.readouterr().out


@pytest.mark.farm
def test_this_project(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same holds with all models."""
    monkeypatch.chdir(ROOT)
    assert main(["deps", "--check"]) == 0
    assert "train@cnn: " in capsys.readouterr().out
