"""The report of a search: each trial is a row, whose columns keep the names of the searched parameters apart."""

import argparse
import csv
import json
from pathlib import Path

import pytest

from flows.cli.sweeps.search import print_search
from flows.experiments.search.objective import Objective
from flows.experiments.search.report import ROW_COLUMNS, parameter_columns, row
from flows.experiments.search.search_trials import SearchTrials
from flows.experiments.search.space import parse_space
from flows.experiments.search.study import Definition, Study
from tests.flows.experiments.search.test_search_trials import end

CLASHING = ("trial", "state", "value", "experiment", "place", "steps", "seconds", "message")


def search_of(folder: Path, *keys: str) -> SearchTrials:
    """Returns a search over parameters of these names, each `a` or `b`."""
    definition = Definition(parse_space([f"{key}=a|b" for key in keys]), "m.json:loss", "minimize", ["fit"], "base")
    study = Study(folder / "study", definition, "random", None, 0)
    options = {"timeout_s": None, "prune": False, "reports": folder / "reports"}
    return SearchTrials(study, Objective("m.json", "loss", "fit"), [], folder, count=9, parallel=1, **options)  # type: ignore[arg-type]


def test_parameters_that_are_named_as_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter whose name is that of a column gets the prefix `params.` in all tables, and nothing is lost."""
    search = search_of(tmp_path, *CLASHING, "depth")
    trial = end(search, tmp_path, {"loss": 0.5})
    settings = trial.combination.settings
    print_search(search, argparse.Namespace(json=True))
    [shown] = json.loads(capsys.readouterr().out)["trials"]
    assert {key: shown[f"params.{key}"] for key in CLASHING} | {"depth": shown["depth"]} == settings
    assert (shown["trial"], shown["state"], shown["value"], shown["experiment"]) == (
        0,
        "complete",
        0.5,
        trial.experiment,
    )
    with (tmp_path / "reports/study/trials.csv").open(newline="") as file:
        [written] = csv.DictReader(file)
    assert {key: written[f"params.{key}"] for key in CLASHING} | {"depth": written["depth"]} == settings
    assert (written["trial"], written["state"], written["value"]) == ("0", "complete", "0.5")
    summary = (tmp_path / "reports/study/summary.md").read_text()
    assert "| trial | value | " in summary and "`params.value`" in summary and "`depth`" in summary
    print_search(search, argparse.Namespace(json=False))
    table = capsys.readouterr().out
    assert "0.5" in table and f"dvc exp apply {trial.experiment}" in table


def test_a_trial_whose_parameters_are_being_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another process of the search may have asked for a trial and not yet have chosen all its values."""
    search = search_of(tmp_path, "depth", "width")
    search.study._study.ask().suggest_categorical("depth", ["a", "b"])
    print_search(search, argparse.Namespace(json=True))
    [shown] = json.loads(capsys.readouterr().out)["trials"]
    assert (shown["state"], shown["value"], "depth" in shown) == ("running", None, False)


def test_other_parameters_keep_their_names(tmp_path: Path) -> None:
    """A parameter has its key as its column; one that is named as a prefixed one keeps it, and the other gives way."""
    columns = parameter_columns(parse_space([f"{key}=a|b" for key in ("value", "params.value", "file.yaml:value")]))
    assert columns == {
        "value": "params.params.value", "params.value": "params.value", "file.yaml:value": "file.yaml:value",
    }  # fmt: skip
    search = search_of(tmp_path, "depth")
    end(search, tmp_path, {"loss": 0.5})
    assert set(row(search.study, search.study.trials()[0], {})) == {*ROW_COLUMNS, "depth"}
