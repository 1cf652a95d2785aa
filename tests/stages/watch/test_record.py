"""The record of a watched model: what is added to it, by several writers too, its alarms, and decisions about them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.digests import KEY
from stages.base.errors import DataError, OutputError
from stages.predict.classifier import open_classifier
from stages.predict.watcher import NO_REFERENCE, WatchedClassifier, Watcher, watched
from stages.watch.comparisons import Comparison, MeanTest
from stages.watch.record import Record, locked, read_record, write_record
from stages.watch.sentences import acknowledged
from stages.watch.update import MAX_POINTS, acknowledge, reset, update
from tests.support.pictures import write_reader
from tests.support.root import ROOT
from tests.support.watched import digits, write_watched_reader

SHA = "a" * 64
MOMENT = "2026-11-28T10:00:00+00:00"
COIN_SCORES = np.array([0.0, 1.0])
WRITER = """
import sys
import numpy as np
from tests.stages.watch.test_record import open_watched, show
watcher = open_watched()
for number in range(10):
    show(watcher, 7, int(sys.argv[1]) * 10 + number)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a project with the model `reader` that has a reference."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    write_watched_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


def open_watched() -> WatchedClassifier:
    """Returns the model of the current folder with its watcher."""
    return watched(open_classifier(Path("models/reader/model.onnx")), SHA, {})


def show(classifier: WatchedClassifier, images: int | NDArray[np.float32], seed: int = 0) -> list[str]:
    """Shows healthy or the given images to the model, saves, and returns the statistics with new alarms."""
    pixels = digits(images, seed).astype(np.float32) if isinstance(images, int) else images
    watcher = classifier.watcher
    assert isinstance(watcher, Watcher)
    list(classifier.answers(pixels))
    watcher.keep()
    return [alarm.statistic for alarm in watcher.save()]


def test_an_empty_list_of_ignored_files_is_written_again(tmp_path: Path) -> None:
    """A full disk can have left it empty; one with other content is the user's."""
    (tmp_path / ".gitignore").touch()
    (tmp_path / ".dvcignore").write_text("*.json\n")
    with locked(tmp_path, SHA):
        assert (tmp_path / ".gitignore").read_text() == "*\n"
        assert (tmp_path / ".dvcignore").read_text() == "*.json\n"


def stored() -> Record:
    """Returns the record of the current folder."""
    record = read_record(Path(f".inkflow/watch/{SHA}.json"))
    assert record is not None
    return record


def test_healthy_images_raise_no_alarm_and_a_change_raises_one(work: Path) -> None:
    """2,000 images like those of the training raise none; 60 inverted ones raise alarms, once; no image is stored."""
    model = open_watched()
    assert [show(model, 500, seed) for seed in range(4)] == [[], [], [], []]
    assert "ink" in show(model, 255 - digits(60).astype(np.float32))
    assert "ink" not in show(model, 255 - digits(60, 1).astype(np.float32))
    record = stored()
    assert (record.images, record.all_images) == (2120, 2120)
    ink = next(alarm for alarm in record.alarms if alarm.statistic == "ink")
    assert "ink is higher" in ink.sentence and ink.images == 2060 and ink.id.startswith("aaaaaaaaaaaa.ink.")
    files = {path.name for path in (work / ".inkflow/watch").iterdir()}
    assert files == {f"{SHA}.json", f"{SHA}.lock", ".gitignore", ".dvcignore"}
    assert (work / f".inkflow/watch/{SHA}.json").stat().st_size < 50_000


def test_an_acknowledged_source_is_expected_and_watched_on(work: Path) -> None:
    """After `acknowledge` the same source is silent and another change is found; after `reset` it is found again."""
    model, dark = open_watched(), digits(400).astype(np.float32) * np.float32(0.4)
    assert "ink" in show(model, dark)
    record = stored()
    assert "ink" in acknowledge(record, "a darker scanner", "ada", "2026-11-28T10:00:00+00:00")
    write_record(work / ".inkflow/watch", record)
    assert show(model, dark) == [] and show(model, dark) == []
    assert stored().decisions[0].reason == "a darker scanner" and "ink is lower" in str(stored().decisions[0].alarms)
    assert "ink" in show(model, 255 - dark)
    record = stored()
    reset(record, "the scanner was repaired", "ada", "2026-11-28T11:00:00+00:00")
    write_record(work / ".inkflow/watch", record)
    assert stored().alarms == [] and len(stored().decisions) == 2
    assert "ink" in show(model, dark)


def test_an_early_acknowledgement_switches_no_test_off(work: Path) -> None:
    """After a decision at the first alarm 500 images are measured; the same source is silent, a stronger change not."""
    model, darker = open_watched(), np.float32(0.4)

    def half_dark(count: int, seed: int) -> NDArray[np.float32]:
        pixels = digits(count, seed).astype(np.float32)
        pixels[::2] *= darker
        return pixels

    found, seed = [], 0
    while "ink" not in found and seed < 20:
        found, seed = show(model, half_dark(50, seed)), seed + 1
    record = stored()
    assert record.images < 300 and acknowledge(record, "a second scanner", "ada", "2026-11-28T10:00:00+00:00")
    write_record(work / ".inkflow/watch", record)
    assert "ink" not in show(model, half_dark(120, 50))
    ink = next(item for item in stored().comparisons if item.name == "ink")
    assert acknowledged(ink) == ["ink: 120 of 500 images are measured, then it is tested"]
    assert "ink" not in show(model, half_dark(3000, 51))
    lower = next(item for item in stored().comparisons if item.name == "ink").tests[1]
    assert lower.measuring is None and lower.accepted is not None and lower.accepted < 0.95
    assert "ink" in show(model, digits(1000, 52).astype(np.float32) * darker)
    assert "acknowledged is at least" in next(one.sentence for one in stored().alarms if one.statistic == "ink")


def test_what_was_acknowledged_keeps_the_rate() -> None:
    """Of 100 streams whose new share was acknowledged at the alarm, at most one raises another in 4,000 images."""
    coin = Comparison("coin", ("0", "1"), (), (7, 3), (MeanTest("more", COIN_SCORES, 0.3),))
    random, again = np.random.default_rng(3), 0
    for _ in range(100):
        record = Record(model_sha256=SHA, model="coin", rate=0.01, first=MOMENT, last=MOMENT)
        while not update(record, [coin], (random.random((10, 1)) < 0.6).astype(int), ""):
            assert record.images < 2000
        assert acknowledge(record, "why", "ada", "") == ["coin"]
        for _ in range(10):
            update(record, [coin], (random.random((400, 1)) < 0.6).astype(int), "")
        again += len(record.alarms)
        assert record.comparisons[0].tests[0].measuring is None
    assert again <= 1
    assert update(record, [coin], np.ones((1000, 1), int), "") or record.alarms


def test_several_writers_lose_nothing(work: Path) -> None:
    """Two processes that add to one record at the same time lose none of their images."""
    command = [sys.executable, "-c", WRITER]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([*command, str(number)], env=environment) for number in range(2)]
    assert [writer.wait(240) for writer in writers] == [0, 0]
    assert stored().all_images == 2 * 10 * 7


@pytest.mark.farm
def test_the_record_stays_small(work: Path) -> None:
    """After 150 updates the history has at most its number of points, and the last one is there."""
    model = open_watched()
    for seed in range(150):
        show(model, 2, seed)
    record = stored()
    assert len(record.history) <= MAX_POINTS and record.history[-1].images == record.images == 300


def test_a_damaged_record_is_moved_aside(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that is no JSON, or of another form, is kept beside an earlier one, told, and the watch begins anew."""
    model = open_watched()
    show(model, 10)
    path = work / f".inkflow/watch/{SHA}.json"
    for content, suffix in (("{", ".damaged"), (json.dumps({"format": 2}), ".damaged-2")):
        path.write_text(content)
        show(model, 10)
        assert stored().images == 10 and path.with_suffix(suffix).read_text() == content
        assert f"is now {path.with_suffix(suffix)}" in capsys.readouterr().err
    assert path.with_suffix(".damaged").read_text() == "{"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("first",), "yesterday"),
        (("last",), "2026-11-28T10:00:00"),
        (("images",), -1000),
        (("all_images",), 10**400),
        (("history", 0, "evidence", "ink"), math.inf),
        (("comparisons", 0, "limit"), 400.0),
        (("comparisons", 0, "limit"), math.nan),
        (("comparisons", 0, "evidence"), 1e300),
        (("comparisons", 0, "recent"), []),
        (("comparisons", 0, "bins"), ["0"]),
        (("comparisons", 0, "reference"), [0] * 10),
        (("comparisons", 1, "bins"), ["sure"]),
        (("comparisons", -1, "edges"), []),
        (("comparisons", 0, "tests"), []),
        (("comparisons", 0, "tests", 3, "wealth"), [0.0]),
        (("comparisons", 0, "tests", 3, "since"), "yesterday"),
        (("comparisons", 0, "tests", 3, "total"), math.nan),
    ],
)
def test_a_record_with_impossible_values_is_damaged(
    work: Path, capsys: pytest.CaptureFixture[str], place: tuple[str | int, ...], value: object
) -> None:
    """A record whose times, numbers or lengths cannot be used is an error that names it, and is moved aside."""
    model = open_watched()
    show(model, 10)
    path = work / f".inkflow/watch/{SHA}.json"
    content = json.loads(path.read_text())
    content.pop(KEY)
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="is not as expected"):
        read_record(path)
    show(model, 10)
    assert stored().images == 10 and "is damaged or of a newer version" in capsys.readouterr().err


def test_a_record_of_an_earlier_version_is_read(work: Path) -> None:
    """A record without the digest of its content, which this version would write, is read as it is."""
    show(open_watched(), 10)
    path = work / f".inkflow/watch/{SHA}.json"
    content = json.loads(path.read_text())
    content.pop(KEY)
    path.write_text(json.dumps(content))
    assert stored().images == 10


def test_a_record_that_cannot_be_moved_or_read_loses_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either is an error of the record that callers expect; the file stays, and what was seen counts later."""
    model = open_watched()
    path = work / f".inkflow/watch/{SHA}.json"
    path.mkdir(parents=True)  # cannot be read, whoever asks
    with pytest.raises(OutputError, match="is a folder"):
        show(model, 10)
    path.rmdir()
    path.write_text("{")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OutputError, match="Permission denied"):
            show(model, 10)
    assert path.read_text() == "{"
    show(model, 10)
    assert stored().images == 30


def test_a_model_without_a_reference_is_told(work: Path) -> None:
    """A model of an earlier version, or with a reference that does not fit it, is an error that says what to do."""
    write_reader(work / "models/reader/model.onnx")
    with pytest.raises(DataError, match=NO_REFERENCE):
        open_watched()
    other = '{"samples": 2, "classes": [1, 1], "unsure": [], "crop": [0, 0, 0, 0], "statistics": {}}'
    for text, problem in (('{"samples": 1}', "not an object of"), ("[", "invalid reference"), (other, "other classes")):
        write_watched_reader(work / "models/reader/model.onnx", reference={"inkflow.reference": text})
        with pytest.raises(DataError, match=problem):
            open_watched()


def test_a_folder_that_cannot_be_written_loses_nothing(work: Path) -> None:
    """What was seen is kept until the record can be written again."""
    model = open_watched()
    (work / ".inkflow").write_text("a file in the way")
    with pytest.raises(OutputError, match="watch"):
        show(model, 10)
    (work / ".inkflow").unlink()
    show(model, 5)
    assert stored().images == 15
