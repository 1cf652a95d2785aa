"""`prepare.validation: 0`: a training on all samples, its outputs, and what needs validation samples."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from stages.base.errors import InvalidInput, ParamsError
from stages.params.schema import check_params
from stages.train.training import main
from tests.support.learning import Folders, settings, write_data, write_params

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared data of which no sample is held out."""
    return write_data(tmp_path_factory.mktemp("all"), validation=0)


def train(folders: Folders, tmp_path: Path, **changes: Any) -> Path:
    """Trains a dense model by the stage's program and returns the folder of its outputs."""
    params, out = write_params(tmp_path / "params.yaml", tried=settings(**changes)), tmp_path / "out"
    paths = {"--data": folders.prepared, "--out": out, "--checkpoints": tmp_path / "checkpoints", "--params": params}
    assert main(["--model", "tried", *(str(part) for option in paths.items() for part in option)]) == 0
    return out


@pytest.mark.farm
def test_all_samples_are_trained_on(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The training part has all samples; the columns of the validation are there, and empty."""
    out = train(folders, tmp_path, metrics=["auc"], precision="bfloat16")
    lines = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert [(line["val_loss"], line["val_accuracy"], line["val_auc"]) for line in lines] == [("", "", "")] * 2
    summary = json.loads((out / "training.json").read_text())
    assert summary["samples"] == {"train": 240, "validation": 0}
    assert summary["validation"] is None
    assert summary["train"]["accuracy"] > 0.25
    assert "val_loss" not in capsys.readouterr().out


NEEDING: dict[str, dict[str, Any]] = {
    "early_stopping": {"early_stopping": {"patience": 2}},
    "keep: best": {"keep": "best"},
    "reduce_on_plateau": {"optimizer": {"name": "adam", "schedule": {"name": "reduce_on_plateau"}}},
}


@pytest.mark.parametrize("key", NEEDING)
def test_keys_that_need_validation_samples(folders: Folders, tmp_path: Path, key: str) -> None:
    """A key that needs validation samples is refused with one sentence, by the check of params.yaml and the stage."""
    with pytest.raises(InvalidInput, match=rf"^models\.tried: `.*{key}` needs validation samples, but .* is 0; set it"):
        train(folders, tmp_path, **NEEDING[key])
    content = json.loads((tmp_path / "params.yaml").read_text()) | {"prepare": {"validation": 0}}
    with pytest.raises(ParamsError, match=f"{key}` needs validation samples"):
        check_params(content)
