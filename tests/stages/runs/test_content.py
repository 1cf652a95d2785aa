"""What the page over all versions shows: which model is chosen, intervals, verdicts, predictions, pictures."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.cli.runs.report_runs import collect
from stages.base.errors import DataError
from stages.data.datasets import Description
from stages.report.statistics.intervals import wilson_interval
from stages.report.statistics.paired_tests import mcnemar_test, paired_t_test
from stages.runs import runs
from stages.runs.content import page_content
from stages.runs.predictions import compare, corrected, encode, read_predictions
from stages.runs.scores import best_model, is_smaller_better, metric_names, model_scores
from stages.runs.sprite import sprite
from tests.support.runs_pages import row


@pytest.fixture(scope="module")
def content(history: Path) -> dict[str, Any]:
    """The content of the page of a project."""
    return page_content(collect(history))


def test_validation_chooses() -> None:
    """The lowest validation loss chooses, whatever the test scores; the accuracy where the loss functions differ."""
    models = {
        "a": model_scores({"validation": {"loss": 0.2, "accuracy": 0.9}, "test": {"errors": 1, "samples": 100}}),
        "b": model_scores({"validation": {"loss": 0.1, "accuracy": 0.8}, "test": {"errors": 9, "samples": 100}}),
    }
    assert best_model(models, {}) == "b"
    assert best_model(models, {"models.b.loss": "hinge"}) == "a"
    sparse = {"models.a.loss": "sparse_categorical_crossentropy", "models.b.loss": "categorical_crossentropy"}
    assert best_model(models, sparse) == "b"  # one loss, of labels in two forms
    assert best_model(models, {"models.b.arguments.width": 3}) == "a"  # an own network may have penalties
    assert best_model({}, {}) == "" and best_model({"x": {}}, {}) == ""


def test_intervals_are_wilsons() -> None:
    """Test and validation errors have Wilson's interval; scores that are no numbers are left out."""
    scores = model_scores(
        {"validation": {"accuracy": 0.95, "samples": 200, "loss": "nan"}, "test": {"errors": 3, "samples": 50}}
    )
    low, high = wilson_interval(3, 50)
    assert scores["test"]["low"] == pytest.approx(low, rel=1e-5) and scores["test"]["high"] == pytest.approx(
        high, rel=1e-5
    )
    assert scores["low"] == pytest.approx(wilson_interval(10, 200).low, rel=1e-5) and "loss" not in scores
    assert "test" not in model_scores({"test": {"errors": 5, "samples": 0}})
    assert model_scores({"test": {"errors": 5, "samples": 9, "mae": 0.5}})["test"] == {"mae": 0.5}


def test_verdicts_are_paired_tests(content: dict[str, Any]) -> None:
    """Each version's chosen model is tested against the baseline's on the same images: the version checked out."""
    assert content["baseline"] == row(content, "back")["id"] and row(content, "back")["verdict"] is None
    found = next(item["verdict"] for item in content["rows"] if item["verdict"] and "p" in item["verdict"])
    assert row(content, "rate-1")["verdict"]["verdict"] == "the same"  # another model of it is varied
    assert found["verdict"] in ("better", "worse", "cannot tell") and 0 <= found["p"] <= 1
    assert found["unit"] == "accuracy" and -1 < found["difference"] < 1
    assert row(content, "broken")["verdict"] is None


def test_the_report_names_the_chosen_model(history: Path) -> None:
    """The best model that a version's report names is the chosen one, as with several tasks; others by their scores."""
    facts = collect(history)
    first, back = (next(item for item in facts["versions"] if item["title"] == title) for title in ("first", "back"))
    first["chosen"], back["chosen"] = "dense", "gone"
    found = page_content(facts)
    assert row(found, "first")["best"] == "dense"
    assert row(found, "back")["best"] == best_model(row(found, "back")["models"], {}) != ""


def test_without_validation_scores_none_is_chosen(history: Path) -> None:
    """Versions whose report chose no model, without validation scores, have no best one, but a baseline."""
    facts = collect(history)
    for version in facts["versions"]:
        version["chosen"] = ""
        for model in version["models"].values():
            model.pop("validation", None)
    found = page_content(facts)
    assert {item["best"] for item in found["rows"]} == {""} and {item["verdict"] for item in found["rows"]} == {None}
    assert found["baseline"] == row(found, "back")["id"]
    assert row(found, "back")["models"]["cnn"]["test"]["samples"] == 400


def test_versions_with_the_same_predictions_share_a_test(history: Path) -> None:
    """Each different file of predictions is one test; versions with those of the baseline need none: `the same`."""
    facts = collect(history)
    found = page_content(copy.deepcopy(facts))
    same = row(found, "first")["verdict"]  # `back` has its results once more
    assert same == {"difference": 0.0, "verdict": "the same"}
    chosen = [(item, item["models"][item["best"]]["predictions"]) for item in found["rows"] if item["best"]]
    hashes = {digest: item["verdict"] for item, digest in chosen if item["verdict"] not in (None, same)}
    predictions = read_predictions(facts["files"])
    reference = row(found, "back")["models"][row(found, "back")["best"]]["predictions"]
    tests = [test for digest in hashes if (test := compare(predictions[digest], predictions[reference]))]
    assert list(hashes.values()) == corrected(tests) and 1 < len(tests) < len(chosen) / 2
    copies = [{**item, "id": f"copy {number}"} for number in range(30) for item in facts["versions"][-1:]]
    more = page_content(copy.deepcopy({**facts, "versions": [*facts["versions"], *copies]}))
    verdicts = [item["verdict"] for item in found["rows"]]
    assert [item["verdict"] for item in more["rows"]] == [*verdicts, *[verdicts[-1]] * 30]


def test_equal_labels_of_other_images_are_no_test(history: Path, tmp_path: Path) -> None:
    """Versions on other test images have no verdict and are not counted by the correction, even with equal labels.

    Other training images alone do not matter; without a description, the hash of the data decides.
    """
    facts = collect(history)
    found = page_content(copy.deepcopy(facts))
    chosen = {item["id"]: item["models"].get(item["best"], {}).get("predictions") for item in found["rows"]}
    tested = [item["id"] for item in found["rows"] if item["verdict"] and "p" in item["verdict"]]
    digests = list(dict.fromkeys(chosen[name] for name in tested))
    elsewhere = {name for name in tested if chosen[name] in digests[::2]}
    for part in ("here", "there"):
        arrays = {name: {"sha256": part} for name in ("x_test", "y_test")}
        (tmp_path / part).write_text(json.dumps({"arrays": arrays}))
        facts["files"][part] = str(tmp_path / part)
    for version in facts["versions"]:
        is_there = version["id"] in elsewhere or version["dataset"] != "mnist"
        version["description"] = "there" if is_there else "here"
        version["data"] = {"data/raw/dataset.npz": f"with other training images: {version['id']}"}
    verdicts = {item["id"]: item["verdict"] for item in page_content(copy.deepcopy(facts))["rows"]}
    predictions = read_predictions(facts["files"])
    pairs = [(predictions[digest], predictions[chosen[found["baseline"]]]) for digest in digests[1::2]]
    expected = dict(zip(digests[1::2], corrected([test for pair in pairs if (test := compare(*pair))]), strict=True))
    assert elsewhere and expected and {verdicts[name] for name in elsewhere} == {None}
    assert {name: verdicts[name] for name in tested if name not in elsewhere} == {
        name: expected[chosen[name]] for name in tested if name not in elsewhere
    }
    (tmp_path / "here").write_text('{"arrays": []}')
    assert {bool(item["verdict"]) for item in page_content(facts)["rows"]} == {False}


def test_many_tests_are_corrected(content: dict[str, Any]) -> None:
    """The p-values of the column are corrected by Holm over all tests, and give the verdicts."""
    verdicts = [item["verdict"] for item in content["rows"] if item["verdict"] and "p" in item["verdict"]]
    one = {"difference": 0.01, "p": 0.01, "unit": "accuracy", "verdict": "better"}
    single, many = corrected([one]), corrected([one] * 20)
    assert single == [one] and {(test["p"], test["verdict"]) for test in many} == {(0.2, "cannot tell")}
    assert corrected([]) == [] and len(verdicts) > 5
    assert all((item["p"] < 0.05) == (item["verdict"] != "cannot tell") for item in verdicts)


def test_predictions_take_little_memory(tmp_path: Path) -> None:
    """Models with the same test images share their labels, and classes take a byte each, whatever the file's type."""
    for name, first in (("a", 0), ("b", 300)):
        frame = {"label": np.arange(400, dtype=np.int64) % 10, "predicted": np.arange(400, dtype=np.int64) % 10}
        frame["predicted"][0] = first
        pd.DataFrame(frame).to_parquet(tmp_path / name)
    read = read_predictions({name: str(tmp_path / name) for name in ("a", "b")})
    assert read["a"].labels is read["b"].labels and read["a"].labels.dtype == np.uint8
    assert read["a"].answers.dtype == np.uint8 and read["b"].answers.dtype == np.uint16
    assert read["b"].wrong.tolist() == [0] and read["b"].answers[0] == 300


def test_tests_of_classes_and_of_values(tmp_path: Path) -> None:
    """McNemar's test for classes, the paired t test for values; none for other labels or without samples.

    The table of a regression has the nearest classes too.
    """
    labels = np.arange(40) % 4
    right, poor = labels.copy(), np.where(np.arange(40) < 12, (labels + 1) % 4, labels)
    classes = {"label": labels, "predicted": right}  # the nearest ones of a regression
    tables = {
        "right": {"label": labels, "predicted": right},
        "poor": {"label": labels, "predicted": poor},
        "other": {"label": labels[::-1], "predicted": right},
        "value": classes | {"value": labels + 0.5, "target": labels * 1.0},
        "value2": classes | {"value": labels + np.linspace(0, 0.4, 40), "target": labels * 1.0},
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / name)
    (tmp_path / "damaged").write_bytes(b"no parquet")
    pd.DataFrame({"label": [{"a": 1}] * 40, "predicted": right}).to_parquet(tmp_path / "objects")
    pd.DataFrame({"target": labels * 1.0, "value": ["a"] * 40}).to_parquet(tmp_path / "texts")
    pd.DataFrame({"target": labels * 1.0, "value": labels + np.nan}).to_parquet(tmp_path / "no numbers")
    pd.DataFrame(tables["right"]).iloc[:0].to_parquet(tmp_path / "no rows")
    pd.DataFrame(tables["value"]).iloc[:0].to_parquet(tmp_path / "no values")
    others = ["damaged", "missing", "objects", "texts", "no numbers", "no rows", "no values"]
    read = read_predictions({name: str(tmp_path / name) for name in [*tables, *others]})
    assert set(read) == set(tables)
    found = compare(read["right"], read["poor"])
    expected = mcnemar_test(right == labels, poor == labels)
    assert found is not None and found["verdict"] == "better" and found["p"] == pytest.approx(expected.p, rel=1e-5)
    values = compare(read["value2"], read["value"])
    test = paired_t_test(np.linspace(0, 0.4, 40), np.full(40, 0.5))
    assert values is not None and values["p"] == pytest.approx(test.p, rel=1e-3) and values["verdict"] == "better"
    assert compare(read["right"], read["other"]) is None and compare(read["right"], read["value"]) is None
    encoded = encode(read)
    assert set(encoded) == {"right", "poor", "other"} and encoded["right"]["at"] == ""
    assert list(base64.b64decode(encoded["poor"]["at"])) == [0] + [1] * 11


def test_wrong_images_far_apart_take_two_bytes(tmp_path: Path) -> None:
    """Distances above 127 are numbers of several bytes, 7 bits each, the lowest first."""
    predicted = np.zeros(1000, int)
    predicted[[3, 303]] = 1
    pd.DataFrame({"label": np.zeros(1000, int), "predicted": predicted}).to_parquet(tmp_path / "a")
    encoded = encode(read_predictions({"a": str(tmp_path / "a")}))["a"]
    assert list(base64.b64decode(encoded["at"])) == [3, 300 & 127 | 128, 300 >> 7]


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("task", "names"), [({}, list("ABCDEFGHIJ")), ({"task": "two_class", "positive": [1, 3]}, ["not B, D", "B, D"])]
)
def test_images_have_class_names(history: Path, tmp_path: Path, task: dict[str, Any], names: list[str]) -> None:
    """The classes of the images have the names that the data's description in the cache gives them, by the task."""
    facts = collect(history)
    facts["versions"] = facts["versions"][-3:]
    np.savez(tmp_path / "data.npz", x_test=np.zeros((400, 4, 4), np.uint8))
    described = Description(
        name="x", title="X", licence="", stand_in_for=None, classes=10, class_names=tuple("ABCDEFGHIJ"), arrays={}
    )
    (tmp_path / "data.json").write_text(described.to_json())
    for version in facts["versions"]:
        facts["files"] |= dict.fromkeys(version["data"].values(), str(tmp_path / "data.npz"))
        facts["files"] |= {version["description"]: str(tmp_path / "data.json")}
        for model in version["models"]:
            version["params"] |= {f"models.{model}.{key}": value for key, value in task.items()}
    (found,) = page_content(copy.deepcopy(facts))["images"].values()
    assert found["names"] == names
    newest = copy.deepcopy(facts)
    newest["versions"][-1]["description"] = "not in the cache"
    (found,) = page_content(newest)["images"].values()
    assert found["names"] == names
    (tmp_path / "data.json").write_text("{}")
    (found,) = page_content(facts)["images"].values()
    assert found["names"] == []


def test_names_of_metrics_have_a_direction() -> None:
    """Losses, errors and times are better smaller; a metric of a validation part is named first, one of a test last."""
    assert is_smaller_better("metrics.json:val_loss") and is_smaller_better("rmse") and is_smaller_better("log_loss")
    assert not is_smaller_better("accuracy") and not is_smaller_better("auc")
    names = metric_names([{"metrics": {"test.auc": 1, "auc": 1, "val.auc": 1}}])
    assert [item["name"] for item in names] == ["val.auc", "auc", "test.auc"]
    assert [item["chooses"] for item in names] == [True, True, False]


def test_sprite_has_all_images() -> None:
    """Images become tiles of one picture; larger ones are made smaller."""
    sheet = sprite(np.zeros((30, 8, 8), np.uint8))
    assert (sheet["columns"], sheet["rows"], sheet["width"]) == (25, 2, 8)
    assert sprite(np.zeros((2, 64, 64, 3), np.uint8))["height"] == 32


def test_program_refuses_other_files(tmp_path: Path) -> None:
    """A file of facts that is missing or of another form is an error of one sentence."""
    with pytest.raises(DataError, match="inkflow report --runs"):
        runs.main(["--facts", str(tmp_path / "none"), "--out", str(tmp_path / "page.html")])
    (tmp_path / "facts.json").write_text(json.dumps({"form": 99}))
    with pytest.raises(DataError, match="another version of Inkflow"):
        runs.main(["--facts", str(tmp_path / "facts.json"), "--out", str(tmp_path / "page.html")])
