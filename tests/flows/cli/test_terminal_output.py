"""What people read on a terminal: the end of a run, plans of many stages, tables of sweeps, narrow and wide."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli.main import main as inkflow
from flows.cli.plan import print_table
from flows.cli.run_summary import RANKING, end_of_run
from flows.cli.sweeps.table import NumberedDisplay, print_trials
from flows.core.errors import GatesFailed
from flows.engine.display import log_file
from flows.engine.display.live import LiveDisplay
from flows.engine.display.styles import duration, shortened
from flows.engine.run import GATES, Run
from flows.engine.types import Outcome, Result
from flows.experiments.grid import Combination
from flows.experiments.trials import Trial
from stages.base.errors import EXIT_BROKEN_PIPE
from tests.conftest import Toy
from tests.support.root import ROOT
from tests.support.terminal import Screen, run_on_terminal

LONG = "evaluate@a_model_with_a_name_of_forty_characters_a"


def console(width: int, *, is_terminal: bool = True) -> Console:
    """Returns a console that keeps its text."""
    return Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)


def written(output: Console) -> list[str]:
    """Returns the lines of a console."""
    assert isinstance(output.file, io.StringIO)
    return output.file.getvalue().splitlines()


def plan_rows(*stages: tuple[str, str]) -> list[dict[str, Any]]:
    """Returns rows of a plan, given as names and verdicts."""
    rest: dict[str, Any] = {"expected_s": 2.0, "pool": None, "memory": 0, "mutex": []}
    return [{"stage": name, "verdict": verdict, "reasons": ["epochs 5 → 3"], **rest} for name, verdict in stages]


def test_a_plan_with_nothing_to_do_is_one_line() -> None:
    """If all stages are unchanged, a single line says how many."""
    output = console(80)
    print_table([row | {"reasons": []} for row in plan_rows(("a", "unchanged"), ("b", "unchanged"))], [], output)
    assert written(output) == ["Nothing to do: all 2 stages are unchanged."]


@pytest.mark.parametrize("arguments", [["plan"], ["run"], ["run", "--force"]])
def test_a_pipeline_without_stages(toy: Toy, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Plan and run say that dvc.yaml has no stages, in place of a table without rows and of a count of 0."""
    toy.write({"dvc.yaml": "stages: {}\n"})
    assert inkflow(arguments) == 0
    assert capsys.readouterr().out == "Nothing to do: dvc.yaml has no stages.\n"


@pytest.mark.parametrize("width", [80, 200])
def test_a_plan_of_many_stages(width: int) -> None:
    """On a terminal, neighbours of a group are one row, long names lose their middle, and no line is too long."""
    rows = plan_rows(*((f"train@m{number:03}", "run") for number in range(120)), (LONG, "may run"), ("report", "run"))
    output = console(width)
    print_table(rows, [], output)
    lines = written(output)
    assert len(lines) < 12 and max(map(len, lines)) <= width
    assert "train@* (120)" in lines[1] and "4 min 0 s" in lines[1]
    assert any(("…" in line) == (width == 80) for line in lines if line.startswith("evaluate@"))
    assert lines[-1].startswith("121 run, 1 may run")


def test_a_plan_in_a_file_is_whole() -> None:
    """Without a terminal each stage has its row, with its whole name."""
    output = console(80, is_terminal=False)
    print_table(plan_rows(*((f"train@m{number:03}", "run") for number in range(60)), (LONG, "run")), [], output)
    text = "\n".join(written(output))
    assert text.count("train@m") == 60 and LONG in text


def ranking(root: Path, models: int, verdict: str) -> None:
    """Writes the ranking of a report."""
    rows = [{"model": f"model_{number}", "score": "99.01%", "interval": "98.80% to 99.19%"} for number in range(models)]
    rows.append({"model": "trivial answer", "score": "11.35%", "interval": "10.74% to 11.99%"})
    (root / RANKING).parent.mkdir()
    content = {"verdict": verdict, "tasks": [{"score": "test accuracy", "rows": rows}]}
    (root / RANKING).write_text(json.dumps(content))


@pytest.mark.parametrize("columns", ["80", "160"])
@pytest.mark.parametrize("models", [1, 6, 60])
@pytest.mark.parametrize("verdict", ["model_0 is the best of 6 models", "Not enough evidence of a difference " * 4])
def test_the_end_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str, models: int, verdict: str
) -> None:
    """Ranking, verdict and counts are at most four lines, so that gates and results make six; nothing is too wide."""
    monkeypatch.setenv("COLUMNS", columns)
    ranking(tmp_path, models, verdict)
    run = Run(params=object(), results=[Result("report", Outcome.RAN)])  # type: ignore[arg-type]
    lines = end_of_run(run, 123.4, tmp_path)
    assert len(lines) <= 4 and max(map(len, lines)) <= int(columns)
    assert lines[0].startswith("test accuracy: model_0 99.01% (98.80% to 99.19%)")
    assert "trivial answer 11.35%" in " ".join(lines) and verdict[:30] in " ".join(lines)
    assert lines[-1] == "1 of 1 stages ran, in 2 min 3 s"
    run.results.append(Result("prepare", Outcome.UNCHANGED))
    assert end_of_run(run, 1.0, tmp_path)[-1] == "1 of 2 stages ran, 1 unchanged, in 1.0 s"
    run.errors[GATES] = GatesFailed(["a gate"])
    assert len(end_of_run(run, 1.0, tmp_path)) > 1
    run.errors["train"] = GatesFailed(["a stage"])
    assert len(end_of_run(run, 1.0, tmp_path)) == 1


def test_the_end_of_a_run_without_a_stage() -> None:
    """A run that was given up before its first stage says so."""
    assert end_of_run(Run(), 1.0) == ["no stage ran, in 1.0 s"]


def test_a_broken_ranking_stops_nothing(tmp_path: Path) -> None:
    """Another program's file of that name is ignored."""
    (tmp_path / RANKING).parent.mkdir()
    run = Run(params=object(), results=[Result("report", Outcome.RAN)])  # type: ignore[arg-type]
    for content in ("[", "[]", '{"verdict": 1, "tasks": []}', '{"verdict": "x", "tasks": [{"rows": []}]}'):
        (tmp_path / RANKING).write_text(content)
        assert end_of_run(run, 1.0, tmp_path) == ["1 of 1 stages ran, in 1.0 s"]


def test_a_live_run_fits_its_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs move the bar and are in the log; warnings are lines; many unchanged stages are counted."""
    monkeypatch.chdir(tmp_path)
    names = [LONG, *(f"stage_{number:02}" for number in range(20))]
    output = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    display = LiveDisplay(names, output, dict.fromkeys(names, 30.0))
    try:
        display.started(LONG, 30.0)
        display.line(LONG, "epoch 3/10  loss 0.1")
        display.line(LONG, "warning: m: the loss diverges: 8e+16 in epoch 3")
        for name in names[1:]:
            display.result(Result(name, Outcome.UNCHANGED))
        display.note("the end")
    finally:
        display.close()
    screen = Screen()
    screen.write("\n".join(written(output)))
    printed = screen.text.splitlines()
    assert not any("epoch 3/10" in line for line in printed)
    assert any(line.startswith("  evaluate@a_mo…") and "the loss diverges" in line for line in printed)
    assert sum(line.startswith("= stage_") for line in printed) == 12
    assert any("= 8 more stages   unchanged" in line for line in printed)
    log = Path(display.log_path).read_text()
    assert f"{LONG} | epoch 3/10  loss 0.1" in log and "stage_19" in log


def test_logs_of_old_runs_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of logs keeps those of the last runs; a folder that cannot be written stops nothing."""
    monkeypatch.chdir(tmp_path)
    log_file.FOLDER.mkdir(parents=True)
    for number in range(30):
        (log_file.FOLDER / f"2026{number:04}-000000-1.log").touch()
    log = log_file.LogFile()
    log.write(["a line"])
    log.close()
    assert log.path is not None
    assert len(list(log_file.FOLDER.iterdir())) == log_file.KEPT and log.path.read_text() == "a line\n"
    monkeypatch.chdir("/proc")
    log_file.LogFile().write(["nothing"])


def test_after_the_clock_went_back_new_logs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of this run and the last one are not the first to go if earlier ones have later times."""
    monkeypatch.chdir(tmp_path)
    log_file.FOLDER.mkdir(parents=True)
    for number in range(log_file.KEPT):
        (log_file.FOLDER / f"29990101-0000{number:02}-1.log").touch()
    logs = [log_file.LogFile() for _ in range(log_file.KEPT)]
    for log in logs:
        log.close()
    assert [log.path for log in logs] == sorted(log_file.FOLDER.iterdir())


def test_a_log_is_named_only_if_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be removed costs no log, and a log that could not be opened is not named."""
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        (log_file.FOLDER / f"2026{number:04}-000000-1.log").mkdir(parents=True)  # `unlink` refuses it
    log = log_file.LogFile()
    log.close()
    assert log.path is not None and log.path.is_file()
    shutil.rmtree(log_file.FOLDER)
    log_file.FOLDER.touch()
    display = LiveDisplay(["a"], Console(file=io.StringIO(), width=80, force_terminal=True))
    display.close()
    assert display.log_path == ""


def test_a_sweep_has_its_numbers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has number, parameters, objective with its deviation, difference and seconds; lines have the number."""
    monkeypatch.setenv("COLUMNS", "80")
    trials = [
        Trial(Combination({"models.cnn.epochs": epochs, "models.dense.epochs": 5}), f"e{epochs}", seconds=1.5)
        for epochs in (2, 3)
    ]
    scores = [{"val_loss": 0.5, "val_loss_deviation": 0.01}, {"val_loss": 0.75}]
    print_trials(trials, trials[::-1], dict(enumerate(scores)), ["val_loss"], "val_loss")
    header, best, other = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["#", "cnn.epochs", "dense.epochs", "val_loss", "to", "best", "seconds"]
    assert best == ["2", "3", "5", "0.5", "±", "0.01", "1.5"] and other == ["1", "2", "5", "0.75", "+0.25", "1.5"]
    stream = io.StringIO()
    display = NumberedDisplay([trial.name for trial in trials])
    display._stream = stream
    display.line(trials[1].name, "train | epoch 1/3")
    display.failure(trials[1].name, "broken")
    assert stream.getvalue().splitlines() == ["  2 | train | epoch 1/3", "x 2   broken", f"  2   {trials[1].name}"]


def test_the_lines_of_a_search_have_its_numbers() -> None:
    """Trials of a search are named when they are proposed: lines begin with the number, ends have the parameters."""
    stream = io.StringIO()
    display = NumberedDisplay([], 50)
    display._stream = stream
    display.line("7: lr=0.1,units=64", "train | epoch 1/3")
    display.failure("7: lr=0.1,units=64", "broken")
    display.line("train", "1: of no trial")
    assert stream.getvalue().splitlines() == [
        "   7 | train | epoch 1/3",
        "x  7   broken",
        "   7   lr=0.1,units=64",
        "  train | 1: of no trial",
    ]


def test_names_and_durations() -> None:
    """A name keeps both ends; durations have the units that people use."""
    assert [shortened("abcdefgh", width) for width in (8, 5, 3)] == ["abcdefgh", "ab…gh", "a…h"]
    texts = {4.21: "4.2 s", 59.97: "1 min 0 s", 123: "2 min 3 s", 3900: "1 h 5 min"}
    assert [duration(seconds) for seconds in texts] == list(texts.values())


KILLED = """
stages:
  first: {cmd: cp in first, deps: [in], outs: [first]}
  a_stage_with_a_long_name_that_does_not_fit_into_the_column_of_names_at_all:
    {cmd: "echo epoch 6/61 loss 0.2; kill -9 $$", deps: [first], outs: [dead]}
  later: {cmd: cp dead later, deps: [dead], outs: [later]}
"""


@pytest.mark.cases(1)
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_killed_stage_on_a_terminal(toy: Toy, environment: dict[str, str]) -> None:
    """On 80 columns the screen has the signal, the epoch and the stage that does not run, whatever the terminal."""
    toy.write({"dvc.yaml": KILLED, "in": "one\n"})
    command = [sys.executable, "-m", "flows", "run", "--no-server"]
    code, text = run_on_terminal(command, toy.folder, 80, {"PYTHONPATH": str(ROOT), **environment})
    screen = Screen()
    screen.write(text)
    assert code == 1 and "killed by SIGKILL in epoch 7 of 61 (out of memory?)" in screen.text
    assert "not run, since a_stage_with_a_long_name_that_does_not_fit" in screen.text
    assert ("epoch 6/61" in text) == ("TERM" in environment)
    assert not re.search(r"\x1b\[[\d;]*3[0-8][;m]", text) or not environment


def test_a_closed_pipe_has_its_exit_code(toy: Toy) -> None:
    """Where the reader of a table has gone, the exit code is that of a broken pipe, not one of the command's."""
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "flows", "plan"], cwd=toy.folder, env=environment, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (EXIT_BROKEN_PIPE, b"")
