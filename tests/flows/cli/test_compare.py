"""`inkflow compare`: compares two versions of the project, with files from git and DVC's cache."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flows.cli.compare import OUT, compare, print_comparison
from flows.cli.main import main as inkflow
from flows.core.errors import RevisionUnusable
from flows.core.git import run_git
from stages.base.errors import DataError
from stages.report.compare_runs import Version, compare_runs
from stages.report.compare_runs import main as compare_program
from stages.report.page.version_params import changed_params
from tests.conftest import Toy
from tests.flows.core.test_git import PERSON
from tests.support.commands import dvc
from tests.support.html_page import Page
from tests.support.own_programs import run_here
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.root import ROOT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on digits with two models; the tests only read it."""
    return finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"cnn": (64,), "dense": (4,)}, epochs=3)


@pytest.fixture(scope="module")
def committed(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the tag `before`, then a working tree in which `dense` predicts as `cnn`."""
    folder = tmp_path_factory.mktemp("committed")
    toy = Toy(folder)
    shutil.copytree(finished.root, folder, dirs_exist_ok=True)
    toy.write({".gitignore": "/.inkflow\n"})
    outputs = [f"{top}/{name}" for top in ("models", "evaluation") for name in ("cnn", "dense")]
    dvc("add", "-q", "data/raw/dataset.npz", "data/raw/dataset.json", "data/prepared", *outputs, folder=folder)
    for command in (["add", "--all"], [*PERSON, "commit", "-qm", "before"], ["tag", "before"]):
        run_git(command, folder)
    evaluation = folder / "evaluation"
    for name in ("metrics.json", "predictions.parquet"):
        shutil.copyfile(evaluation / "cnn" / name, evaluation / "dense" / f"{name}.new")
        (evaluation / "dense" / f"{name}.new").replace(evaluation / "dense" / name)
    return folder


@pytest.fixture
def versions(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of that repository, also the current folder."""
    folder = shutil.copytree(committed, tmp_path / "versions", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Run(folder)


@pytest.mark.farm
def test_versions_side_by_side(versions: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A better model is reported as better, with its figures; a model with equal bytes is named once, as unchanged."""
    assert inkflow(["compare", "before", "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row for row in comparison["models"]}
    assert list(rows) == ["dense"] and comparison["unchanged"] == ["cnn"] and comparison["without_counterpart"] == []
    assert rows["dense"]["verdict"] == "better" and rows["dense"]["low"] > 0
    assert rows["dense"]["corrected_p"] == rows["dense"]["p"]  # an unchanged model is no further test
    assert comparison["headline"] == "dense became better"
    page = Page((versions.root / ".inkflow/compare/index.html").read_text())
    assert page.text("h1") == "dense became better"
    assert "Unchanged, the same bytes: cnn." in page.text("p", css="evidence")
    assert sorted(page.panels()) == ["cnn", "dense@before", "dense@workspace"]
    assert inkflow(["compare", "before"]) == 0
    output = capsys.readouterr().out
    assert "dense became better" in output and output.count("cnn") == 1


def test_two_commits(versions: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit compared with itself has no changes and no rows; the working tree is not read."""
    monkeypatch.setattr("flows.cli.compare.run_program", run_here)  # the tests of the farm have it as a process
    comparison = compare(versions.root, "before", "HEAD")
    assert comparison["headline"] == "Nothing changed" and comparison["models"] == []
    assert comparison["evidence"] == "Unchanged, the same bytes: cnn and dense."


@pytest.mark.farm
def test_accepted_version_as_a_gate(versions: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow check --against REV` passes if no model became worse."""
    assert inkflow(["check", "--against", "before"]) == 0
    assert "not shown to be worse than the accepted version" in " ".join(capsys.readouterr().out.split())


def test_another_comparison_at_the_same_time(versions: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that ends meanwhile in the same project changes the page, and not what this one returns."""

    def run_both(name: str, arguments: Sequence[str | Path], root: Path) -> str:
        made = Path(arguments[arguments.index("--out") + 1])
        for page, headline in ((made, "Nothing changed"), (root / OUT, "of the other one")):
            page.mkdir(parents=True, exist_ok=True)
            for file in ("index.html", "compare.json"):
                (page / file).write_text(json.dumps({"headline": headline}))
        return ""

    monkeypatch.setattr("flows.cli.compare.run_program", run_both)
    comparison = compare(versions.root, "before", "HEAD")
    assert comparison["headline"] == "Nothing changed"
    assert json.loads((versions.root / OUT / "compare.json").read_text()) == comparison
    assert "Nothing changed" in (versions.root / OUT / "index.html").read_text()


@pytest.mark.parametrize(("count", "heading"), [(1, "95% interval"), (2, "corrected interval")])
def test_the_interval_is_at_the_level_of_its_test(count: int, heading: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The interval of a single test has 95%; those of several tests, at the levels of Holm's correction, say so."""
    row = {"old": 0.9, "new": 0.91, "difference": 0.01, "low": -0.01, "high": 0.03, "corrected_p": 0.2}
    models = [{**row, "model": f"net{number}", "verdict": "cannot tell"} for number in range(count)]
    parts: dict[str, list[str]] = {"trivial": [], "unchanged": [], "without_counterpart": []}
    print_comparison({"headline": "Nothing changed", "models": models, **parts}, Console(width=200))
    output = capsys.readouterr().out
    assert [text for text in ("95% interval", "corrected interval") if text in output] == [heading]


def test_unknown_version(versions: Run) -> None:
    """An unknown revision is an error of one sentence."""
    with pytest.raises(RevisionUnusable, match="nowhere: no such version"):
        compare(versions.root, "nowhere")


def test_files_in_no_cache(versions: Run) -> None:
    """A version whose files are in no cache is an error that names a file and what to do."""
    shutil.rmtree(".dvc/cache")
    with pytest.raises(RevisionUnusable, match=r"before: .* neither in git, the cache nor a remote"):
        compare(versions.root, "before")


@pytest.mark.farm
def test_parameters_that_differ(finished: Run, tmp_path: Path) -> None:
    """The comparison has the parameters of both versions that differ, and the page a table of them."""
    shutil.copytree(finished.root, tmp_path / "new")
    params = json.loads((tmp_path / "new/params.yaml").read_text())
    params["models"]["dense"]["batch_size"] = 64
    params["report"]["predictions"] = 5
    (tmp_path / "new/params.yaml").write_text(json.dumps(params))
    arguments = [f"--old=a={finished.root}", f"--new=b={tmp_path / 'new'}", "--out", str(tmp_path / "out")]
    assert compare_program(arguments) == 0
    rows = [tuple(row.values()) for row in json.loads((tmp_path / "out/compare.json").read_text())["parameters"]]
    assert rows == [("models.dense.batch_size", "32", "64"), ("report.predictions", None, "5")]
    page = Page((tmp_path / "out/index.html").read_text())
    texts = [text for _, text in page.every("tr")]
    assert "models.dense.batch_size 32 64" in texts and "report.predictions – 5" in texts  # noqa: RUF001 - a dash for none
    same = [f"--old=a={finished.root}", f"--new=b={finished.root}", "--out", str(tmp_path / "out")]
    assert compare_program(same) == 0
    assert "All parameters of a and b are equal." in (tmp_path / "out/index.html").read_text()


def test_empty_mappings_and_null_differ(tmp_path: Path) -> None:
    """An empty mapping and null are values of a parameter: their absence, and other values, are differences."""
    texts = {
        "a": "gates: {}\nprepare: {crop: null}\nsame: {x: {}, y: null}\n",
        "b": "prepare: {}\nsame: {x: {}, y: null}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").write_text(text)
    found = changed_params(tmp_path / "b", tmp_path / "a")
    assert found == [("gates", None, "{}"), ("prepare.crop", None, "null")]
    (tmp_path / "a/params.yaml").write_text("gates: {every: {}}\n")
    (tmp_path / "b/params.yaml").write_text("gates: {}\n")
    found = changed_params(tmp_path / "b", tmp_path / "a")
    assert found == [("gates.every", None, "{}")]


def test_other_test_images(finished: Run, tmp_path: Path) -> None:
    """Versions that were evaluated on different images are not compared, even if the labels are equal."""
    digits = small_digits()
    mirrored = digits._replace(x_test=np.ascontiguousarray(digits.x_test[:, :, ::-1]))
    other = finish_run(tmp_path, mirrored, {"cnn": (8,)}, epochs=1)
    with pytest.raises(DataError, match="expected the same test images in both versions"):
        compare_runs(Version("old", finished.root), Version("new", other.root))
