"""How models of two machines are tested: by class, by value, over seeds; and files that cannot be tested."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.report.statistics.paired_tests import paired_t_test
from stages.report.statistics.recipe_tests import recipe_test
from stages.verify.agreement import compare_models

LABELS = np.arange(200) % 2
RANDOM = np.random.default_rng(3)


def write(folder: Path, **columns: Any) -> Path:
    """Writes predictions of 200 samples."""
    folder.mkdir(parents=True)
    pd.DataFrame({"label": LABELS, "predicted": LABELS} | columns).to_parquet(folder / "predictions.parquet")
    return folder


def test_values_are_tested_by_their_errors(tmp_path: Path) -> None:
    """A regression is tested by the paired t test of the absolute errors, of which the sentence has the means."""
    target = LABELS.astype(float)
    errors = [RANDOM.normal(0, 0.1, 200), RANDOM.normal(0, 0.1, 200), RANDOM.normal(0, 0.3, 200)]
    folders = [write(tmp_path / str(n), target=target, value=target + error) for n, error in enumerate(errors)]
    same = compare_models({"a": folders[:2]})["a"]
    other = compare_models({"a": [folders[0], folders[2]]})["a"]
    assert (same["verdict"], other["verdict"]) == ("statistically equal", "different")
    assert same["p"] == pytest.approx(paired_t_test(abs(errors[0]), abs(errors[1])).p)
    assert other["low"] > 0 and "mean absolute error 0.0" in other["sentence"]


def test_several_seeds_are_tested_as_recipes(tmp_path: Path) -> None:
    """Two or more seeds on both sides are compared as recipes, and not by their exported weights alone."""
    answers = [np.where(RANDOM.random((3, 200)) < share, 1 - LABELS, LABELS) for share in (0.1, 0.12)]
    folders = [
        write(tmp_path / str(n), predicted=part[0], **{f"seed_{k}": row for k, row in enumerate(part)})
        for n, part in enumerate(answers)
    ]
    found = compare_models({"a": folders, "b": [folders[0], folders[0]], "c": folders})
    expected = recipe_test(*((part == LABELS).astype(float) for part in answers))
    assert expected is not None and found["a"]["p"] == pytest.approx(expected.p)
    assert "3 seeds here; 3 there" in found["a"]["sentence"] or "3 seeds here, 3" in found["a"]["sentence"]
    assert found["a"]["corrected_p"] == pytest.approx(min(1, 2 * expected.p))
    assert found["b"]["p"] == 1 and "Holm-corrected for 2 models" in found["a"]["sentence"]


@pytest.mark.parametrize("is_value", [False, True])
def test_equal_answers_make_no_test_stricter(tmp_path: Path, is_value: bool) -> None:
    """Models that are wrong on the same samples are equal, and are not counted by the correction of the others."""
    answers = {"a": np.where(np.arange(200) < 6, 1 - LABELS, LABELS), "b": LABELS}
    columns = {name: {"predicted": answer} for name, answer in answers.items()}
    if is_value:
        targets = {name: LABELS + RANDOM.normal(size, 0.1, 200) for name, size in (("a", 0.5), ("b", 0.45))}
        columns = {name: {"target": LABELS / 1, "value": value} for name, value in targets.items()}
    folders = {
        name: write(tmp_path / name, probability=[0.9 + shift] * 200, **columns[kind])
        for name, kind, shift in (("here", "a", 0), ("there", "b", 0), ("one", "a", 0), ("two", "a", 1e-7))
    }
    alone = compare_models({"a": [folders["here"], folders["there"]]})
    alike = {f"m{number}": [folders["one"], folders["two"]] for number in range(5)}
    found = compare_models({"a": [folders["here"], folders["there"]], **alike})
    assert found["a"] == alone["a"] and found["a"]["verdict"] == "different" and "Holm" not in found["a"]["sentence"]
    assert list(found) == ["a", *alike]
    for name in alike:
        assert (found[name]["verdict"], found[name]["p"], found[name]["tests"]) == ("statistically equal", 1.0, 1)
        assert "p = 1.00" in found[name]["sentence"] and "Holm" not in found[name]["sentence"]


@pytest.mark.parametrize(("samples", "models", "verdict"), [(5, 1, "unknown"), (6, 1, "different"), (6, 2, "unknown")])
def test_too_few_samples_are_never_called_equal(samples: int, models: int, verdict: str, tmp_path: Path) -> None:
    """Where no test could show a difference, all answers wrong on one side alone are unknown; equal ones are equal."""
    labels = LABELS[:samples]
    for side, answers in (("here", labels), ("there", 1 - labels)):
        (tmp_path / side).mkdir()
        table = pd.DataFrame({"label": labels, "predicted": answers})
        table.to_parquet(tmp_path / side / "predictions.parquet")
    found = compare_models({str(n): [tmp_path / "here", tmp_path / "there"] for n in range(models)})["0"]
    assert found["verdict"] == verdict and ("too few" in found["sentence"]) == (verdict == "unknown")
    assert compare_models({"a": [tmp_path / "here"] * 2})["a"]["verdict"] == "statistically equal"


@pytest.mark.parametrize(
    ("columns", "verdict", "reason"),
    [
        ({"label": LABELS[::-1]}, "not comparable", "labels of the test samples differ"),
        ({"predicted": [None] * 200}, "unknown", "there: predictions.parquet"),
        ({"predicted": ["x"] * 200}, "unknown", "there: predictions.parquet cannot be read"),
        ({"target": LABELS / 1, "value": LABELS / 1}, "not comparable", "other test data"),
        ({"target": LABELS / 1, "value": np.full(200, np.nan)}, "unknown", "no finite number"),
    ],
)
def test_what_cannot_be_tested(columns: dict[str, Any], verdict: str, reason: str, tmp_path: Path) -> None:
    """Other labels, another task and answers that are no numbers are said, and never called equal."""
    found = compare_models({"a": [write(tmp_path / "here"), write(tmp_path / "there", **columns)]})["a"]
    assert found["verdict"] == verdict and reason in found["sentence"]


def test_broken_files(tmp_path: Path) -> None:
    """A missing and a broken file are unknown; scores that do not count the answers make the model different."""
    here, there = write(tmp_path / "here"), write(tmp_path / "there")
    (there / "metrics.json").write_text(json.dumps({"errors": 3, "samples": 200}))
    found = compare_models({"a": [here, there], "b": [here, tmp_path / "nowhere"]})
    assert found["a"]["verdict"] == "different" and "metrics.json has 3 errors of 200" in found["a"]["sentence"]
    assert found["b"]["verdict"] == "unknown"
    (there / "predictions.parquet").write_bytes(b"PAR1 damaged PAR1")
    assert compare_models({"a": [here, there]})["a"]["verdict"] == "unknown"


@pytest.mark.parametrize(
    "metadata", ["[]", "3", pytest.param("[" * 100_000, id="nested"), '{"index_columns": [], "columns": [7]}']
)
def test_tables_of_another_form(metadata: str, tmp_path: Path) -> None:
    """Metadata of another form, and a column that is there twice, make the answers unknown."""
    here, there = write(tmp_path / "here"), write(tmp_path / "there")
    table = pa.table([LABELS, LABELS, LABELS], ["label", "predicted", "predicted"])
    pq.write_table(table, there / "predictions.parquet")
    assert compare_models({"a": [here, there]})["a"]["verdict"] == "unknown"
    table = pa.table({"label": LABELS, "predicted": LABELS}).replace_schema_metadata({"pandas": metadata})
    pq.write_table(table, there / "predictions.parquet")
    assert "predictions.parquet cannot be read" in compare_models({"a": [here, there]})["a"]["sentence"]
