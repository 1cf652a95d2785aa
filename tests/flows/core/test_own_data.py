"""Own data: every kind of run finishes what a killed `inkflow data add --replace` has begun."""

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from flows.core.notices import note_once
from flows.core.own_data import RECORD, new_copy, remember
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine.run import Run
from flows.retrain import read_source_digests
from flows.scheduled import run_with_settings
from stages.base.errors import InkflowError
from tests.support.root import ROOT

DIGESTS = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), "0" * 64)
PARAMS = f"""\
dataset: pets
datasets:
  pets: {json.dumps({"title": "Pets", "path": "data/own/pets.npz", "sha256": DIGESTS})}
prepare: {{}}
models:
  dense: {{network: dense, units: [4], optimizer: {{name: adam}}, batch_size: 8, epochs: 1}}
report: {{}}
"""


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(lambda: run_with_settings({}, Run(["none"])), id="nightly run"),
        pytest.param(lambda: read_source_digests("pets"), id="retrain"),
        pytest.param(lambda: ProjectClones(Path()).remove_leftovers(), id="sweep"),
    ],
)
def test_every_kind_of_run_finishes_a_killed_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object]
) -> None:
    """A run of a deployment, `retrain`, and runs in clones move the copy into place before they read the data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path(".dvc").mkdir()
    Path(".dvc/config").touch()
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    for command in (["init", "--quiet"], ["add", ".dvc"], [*identity, "commit", "--quiet", "--message", "one"]):
        subprocess.run(["git", *command], check=True)
    Path("params.yaml").write_text(PARAMS)
    shutil.copyfile(ROOT / "params.schema.json", "params.schema.json")
    copy, place = new_copy(Path(), "pets", DIGESTS), Path("data/own/pets.npz")
    copy.parent.mkdir(parents=True)
    copy.write_text("new")
    place.write_text("old")
    with suppress(InkflowError):  # the data are no npz file, and there is no stage
        begin()
    assert (place.read_text(), copy.exists()) == ("new", False)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("data add", "data bad"),
        lambda text: text[:40],
        lambda text: '{"pets": 1}',
        lambda text: '{"pets": {"sources": {}}}',
    ],
)
def test_a_damaged_record_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[str], str],
) -> None:
    """A record that was changed tells no command to repeat; one line says what is not known without it."""
    monkeypatch.chdir(tmp_path)
    note_once.cache_clear()
    Path("pets.csv").touch()
    remember(Path(), "pets", ["inkflow", "data", "add", "pets", "pets.csv"], ["pets.csv"])
    remember(Path(), "more", ["inkflow", "data", "add", "more", "pets.csv"], ["pets.csv"])
    assert json.loads(RECORD.read_text())["pets"]["command"] == "inkflow data add pets pets.csv"
    RECORD.write_text(damage(RECORD.read_text()))
    remember(Path(), "third", ["inkflow", "data", "add", "third", "pets.csv"], ["pets.csv"])
    assert "pets" not in json.loads(RECORD.read_text())
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith(f"note: {RECORD} cannot be read (") and "are noticed again" in told[0]
