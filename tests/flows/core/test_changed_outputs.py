"""The commands that read outputs without DVC refuse a damaged model, and name other outputs that differ."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.core.commit import is_judged, require_undamaged
from flows.core.errors import NoStages
from flows.core.notices import note_once
from flows.status.local_sections import data_section, gates_section
from stages.base.digests import file_md5
from stages.base.errors import InvalidInput

TRAINED = ("models/a/model.onnx", "models/a/model.keras", "models/a/training.json")
DOWNLOADED = ("data/raw/dataset.json", "data/raw/dataset.npz", "data/raw/groups.npz")
REPORTED = ("reports/gates.json", "reports/models.json")
GATES = json.dumps({"passed": True, "checks": [], "note": "", "models": {}})
DATA = json.dumps({"name": "digits", "arrays": {}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project as its dvc.lock records it."""
    lock = "schema: '2.0'\nstages:\n"
    for stage, paths in {"train@a": TRAINED, "download": DOWNLOADED, "report": REPORTED}.items():
        lock += f"  {stage}:\n    outs:\n"
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text({REPORTED[0]: GATES, DOWNLOADED[0]: DATA}.get(path, path))
            lock += f"    - path: {path}\n      hash: md5\n      md5: {file_md5(tmp_path / path)}\n"
    (tmp_path / "dvc.lock").write_text(lock)
    return tmp_path


def test_a_damaged_model_is_refused(root: Path) -> None:
    """The message names the most common causes and each remedy."""
    require_undamaged(root, is_judged)
    (root / TRAINED[0]).write_text("damaged")
    with pytest.raises(
        InvalidInput, match=r"a/model\.onnx is not .* `dvc checkout` or `inkflow run` .*`dvc commit` keeps"
    ):
        require_undamaged(root, is_judged)


def test_data_of_a_download_by_hand_are_used(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups that are not held out are equal for all data sets: the other files are named, and not refused."""
    for path in DOWNLOADED[:2]:
        (root / path).write_text(DATA.replace("digits", "other"))
    require_undamaged(root, is_judged)
    assert capsys.readouterr().err.startswith("warning: data/raw/dataset.json is not the file that dvc.lock records")


def test_archives_and_unread_files_are_not_hashed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gates and comparisons compare those files that they read and that have no checksums of their own."""
    for path in ("data/raw/dataset.npz", "data/raw/groups.npz", "models/a/model.keras"):
        (root / path).write_text("other")
        assert not is_judged(path)
    require_undamaged(root, is_judged)
    assert capsys.readouterr().err == ""
    assert is_judged("evaluation/a/predictions.parquet") and is_judged("evaluation/a/metrics.json")


def test_status_after_stages_run_by_hand(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No person is needed; one that cannot be read is damaged, and needs one."""
    note_once.cache_clear()  # the same sentence was perhaps printed for another project
    (root / DOWNLOADED[0]).write_text(DATA.replace("digits", "other"))
    (root / REPORTED[0]).write_text(GATES + "\n")
    data, gates = data_section(root, datetime.now(UTC)), gates_section(root)
    assert data is not None and data.needs == () and data.lines[0].startswith("other ")
    assert gates is not None and gates.needs == ()
    errors = capsys.readouterr().err
    assert "note: data/raw/dataset.json is not" in errors and "note: reports/gates.json is not" in errors
    (root / REPORTED[0]).write_text("{")
    broken = gates_section(root)
    assert broken is not None and "reports/gates.json cannot be read" in broken.needs[0].what


def test_a_project_without_stages_says_what_to_restore() -> None:
    """The sentence names both files, and counts the stages."""
    assert "dvc.lock records outputs of 3 stages; restore dvc.yaml with `git checkout dvc.yaml`" in str(NoStages(3))
    assert "outputs of 1 stage; " in str(NoStages(1))
