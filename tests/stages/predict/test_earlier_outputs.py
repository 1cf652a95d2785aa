"""A model can be used while it is trained again: its earlier files are read until the new ones are complete."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.core.file_lock import run_lock
from flows.engine.output_backup import earlier_outputs
from stages.base.errors import exit_with
from stages.predict import score
from stages.predict.command import main as predict
from stages.predict.earlier_outputs import original, use_readable
from stages.predict.model_files import find_model
from tests.conftest import Toy, run_engine, wait_until
from tests.support.pictures import encoded, scan, write_reader

MODEL = Path("models/reader/model.onnx")
# The stage removes its output, writes a part of it, waits, and writes it all.
PIPELINE = """
stages:
  train:
    foreach: [reader]
    do:
      cmd: >-
        test ! -e models/reader/model.onnx && mkdir -p models/reader && echo part > models/reader/model.onnx;
        touch started; until [ -e ../go ]; do sleep 0.05; done; cp source.onnx models/reader/model.onnx
      deps: [source.onnx]
      params: [speed]
      outs: [models/reader/model.onnx]
"""


@pytest.fixture
def project(toy: Toy) -> Toy:
    """A project with a model, which is the output of a stage that ran, and an image."""
    toy.write({"dvc.yaml": PIPELINE, "params.yaml": "speed: 1\n", ".gitignore": "/.inkflow\n"})
    write_reader(toy.folder / "source.onnx")
    (toy.folder / "inbox").mkdir()
    (toy.folder / "inbox/two.png").write_bytes(encoded(scan(2, 3), "PNG"))
    (toy.folder.parent / "go").touch()
    assert not run_engine().errors
    (toy.folder.parent / "go").unlink()
    (toy.folder / "started").unlink()
    return toy


@contextmanager
def training(project: Toy) -> Iterator[None]:
    """Train the model again, and hold the stage within the block after it has written a part of its output."""
    project.write({"params.yaml": "speed: 2\n"})
    with run_lock(project.folder, print):
        thread = threading.Thread(target=run_engine)
        thread.start()
        try:
            wait_until((project.folder / "started").exists, timeout_s=60)
            yield
        finally:
            (project.folder.parent / "go").touch()
            thread.join()


def test_predict_and_score_while_training(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`predict` and `score` give the same answers during a training as before, and say which model they use."""
    assert predict(["reader", "inbox/two.png"]) == 0
    before = capsys.readouterr().out
    with training(project):
        assert MODEL.read_text() == "part\n"
        assert predict(["reader", "inbox/two.png"]) == 0
        output = capsys.readouterr()
        assert output.out == before
        assert f"{MODEL} is being made again by a run; the earlier one is used" in output.err
        assert exit_with(lambda: score.main(["--model=reader", "--folder=inbox", "--out=scores.parquet"])) == 0
        with pytest.raises(Exception, match="known: reader"):
            find_model("raeder")
    capsys.readouterr()
    assert find_model("reader") == MODEL
    assert exit_with(lambda: score.main(["--model=reader", "--folder=inbox", "--out=scores.parquet"])) == 0
    assert "0 files scored, 1 scored before" in capsys.readouterr().out
    assert not list(Path(".inkflow/aside").iterdir())


def test_all_outputs_while_training(project: Toy) -> None:
    """The folder from which `check` and `compare` read has the earlier outputs and all other files."""
    before = MODEL.read_bytes()
    with earlier_outputs(Path()) as folder:
        assert folder == Path()
    with training(project), earlier_outputs(Path()) as folder:
        assert (folder / MODEL).read_bytes() == before
        assert (folder / "params.yaml").read_text() == "speed: 2\n"
        assert (folder / "inbox/two.png").is_file()


def test_leftovers_of_a_killed_run(project: Toy) -> None:
    """After a kill, the file in the workspace counts if there is one: it can be newer than the one set aside."""
    aside = Path(".inkflow/aside/train/outputs") / MODEL
    aside.parent.mkdir(parents=True)
    aside.write_text("earlier")
    assert find_model("reader") == MODEL
    MODEL.unlink()
    assert find_model("reader") == aside.absolute()
    assert original(aside.absolute()) == MODEL.absolute()


def test_file_that_moves_meanwhile(tmp_path: Path) -> None:
    """A file that a run moves between finding and reading is found again; a wrong file is an error, not a loop."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("content")

    def read(path: Path) -> str:
        if path == old:
            old.rename(new)
        return path.read_text()

    assert use_readable(lambda: old if old.exists() else new, read) == "content"
    with pytest.raises(UnicodeDecodeError):
        new.write_bytes(b"\xff")
        use_readable(lambda: new, lambda path: path.read_text(encoding="utf-8"))
