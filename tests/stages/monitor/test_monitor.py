"""`inkflow monitor` after `score`: table, JSON, picture, exit codes, decisions, and errors in one sentence."""

import json
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli.main import main as inkflow
from flows.core.alarms import standing_alarms
from flows.status.local_sections import alarms_section
from stages.base.errors import DataError, InvalidInput, exit_with
from stages.monitor.command import main
from stages.predict import score
from stages.predict.watcher import NO_REFERENCE
from tests.support.pictures import write_reader
from tests.support.watched import digits, write_watched_reader


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a project with the watched model `reader` and 400 printed digits in `inbox`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "inbox").mkdir()
    write_watched_reader(tmp_path / "models/reader/model.onnx")
    np.save(tmp_path / "inbox/healthy.npy", digits(400))
    return tmp_path


def run_score(*options: str) -> int:
    """Scores the folder `inbox` and returns the exit code."""
    return exit_with(lambda: score.main(["--model=reader", "--folder=inbox", "--out=s.parquet", *options]))


def add_inverted(work: Path, name: str = "inverted") -> None:
    """Adds 80 inverted digits to the folder."""
    np.save(work / f"inbox/{name}.npy", 255 - digits(80, len(name)))


def test_score_and_monitor(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A healthy folder gives 0; inverted images give 3 once, with statistic, evidence, limit and time of the alarm."""
    assert run_score() == 0
    assert main(["reader"]) == 0
    assert "no alarm" in capsys.readouterr().out
    add_inverted(work)
    assert run_score() == 0
    assert "watch: alarm: ink is higher" in capsys.readouterr().err
    assert run_score() == 0  # all files are known: nothing is seen twice
    assert "watch: alarm" not in capsys.readouterr().err
    assert main(["reader", "--json"]) == 3
    model = json.loads(capsys.readouterr().out)["models"][0]
    assert (model["model"], model["healthy"], model["images"]) == ("reader", False, 480)
    ink = next(item for item in model["statistics"] if item["name"] == "ink")
    assert ink["evidence"] >= ink["limit"] and ink["alarm_since"] == model["alarms"][0]["since"]
    assert inkflow(["monitor"]) == 3
    table = capsys.readouterr().out
    assert all(word in table for word in ("statistic", "evidence", "limit", "ink", "alarm since"))


def test_a_file_with_a_rejected_image_does_not_count(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The images of a file that could not be scored are read again by the next job: they are not counted."""
    mixed = digits(20)
    mixed[3] = 0
    np.save(work / "inbox/mixed.npy", mixed)
    assert run_score() == 0 and run_score() == 0
    capsys.readouterr()
    assert main(["reader", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["images"] == 400


def test_the_watch_can_be_switched_off(work: Path) -> None:
    """With --no-watch nothing is written."""
    assert run_score("--no-watch") == 0
    assert not (work / ".inkflow").exists()


def test_a_model_without_a_reference_is_scored_all_the_same(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`score` says it in one sentence, and scores; `monitor` says it too, as an error."""
    write_reader(work / "models/reader/model.onnx")
    assert run_score() == 0
    assert capsys.readouterr().err.count(NO_REFERENCE) == 1
    with pytest.raises(DataError, match=NO_REFERENCE):
        main(["reader"])


def test_a_record_that_cannot_be_written_stops_no_score(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scores are written; the sentence says why the watch did not count them."""
    (work / ".inkflow").write_text("a file in the way")
    assert run_score() == 0
    assert (work / "s.parquet").exists()
    assert "watch: cannot write" in capsys.readouterr().err


def test_pictures(work: Path) -> None:
    """The SVG is well-formed and names each statistic; the PNG is an image; another suffix is refused."""
    assert run_score() == 0
    add_inverted(work)
    assert run_score() == 0
    assert main(["reader", "--picture", "p.svg"]) == 3
    text = "".join(ElementTree.parse(work / "p.svg").getroot().itertext())
    assert all(word in text for word in ("reader: ", "ink", "sharpness", "predicted classes", "limit"))
    assert "Alarms: 1 " in text
    assert main(["reader", "--picture", "p.png"]) == 3
    with Image.open(work / "p.png") as image:
        assert image.width > 1000
    with pytest.raises(InvalidInput, match=r"ends in .svg or .png"):
        main(["reader", "--picture", "p.pdf"])


def test_decisions_are_recorded(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After `--acknowledge` the same source is expected; after `--reset` it alarms again; both keep their reasons."""
    with pytest.raises(InvalidInput, match="no model was watched yet"):
        main(["--acknowledge", "why"])
    assert run_score() == 0
    add_inverted(work)
    assert run_score() == 0
    with pytest.raises(InvalidInput, match="empty reason"):
        main(["reader", "--acknowledge", " "])
    capsys.readouterr()
    assert main(["reader", "--acknowledge", "white paper from now on"]) == 0
    said = capsys.readouterr().out
    assert "what the next 500 images show is expected from then on, of " in said and "ink" in said
    add_inverted(work, "more")
    assert run_score() == 0
    assert main(["reader"]) == 0
    with pytest.raises(InvalidInput, match="nothing to acknowledge"):
        main(["reader", "--acknowledge", "again"])
    assert main(["reader", "--reset", "the old paper is back"]) == 0
    add_inverted(work, "third")
    assert run_score() == 0
    capsys.readouterr()
    assert main(["reader", "--json"]) == 3
    decisions = json.loads(capsys.readouterr().out)["models"][0]["decisions"]
    assert [item["action"] for item in decisions] == ["acknowledge", "reset"]
    assert decisions[0]["reason"] == "white paper from now on" and "ink is higher" in str(decisions[0]["alarms"])


def test_an_alarm_of_an_earlier_model_is_found(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of `inkflow status`, and the name, show and decide the alarm of a model trained again, or gone."""
    assert run_score() == 0
    add_inverted(work)
    assert run_score() == 0
    model, seen = work / "models/reader/model.onnx", standing_alarms(work)
    section = alarms_section(work, datetime.now(UTC))
    write_watched_reader(model, samples=1000)
    assert section is not None and len(section.needs) == len(seen) > 0
    command = section.needs[0].do.split("`")[1].split()
    assert command[:2] == ["inkflow", "monitor"] and inkflow(command[1:]) == 3
    capsys.readouterr()
    assert main(["reader"]) == 3
    printed = capsys.readouterr()
    assert seen[0].model_sha256[:12] in printed.out and "nothing was seen of this model yet" in printed.err
    model.unlink()
    assert main(["reader"]) == 3 and main(["reader", "--acknowledge", "known"]) == 0
    assert standing_alarms(work) == []
    capsys.readouterr()
    assert main(["reader"]) == 0 and "acknowledged: ink: 0 of 500 images" in capsys.readouterr().out


def test_a_damaged_record_hides_no_other(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name the others are shown, the damaged one is told, and the exit code is that of an error."""
    assert run_score() == 0
    (work / ".inkflow/watch" / f"{'0' * 64}.json").write_text("{")
    capsys.readouterr()
    assert main(["--json"]) == 2
    printed = capsys.readouterr()
    assert [model["model"] for model in json.loads(printed.out)["models"]] == ["reader"]
    assert printed.err.count("move the file away") == 1
    with pytest.raises(DataError, match="move the file away"):
        main(["--reset", "why"])


def test_errors_are_one_sentence(work: Path) -> None:
    """An unknown model, a model of which nothing was seen, and a damaged record each have their sentence."""
    with pytest.raises(InvalidInput, match="there is no model 'raeder'; did you mean 'reader'"):
        main(["raeder"])
    with pytest.raises(InvalidInput, match="nothing was seen of this model yet"):
        main(["reader"])
    assert run_score() == 0
    record = next((work / ".inkflow/watch").glob("*.json"))
    assert main([record.stem[:12]]) == 0
    write_watched_reader(work / "models/other/model.onnx", samples=1000)
    score.main(["--model=other", "--folder=inbox", "--out=o.parquet"])
    with pytest.raises(InvalidInput, match="2 models are watched; name one"):
        main(["--reset", "why"])
    record.write_text('{"format": 1}')
    with pytest.raises(DataError, match="move the file away"):
        main(["reader"])
