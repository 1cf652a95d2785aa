"""Versions that must not be compared or ranked together: other test samples, other validation samples."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.experiments.search.comparability import SAMPLE_KEYS, changing_loss, changing_samples
from stages.data.config import Prepare
from stages.model.config import CustomModel, DenseModel
from stages.report.check_gates import check_run
from stages.report.comparability import LOSS_KEYS, SPLIT, TARGETS
from stages.report.compare_runs import Version, compare_runs, record
from stages.report.compare_runs import main as compare_program
from tests.support.html_page import Page
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on digits with two models; read-only."""
    return finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"cnn": (16,), "dense": (4,)}, epochs=2)


def test_keys_are_those_of_the_schema() -> None:
    """The keys exist, with the same defaults, and a sweep goes by them too."""
    assert {key: Prepare.model_fields[key.removeprefix("prepare.")].default for key in SPLIT} == SPLIT
    assert {key: DenseModel.model_fields[key].default for key in TARGETS} == TARGETS
    assert set(LOSS_KEYS) <= set(CustomModel.model_fields)
    assert changing_samples(SAMPLE_KEYS) == list(SAMPLE_KEYS)
    assert changing_loss([f"models.mine.{key}" for key in LOSS_KEYS]) == [f"models.mine.{key}" for key in LOSS_KEYS]


@pytest.mark.parametrize(("part", "status"), [("test", "not judged"), ("train", "passed"), ("scaled", "passed")])
def test_the_accepted_version_saw_the_same_images(finished: Run, tmp_path: Path, part: str, status: str) -> None:
    """The gate `accepted` is not judged on other test images with equal labels.

    Other training images and another normalisation leave the test images as they are.
    """
    digits = small_digits()
    other = digits
    if part != "scaled":
        images = getattr(digits, f"x_{part}")
        other = digits._replace(**{f"x_{part}": np.ascontiguousarray(images[:, :, ::-1])})
    accepted = finish_run(tmp_path / "accepted", other, {"cnn": (16,), "dense": (4,)}, epochs=2)
    if part == "scaled":
        accepted.edit("data/prepared/prepared.json", normalise="standard", offset=0.1, scale=0.3)
    checks = [check for check in check_run(finished.root, accepted.root).checks if check.gate == "accepted"]
    assert [check.status for check in checks if check.model == "cnn"] == [status]
    sentence = "the accepted version was examined on other images or labels"
    assert [check.sentence == sentence for check in checks] == [status == "not judged"] * 2


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ({"validation": 0.3}, "prepare.validation differs"),
        ({"validation": 0.3, "seed": 4}, "prepare.validation and prepare.seed differ"),
        ({"validation": 0.1, "held_out": "random"}, ""),  # the defaults, written out
        ({"normalise": "standard"}, ""),
    ],
)
def test_other_validation_samples_rank_nothing(
    finished: Run, tmp_path: Path, prepare: dict[str, Any], reason: str
) -> None:
    """Versions with other validation samples are compared on the test images, and none of their models is chosen."""
    new = Run(Path(shutil.copytree(finished.root, tmp_path / "new")))
    new.edit("params.yaml", prepare={"normalise": "unit", **prepare})
    new.edit("models/dense/training.json", validation={"loss": 1e-6, "accuracy": 0.999})
    (new.root / "models/dense/model.onnx").write_bytes(b"another one")
    versions = [f"--old=main={finished.root}", f"--new=workspace={new.root}"]
    assert compare_program([*versions, "--out", str(tmp_path / "out")]) == 0
    text = Page((tmp_path / "out/index.html").read_text()).text("body")
    facts = compare_runs(Version("main", finished.root), Version("workspace", new.root)).facts
    assert (facts.lead.chosen is None) == bool(reason) and facts.lead.incomparable.endswith(reason)
    if reason:
        clause = f"the validation scores of main and workspace are of different samples, since {reason}."
        assert f"The order is that of the names: {clause}" in text and "Models by name" in text
        assert [model.name for model in facts.models] == ["cnn", "dense@main", "dense@workspace"]
    else:
        assert facts.lead.best.name == "dense@workspace" and "Ranking by validation loss" in text


def test_other_training_images_rank_nothing(finished: Run, tmp_path: Path) -> None:
    """Validation samples out of other training images are others, whatever the parameters say."""
    digits = small_digits()
    mirrored = digits._replace(x_train=np.ascontiguousarray(digits.x_train[:, :, ::-1]))
    other = finish_run(tmp_path, mirrored, {"cnn": (16,), "dense": (4,)}, epochs=2)
    comparison = compare_runs(Version("a", finished.root), Version("b", other.root))
    assert comparison.facts.lead.chosen is None and comparison.changes.keys() == {"cnn", "dense"}
    assert comparison.facts.lead.incomparable.endswith("since the training data differ")


def test_a_model_of_another_task_is_not_compared(tmp_path: Path) -> None:
    """Where a model has another task in the two versions, the comparison and the gate say so, and name the model."""
    old, new = shaped_run(tmp_path / "old", 2, 4), shaped_run(tmp_path / "new", 1, 4, "regression")
    found = record(compare_runs(Version("old", old.root), Version("new", new.root)))
    assert found["headline"] == "No changed model can be compared" and found["models"] == found["unchanged"] == []
    assert found["evidence"] == "Not compared, of another task or other targets: model_00."
    (check,) = (check for check in check_run(new.root, old.root).checks if check.gate == "accepted")
    assert (check.status, check.sentence) == ("not judged", "the accepted version has another task or other targets")
    (new.root / "params.yaml").write_text((new.root / "params.yaml").read_text().replace("model_00", "other"))
    for part in ("models", "evaluation"):
        (new.root / part / "model_00").rename(new.root / part / "other")
    new.edit("models/other/training.json", model="other")
    renamed = compare_runs(Version("old", old.root), Version("new", new.root))
    assert renamed.verdict == ("The two versions have no model in common", "")
