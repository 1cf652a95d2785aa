"""The gate `accepted` where the test images are too few for any verdict."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.report import gates
from stages.report.check_gates import check_run
from tests.support.report_data import Run, finish_run, small_digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with digits and a poor model; read-only."""
    return finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (2,)}, epochs=1)


def cut(run: Run, samples: int, wrong: int) -> None:
    """Leaves `samples` test images, of which the model has the first `wrong` ones wrong."""
    description = json.loads((run.root / "data/raw/dataset.json").read_text())
    for name in ("x_test", "y_test"):
        description["arrays"][name]["shape"][0] = samples
    run.edit("data/raw/dataset.json", arrays=description["arrays"])
    with np.load(run.root / "data/raw/dataset.npz") as arrays:
        content = {name: part[:samples] if name.endswith("_test") else part for name, part in arrays.items()}
    np.savez(run.root / "data/raw/dataset.npz", **content)
    path = run.root / "evaluation/dense/predictions.parquet"
    table = pd.read_parquet(path).head(samples)
    answers = table["label"].to_numpy().copy()
    answers[:wrong] = (answers[:wrong] + 1) % 10
    table.assign(predicted=answers).to_parquet(path)
    run.edit("evaluation/dense/metrics.json", errors=wrong, samples=samples, accuracy=(samples - wrong) / samples)


@pytest.mark.parametrize(
    ("samples", "now", "before", "status"),
    [
        (5, 5, 0, "not judged"),  # all became wrong: 2 / 2**5 is no significant p-value
        (6, 6, 0, "failed"),
        (5, 0, 5, "passed"),
        (5, 1, 1, "passed"),
    ],
)
def test_too_few_images_to_show_that_a_model_is_worse(
    finished: Run, tmp_path: Path, samples: int, now: int, before: int, status: str
) -> None:
    """A model that is worse on fewer than six images is not judged; one that is not worse passes."""
    shutil.copytree(finished.root, tmp_path / "now")
    run = Run(tmp_path / "now")
    shutil.copytree(run.root, tmp_path / "accepted")
    cut(run, samples, now)
    cut(Run(tmp_path / "accepted"), samples, before)
    (check,) = (check for check in check_run(run.root, tmp_path / "accepted").checks if check.gate == "accepted")
    assert check.status == status and ("too few to tell" in check.sentence) == (status == "not judged")


MODEL: Any = SimpleNamespace(name="a", noun="sample", labels=[0.0] * 4, test_name="the test")


@pytest.mark.parametrize(
    ("pair", "status", "words"),
    [
        (None, "not judged", "has another task or other targets"),
        ((-1.0, 0.9, None), "passed", "not shown to be worse"),  # a regression: its test can differ on few samples
        ((-1.0, 0.01, None), "failed", "worse than"),
        ((-1.0, 0.9, True), "not judged", "too few to tell"),
    ],
)
def test_a_comparison_of_two_versions(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[float, float, Any] | None, status: str, words: str
) -> None:
    """Versions with another task are not judged; the bound of six images is that of classifiers."""
    test = SimpleNamespace(**dict(zip(("difference", "p", "agreement"), pair, strict=True))) if pair else None
    monkeypatch.setattr(gates, "compare", lambda *_: test and SimpleNamespace(test=test, difference_text="1"))
    check = gates._not_worse("accepted", MODEL, MODEL, "the other")
    assert (check.status, words in check.sentence) == (status, True)


def test_a_new_model_has_no_accepted_version() -> None:
    """A model that the accepted version lacks is not judged, whatever its test images."""
    facts: Any = SimpleNamespace(data=SimpleNamespace(has_same_test_part=lambda _: False), models=[])
    check = gates._not_worse_than_accepted(facts, MODEL, facts)
    assert (check.status, check.sentence) == ("not judged", "the accepted version does not exist")
