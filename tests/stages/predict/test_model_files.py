"""A model is found by its name in the folder of a project, and in all folders below it."""

from pathlib import Path

import pytest

from flows.cli.main import main
from stages.base.errors import InvalidInput, exit_with
from stages.predict.model_files import find_model, in_project
from tests.support.pictures import encoded, scan, write_reader


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, two levels below that of a project with the model `reader`."""
    (tmp_path / ".dvc").mkdir()
    write_reader(tmp_path / "models/reader/model.onnx")
    folder = tmp_path / "notes/today"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_a_folder_below_the_project(below: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow predict NAME` finds the project's model from there, and pictures by their path from there."""
    (below / "two.png").write_bytes(encoded(scan(2, 3), "PNG"))
    assert find_model("reader") == Path("../../models/reader/model.onnx")
    assert exit_with(lambda: main(["predict", "reader", "two.png", "--csv"])) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("two.png,2,")


def test_models_of_the_current_folder_come_first(below: Path) -> None:
    """A model in the current folder hides the project's of the same name; an unknown name is told with all others."""
    write_reader(below / "models/other/model.onnx")
    assert find_model("other") == Path("models/other/model.onnx")
    write_reader(below / "models/reader/model.onnx")
    assert find_model("reader") == Path("models/reader/model.onnx")
    (below / "models/reader/model.onnx").unlink()
    with pytest.raises(InvalidInput, match=r"there is no model 'raeder'; did you mean 'reader'.* known: other, reader"):
        find_model("raeder")


def test_data_of_the_project(below: Path) -> None:
    """The prepared data with which an export is compared are those of the project, unless the folder has its own."""
    assert in_project(Path("data/prepared")) == Path("../../data/prepared")
    (below / "data/prepared").mkdir(parents=True)
    assert in_project(Path("data/prepared")) == Path("data/prepared")


def test_outside_of_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a project around it, only the current folder counts."""
    write_reader(tmp_path / "models/reader/model.onnx")
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "notes")
    with pytest.raises(InvalidInput, match="there is no model 'reader'; models holds none"):
        find_model("reader")
