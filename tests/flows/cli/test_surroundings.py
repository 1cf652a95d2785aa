"""Files and streams around a run that are another program's, damaged or closed: the command works without them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from flows.core.errors import DvcFailed, PolicyInvalid
from flows.core.notices import note_once
from flows.core.params_edit import load_project_params
from flows.dvc_repo.dvc_config import write_local_config
from flows.engine.policy import Policies, load_policies
from flows.engine.policy_check import VALID
from flows.engine.timings import PATH as TIMINGS
from flows.engine.types import Outcome
from tests.conftest import Inkflow, Toy, run_engine
from tests.flows.engine.helpers import dvc, outcomes, run_as_planned, status, succeeded
from tests.support.root import ROOT

ONE = "stages:\n  a: {cmd: cat in > a, deps: [in], outs: [a]}\n"


@pytest.fixture(autouse=True)
def _notes() -> None:
    """Notes are printed once in a process, so that each test needs a new start."""
    note_once.cache_clear()


@pytest.fixture
def one(toy: Toy) -> Toy:
    """A project with one stage."""
    toy.write({"dvc.yaml": ONE, "in": "one\n"})
    return toy


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {nodes: 3}\n", "[1, 2]\n", "text\n", "stages: {build: {image: x}}\nworkers: 4\n", "workers: [a]\n",
        "stages: [a, b]\n", "? [\n", "a: !Ref b\n", "\0",
    ],
)  # fmt: skip
def test_execution_yaml_of_another_program(one: Toy, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """An execution.yaml without our keys is ignored, with one note on standard error."""
    one.write({"execution.yaml": text})
    assert load_policies(Path()) == load_policies(Path()) == Policies()
    assert main(["plan", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("note: execution.yaml has no policy of Inkflow") == 1
    assert json.loads(captured.out)["stages"][0]["verdict"] == "run"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: {a: {slot: 2}}\n", "did you mean 'slots'"),
        ("stage: {a: {slots: 2}}\n", "stage: unknown key"),
        ("stages: {a: {slots: x}}\n", "slots"),
        ("workers: {resend: 1}\n", "did you mean 'resends'"),
        ("stages: {a: {slots: 2}\n", "cannot be read"),
        ("stages: {a: {slots: 2}}\ncluster: 3\n", "cluster: unknown key"),
        ("stages: {a: {memory: 4 parsecs}}\n", r"stages.a.memory: got '4 parsecs', expected .* such as 4GiB"),
        ("stages: {a: {memory: -1}}\n", "stages.a.memory: got -1"),
        ("stages: {a: {memory: 1.5}}\n", "stages.a.memory: got 1.5, expected .* such as 4GiB"),
        ("stages: {a: {mutex: [1]}}\n", "stages.a.mutex.* got 1, expected text"),
        ("stages: {a: {mutex: ['']}}\n", "stages.a.mutex"),
        ("stages: {a: {mutex: 5}}\n", "stages.a.mutex: got 5, expected a list of names"),
        ("resources: {memory: 0}\n", "resources.memory: got 0, expected a number above 0"),
        ("resources: {memroy: 4GiB}\n", "did you mean 'memory'"),
    ],
)
def test_mistakes_in_our_execution_yaml(one: Toy, text: str, message: str) -> None:
    """A file with our keys, or nearly ours, is ours: its mistakes are errors."""
    one.write({"execution.yaml": text})
    with pytest.raises(PolicyInvalid, match=message):
        load_policies(Path())


def test_mistakes_count_also_with_nothing_to_do(one: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inkflow run` refuses a mistaken execution.yaml like `plan`, also if nothing would run; the record of the last
    valid file holds for its content and our schema alone, and a damaged or missing one is no error.
    """
    good, bad = "stages: {a: {slots: 2}}\n", "stages: {a: {slot: 2}}\n"
    assert main(["run", "--no-server"]) == 0
    one.write({"execution.yaml": bad})
    with pytest.raises(PolicyInvalid, match="did you mean 'slots'"):
        main(["run"])
    one.write({"execution.yaml": good})
    assert main(["run"]) == 0
    one.write({"execution.yaml": bad})
    with pytest.raises(PolicyInvalid, match="did you mean 'slots'"):
        main(["run"])
    one.write({"execution.yaml": good, str(VALID): b"\xff\0".decode("latin-1")})
    assert main(["run"]) == 0
    recorded = VALID.read_text()
    VALID.unlink()
    monkeypatch.setattr("flows.engine.policy_check.SCHEMA", (Path("in"),))
    assert main(["run"]) == 0
    assert VALID.read_text() != recorded


@pytest.mark.parametrize("text", ["", "{}\n", "stages: {}\n", "stages:\nworkers:\n"])
def test_empty_execution_yaml(one: Toy, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A file without any policy sets none, and needs no note."""
    one.write({"execution.yaml": text})
    assert load_policies(Path()) == Policies()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ['{"type": "object", "properties": {"models": {}}}', "[", ""])
def test_schema_of_another_program(one: Toy, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A params.schema.json that is not ours leaves params.yaml unchecked, with a note."""
    one.write({"params.schema.json": text, "params.yaml": "lr: 1\n"})
    assert main(["plan"]) == 0
    assert "note: params.schema.json is not the schema of Inkflow" in capsys.readouterr().err
    one.write({"params.schema.json": (ROOT / "params.schema.json").read_text(), "params.yaml": "lr: 1\n"})
    with pytest.raises(Exception, match="dataset: is missing"):
        load_project_params(Path())


@pytest.mark.farm
def test_state_folder_ignores_itself(one: Toy, inkflow: Inkflow) -> None:
    """Git and DVC see no file of .inkflow, though the project's own .gitignore does not list it."""
    process = inkflow("run", folder=one.folder)
    assert process.returncode == 0, process.stderr
    assert (one.folder / ".inkflow/run.lock").exists()
    names = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=True).stdout
    assert ".inkflow" not in names
    assert ".inkflow" in dvc("check-ignore", ".inkflow/run.lock")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1}', '{"a": [NaN]}', None], ids=str)
def test_damaged_timings(one: Toy, capsys: pytest.CaptureFixture[str], text: str | None) -> None:
    """Durations that cannot be read are dropped with a note, and those of the run replace them."""
    if text is None:
        (one.folder / TIMINGS).mkdir(parents=True)
    else:
        one.write({str(TIMINGS): text})
    assert main(["plan"]) == 0
    assert outcomes(succeeded(run_engine())) == {"a": Outcome.RAN}
    assert "note: .inkflow/timings.json cannot be read" in capsys.readouterr().err
    if text is not None:
        assert list(json.loads(one.read(str(TIMINGS)))) == ["a", "sha256:record"]


def test_timings_that_cannot_be_written(one: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose durations cannot be kept is no failed run."""
    (one.folder / TIMINGS / "x").mkdir(parents=True)
    assert outcomes(succeeded(run_engine())) == {"a": Outcome.RAN}
    assert "note: the durations of this run are not kept: cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_empty_lock_file(one: Toy, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """A dvc.lock without any content, as a full disk leaves it, is as none: results come from the run cache."""
    run_as_planned()
    one.write({"dvc.lock": content})
    assert outcomes(run_as_planned()) == {"a": Outcome.RESTORED}
    assert "note: dvc.lock was empty, and is removed" in capsys.readouterr().err
    assert status() == {}


def test_broken_link_in_an_input(toy: Toy) -> None:
    """A link to a missing file in an input folder is named, with where it leads and what to do; .dvcignore helps."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: ls in > a, deps: [in], outs: [a]}\n", "in/x": "x\n"})
    (toy.folder / "in/link").symlink_to("/nowhere/y")
    message = "in/link is a link to /nowhere/y, which does not exist; remove it, or list it in .dvcignore"
    with pytest.raises(DvcFailed, match=message):
        main(["plan"])
    assert message in str(run_engine().error)
    toy.write({".dvcignore": "in/link\n"})
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN}


def test_name_that_is_not_utf8(toy: Toy) -> None:
    """A file in an input folder whose name is not UTF-8 is named, with what to do; .dvcignore helps."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: ls in > a, deps: [in], outs: [a]}\n", "in/x": "x\n"})
    Path(os.fsdecode(bytes(toy.folder) + b"/in/n\xe9.txt")).write_text("x\n")
    with pytest.raises(DvcFailed, match=r"the name is not UTF-8; rename the file"):
        main(["plan"])
    assert "the name is not UTF-8; rename the file" in str(run_engine().error)
    toy.write({".dvcignore": "in/*.txt\n"})
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN}


def test_projects_with_other_letters(tmp_path: Path) -> None:
    """DVC's local configuration of a clone can name folders with letters beyond ASCII."""
    folder = tmp_path / "mönö 日本 a b"
    folder.mkdir()
    toy = Toy(folder)
    toy.write({"dvc.yaml": ONE, "in": "one\n"})
    clone = tmp_path / 'clöne, "x" #'
    clone.mkdir()
    Toy(clone).write({"dvc.yaml": ONE, "in": "one\n"})
    settings: dict[str, Any] = {
        "cache": {"dir": f"{folder}/.dvc/cache"},
        "remote": {"störe": {"url": f"{folder}/rémote"}},
        "db": {},
    }
    write_local_config(clone, settings)
    with Repo(str(clone)) as repo:
        assert repo.config["cache"]["dir"] == settings["cache"]["dir"]
        assert repo.config["remote"]["störe"]["url"] == settings["remote"]["störe"]["url"]


def flows(arguments: str, redirections: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Returns a finished `python -m flows` whose standard streams a shell has redirected."""
    command = f"exec {sys.executable} -m flows {arguments} {redirections}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("redirections", [">&-", pytest.param("<&- >&- 2>&-", marks=pytest.mark.farm)])
def test_closed_streams(one: Toy, redirections: str) -> None:
    """A command whose standard streams are closed works."""
    process = flows("plan", redirections, one.folder)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this device")
@pytest.mark.parametrize(
    "arguments", ["plan", pytest.param("plan --json", marks=pytest.mark.farm), "--help", "run --help", "--version", ""]
)
def test_full_output(one: Toy, arguments: str) -> None:
    """An output that cannot be written is one sentence and exit code 1."""
    process = flows(arguments, ">/dev/full", one.folder)
    assert process.returncode == 1
    assert process.stderr == (
        "error: cannot write standard output: No space left on device; free disk space, then run again\n"
    )
