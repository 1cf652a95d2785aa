"""The study of a search: one journal for several processes, of which each may die at any moment."""

import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState

from flows.experiments.search.space import parse_space
from flows.experiments.search.study import FAILURE, MESSAGE, Definition, Study
from stages.base.errors import InvalidInput, OutputError
from tests.support.root import ROOT

SPACE = ("x=0.001..1:log", "k=a|b")
# Opens the study, claims trials, prints them, and waits to be killed.
CLAIMS = """
import sys, time
from pathlib import Path
from tests.flows.experiments.search.test_study import study_in
study = study_in(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    trial = study.claim(100)
    print(trial.number, study.settings(trial), flush=True)
time.sleep(600)
"""


def study_in(folder: Path, space: Sequence[str] = SPACE, search: str = "tpe") -> Study:
    """Opens the study in a folder."""
    definition = Definition(parse_space(space), "m.json:loss", "minimize", ["fit"], "base")
    return Study(folder, definition, search, None, 0)


def finish(study: Study, value: float = 1.0) -> None:
    """Claims a trial and gives it a score."""
    trial = study.claim(100)
    assert trial is not None
    study.tell(trial, TrialState.COMPLETE, value, {"experiment": "e", "place": "p"})


def claim_and_die(folder: Path, count: int) -> list[str]:
    """Claims trials in another process, kills it, and returns their numbers and settings."""
    command = [sys.executable, "-c", CLAIMS, str(folder), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(count)]
        process.kill()
    return lines


def test_files_of_dead_processes_go_when_a_study_is_opened(tmp_path: Path) -> None:
    """A killed search that had finished its trials leaves no file for good; the files of living ones stay."""
    first = study_in(tmp_path)
    finish(first)
    dead = uuid.uuid4().hex
    (tmp_path / "owners" / dead).touch()
    (tmp_path / "owners/list.txt").write_text("of the user")
    second = study_in(tmp_path)
    owners = {path.name for path in (tmp_path / "owners").iterdir()}
    assert len(owners) == 3 and dead not in owners and "list.txt" in owners
    claimed = [study.claim(100) for study in (first, second, first)]
    assert [trial.number for trial in claimed if trial] == [1, 2, 3]  # each takes the other for alive


def test_trials_of_a_killed_process_are_taken_over(tmp_path: Path) -> None:
    """The next process gets the trials of a dead one, with their numbers and parameters, then new ones: none is lost,
    none is there twice.
    """
    lines = claim_and_die(tmp_path, 2)
    study = study_in(tmp_path)
    claimed = [study.claim(3) for _ in range(4)]
    assert [f"{trial.number} {study.settings(trial)}" for trial in claimed[:2] if trial] == lines
    assert claimed[2] is not None and claimed[2].number == 2
    assert claimed[3] is None
    assert list((tmp_path / "owners").iterdir()) == [tmp_path / "owners" / study._id]


def test_trials_of_a_living_process_stay_its_own(tmp_path: Path) -> None:
    """Two processes in one study run different trials; when one closes, the other takes over what it left open."""
    first, second = study_in(tmp_path), study_in(tmp_path)
    numbers = [trial.number for trial in (first.claim(3), second.claim(3), second.claim(3)) if trial]
    assert numbers == [0, 1, 2] and first.claim(3) is None
    second.close()
    assert [trial.number for trial in (first.claim(3), first.claim(3)) if trial] == [1, 2]


@pytest.mark.parametrize("search", ["tpe", "random", "cmaes"])
def test_proposals_do_not_depend_on_interruptions(tmp_path: Path, search: str) -> None:
    """A search that was closed after each trial proposes what an uninterrupted one proposes; no proposal repeats."""
    space = ("x=0.001..1:log", "y=0..1")
    whole = study_in(tmp_path / "whole", space, search)
    for number in range(14):
        finish(whole, float(number % 5))
    for number in range(14):
        part = study_in(tmp_path / "parts", space, search)
        finish(part, float(number % 5))
        part.close()
    settings = [whole.settings(trial) for trial in whole.trials()]
    assert [part.settings(trial) for trial in part.trials()] == settings
    assert len({str(each) for each in settings}) == 14


def test_half_a_line_of_a_killed_process(tmp_path: Path) -> None:
    """A line of the journal that a kill cut off is removed, and all whole lines count."""
    study = study_in(tmp_path)
    finish(study)
    study.close()
    with (tmp_path / "journal").open("a") as file:
        file.write('{"op_code":4,"worker')
    again = study_in(tmp_path)
    finish(again, 0.5)
    assert [trial.value for trial in again.trials()] == [1.0, 0.5]
    assert study_in(tmp_path).best() is not None


def test_small_spaces_end(tmp_path: Path) -> None:
    """When all combinations of a finite space were proposed, there is no further trial."""
    study = study_in(tmp_path, ("k=a|b", "n=1..2:int"))
    for _ in range(100):
        if study.is_exhausted():
            break
        finish(study)
    assert study.claim(1000) is None
    assert len({str(study.settings(trial)) for trial in study.trials()}) == 4


def test_other_definitions_are_refused(tmp_path: Path) -> None:
    """A study keeps its space; another one in its folder is one sentence with both."""
    study_in(tmp_path)
    with pytest.raises(InvalidInput, match=r"has another space: \['x=0.001\.\.1:log', 'k=a|b'\], got"):
        study_in(tmp_path, ["x=0.002..1:log"])


def test_folders_that_hold_no_study(tmp_path: Path) -> None:
    """A damaged journal and a folder that is a file are one sentence each."""
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/journal").write_text("nonsense\nmore\n")
    with pytest.raises(InvalidInput, match="cannot be read"):
        study_in(tmp_path / "damaged")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        study_in(tmp_path / "file")


def test_the_journal_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of trials are masked in the journal, which several machines may share, and in the table of the trials."""
    monkeypatch.setenv("STORE_PASSWORD", "planted-secret")
    study = study_in(tmp_path)
    trial = study.claim(1)
    assert trial is not None
    study.note(trial, {FAILURE: "no entry with planted-secret"})
    study.tell(trial, TrialState.FAIL, None, {MESSAGE: "=failed with planted-secret"})
    assert "planted-secret" not in (tmp_path / "journal").read_text()
    [told] = study.trials(TrialState.FAIL)
    assert (told.user_attrs[FAILURE], told.user_attrs[MESSAGE]) == ("no entry with ***", "=failed with ***")
