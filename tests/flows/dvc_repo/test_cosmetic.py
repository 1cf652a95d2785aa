"""A change in comments, docstrings and formatting of a stage's code runs nothing, and is recorded."""

import json
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path
from random import Random

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.planning.stage_facts import nothing_to_do
from flows.engine.run import Run
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import counts, delete_cache, dvc_repro, make_plan, status, succeeded, twin
from tests.support.code_history import commit, forget_store
from tests.support.commands import run_python
from tests.support.copied_toy import copied_toy
from tests.support.judged_commands import command_judge
from tests.support.random_edits import random_edit

GRAPH = """
stages:
  train:
    cmd: echo >> train.runs; python src/train.py
    deps: [src/train.py, src/lib, data.txt]
    params: [rate]
    outs: [model]
  report:
    cmd: echo >> report.runs; cat model > report
    deps: [model]
    outs: [report]
"""
TRAIN = '''"""Trains."""
import pathlib
from lib import nets

RATE = float(pathlib.Path("params.yaml").read_text().split()[1])
pathlib.Path("model").write_text(f"{nets.width(2) * RATE}")
'''
NETS = '''"""Networks."""


def width(n):
    """Returns the width."""
    return n * 8  # wide enough
'''
COMMENTED = '''"""Networks of all kinds."""
# coding: utf-8
def width( n ):
    return (
        n * 8
    )
'''


FILES = {
    "dvc.yaml": GRAPH,
    "src/train.py": TRAIN,
    "src/lib/nets.py": NETS,
    "data.txt": "1\n",
    "params.yaml": "rate: 2\n",
    ".dvcignore": "__pycache__\n",
    ".gitignore": "__pycache__\n",
}


def make_finished(folder: Path) -> None:
    """Makes a project that has run once, with its code committed."""
    toy = Toy(folder)
    toy.write(FILES)
    succeeded(run_engine())
    commit()
    assert toy.read("model") == "32.0"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_finished, tmp_path / "toy", monkeypatch)


def messages(run: Run) -> dict[str, str]:
    """Returns the message of each stage."""
    return {name: result.message for name, result in succeeded(run).items()}


def reasons_of(decision: Decision) -> str:
    """Returns a plan's verdict and reasons as the table shows them."""
    return ": ".join([str(decision.verdict), *decision.reasons])


@pytest.mark.parametrize("source", ["git", "store"])
def test_comments_run_nothing(project: Toy, source: str) -> None:
    """Plan and run say why, dvc.lock gets the new hash, DVC is satisfied, and the stages behind are not touched."""
    if source == "git":
        forget_store()
    else:
        shutil.rmtree(".git")
        subprocess.run(["git", "init", "-q"], check=True)
    project.write(
        {"src/lib/nets.py": COMMENTED, "src/train.py": TRAIN.replace("import pathlib", "import pathlib  # x")}
    )
    expected = "unchanged: comments only in src/train.py, src/lib/nets.py"
    assert reasons_of(make_plan()["train"]) == expected
    assert make_plan()["report"] == Decision("report", Verdict.UNCHANGED, outputs=make_plan()["report"].outputs)
    assert status() != {}
    assert messages(run_engine()) == {"train": expected, "report": "unchanged"}
    assert counts(project.folder) == {"train": 1, "report": 1}
    assert status() == {}
    with Repository() as repository:
        assert nothing_to_do(repository.facts())
    shutil.copytree(project.folder, copy := project.folder.with_name("copy"))
    dvc_repro(copy)
    assert counts(copy) == {"train": 1, "report": 1}


def test_the_lock_is_that_of_dvc_commit(project: Toy) -> None:
    """dvc.lock is equal to the one that DVC's own `commit` writes."""
    project.write({"src/lib/nets.py": COMMENTED})
    copy = twin(project.folder)
    run_engine()
    with chdir(copy), Repo() as repo:
        repo.commit(force=True)
    assert (copy / "dvc.lock").read_text() == project.read("dvc.lock")


def test_the_command_says_it_too(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow plan --json` has the reason, its exit code tells that dvc.lock is to be written, and a run prints it."""
    project.write({"src/lib/nets.py": COMMENTED})
    assert main(["plan", "--json", "--exit-code", "train"]) == 3
    (row,) = json.loads(capsys.readouterr().out)["stages"]
    assert (row["verdict"], row["reasons"]) == ("unchanged", ["comments only in src/lib/nets.py"])
    output = run_python("-m", "flows", "run", "--no-server").stdout
    assert "= train    unchanged: comments only in src/lib/nets.py" in output
    assert main(["plan", "--exit-code"]) == 0


def test_code_runs(project: Toy) -> None:
    """A changed constant runs the stage, also one beside a comment, and an added module."""
    project.write({"src/lib/nets.py": NETS.replace("8  # wide enough", "9  # wider")})
    assert reasons_of(make_plan()["train"]) == "run: src/lib changed"
    assert succeeded(run_engine())["train"].outcome is Outcome.RAN
    assert project.read("model") == "36.0"
    project.write({"src/lib/more.py": ""})
    assert succeeded(run_engine())["train"].outcome is Outcome.RAN


def test_force_and_policy_run(project: Toy) -> None:
    """`--force` runs, and so does `cosmetic: run`, for all stages or for one; a comment is then a change."""
    project.write({"src/lib/nets.py": COMMENTED, "execution.yaml": "cosmetic: run\n"})
    assert reasons_of(make_plan()["train"]) == "run: src/lib changed"
    project.write({"execution.yaml": "stages: {train: {cosmetic: run}}\n"})
    assert make_plan()["train"].verdict is Verdict.RUN
    project.write({"execution.yaml": "cosmetic: run\nstages: {train: {cosmetic: record}}\n"})
    assert make_plan()["train"].verdict is Verdict.UNCHANGED
    assert reasons_of(make_plan(force=True)["train"]) == "run: forced with --force"
    assert succeeded(run_engine(force=True))["train"].outcome is Outcome.RAN
    assert project.runs("train") == 2


def test_comments_and_missing_outputs(project: Toy) -> None:
    """With other comments the outputs come from the cache as without, for DVC too from then on."""
    Path("model").unlink()
    project.write({"src/lib/nets.py": COMMENTED, ".dvc/cache/inkflow-entry": "a part, of a killed run"})
    assert make_plan()["train"].verdict is Verdict.RESTORE
    assert messages(run_engine())["train"] == "restored from the run cache: model missing"
    assert project.read("model") == "32.0"
    assert not Path(".dvc/cache/inkflow-entry").exists()  # entries are written there, where DVC reads no part of one
    assert status() == {}
    project.write({"params.yaml": "rate: 3\n"})
    assert succeeded(run_engine())["train"].outcome is Outcome.RAN
    project.write({"params.yaml": "rate: 2\n", "src/lib/nets.py": NETS + "# more\n"})
    assert reasons_of(make_plan()["train"]) == "restore: rate 3 → 2"
    assert messages(run_engine())["train"] == "restored from the run cache: rate 3 → 2"
    assert project.runs("train") == 2
    Path("dvc.lock").unlink()
    dvc_repro(project.folder)
    assert project.runs("train") == 2
    delete_cache(project.folder)
    Path("model").unlink()
    project.write({"src/lib/nets.py": NETS + "# less\n"})
    assert succeeded(run_engine())["train"].outcome is Outcome.RAN


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/train.py", TRAIN + "print(nets.width.__doc__)\n"),
        ("src/train.py", "import inspect\n" + TRAIN + "print(inspect.getsource(nets))\n"),
        ("src/train.py", TRAIN + "print(open('src/lib/nets.py').read())\n"),
        ("src/train.py", TRAIN + "print([p.read_text() for p in pathlib.Path('src').rglob('*.py')])\n"),
        ("src/train.py", TRAIN + "import os\nprint([f for f in os.listdir('src/lib') if f.endswith('.py')])\n"),
        ("dvc.yaml", GRAPH.replace("python src/train.py", "python src/train.py src/lib")),
        ("dvc.yaml", GRAPH.replace("python src/train.py", "python src/train.py && wc -l src/lib/nets.py")),
        ("dvc.yaml", GRAPH.replace("python src/train.py", "bash -c 'python src/train.py'")),
        ("dvc.yaml", GRAPH.replace("python src/train.py", "python -m pytest src/train.py || python src/train.py")),
        ("src/train.py", TRAIN.replace("from lib import nets", "nets = __import__(''.join(['lib.', 'nets'])).nets")),
        ("src/train.py", TRAIN + "getattr(nets, '__doc__')\n"),
    ],
)
def test_where_comments_are_inputs(project: Toy, name: str, text: str) -> None:
    """Where a program may read its comments or docstrings, or the file may be data, a change of them runs the stage."""
    project.write({name: text})
    succeeded(run_engine())
    ran = project.runs("train")
    commit()
    project.write({"src/lib/nets.py": NETS.replace("Returns the width", "Returns it")})
    assert make_plan()["train"].verdict is Verdict.RUN
    succeeded(run_engine())
    assert project.runs("train") == ran + 1


def test_content_that_cannot_be_found_or_read(project: Toy) -> None:
    """Unknown earlier content, a syntax error, a link and a file that is no text of Python make the stage run."""
    forget_store()
    project.write({"src/lib/nets.py": COMMENTED})
    with Repo() as repo:
        repo.commit(force=True)  # records content that git does not have
    project.write({"src/lib/nets.py": NETS + "# x\n"})
    assert make_plan()["train"].verdict is Verdict.RUN
    succeeded(run_engine())
    for content in (b"def (\n", b"\xff\xfe", b"x = '\xe9'\n", b"\0", b"(" * 100_000):
        Path("src/lib/nets.py").write_bytes(content)
        assert make_plan()["train"].verdict is Verdict.RUN
    Path("src/lib/nets.py").unlink()
    project.write({"elsewhere.py": NETS.replace("8", "9")})
    Path("src/lib/nets.py").symlink_to("../../elsewhere.py")
    assert make_plan()["train"].verdict is Verdict.RUN


def test_other_encodings_are_compared_as_text(project: Toy) -> None:
    """The same text in another encoding is the same program; another text of the same bytes is not."""
    Path("src/lib/nets.py").write_bytes("# coding: latin-1\nA = 'é'\n".encode("latin-1") + NETS.encode())
    succeeded(run_engine())
    ran = project.runs("train")
    Path("src/lib/nets.py").write_bytes("A = 'é'  # in UTF-8\n".encode() + NETS.encode())
    assert make_plan()["train"].verdict is Verdict.UNCHANGED
    succeeded(run_engine())
    Path("src/lib/nets.py").write_bytes("# coding: latin-1\nA = 'é'\n".encode() + NETS.encode())
    assert make_plan()["train"].verdict is Verdict.RUN
    assert project.runs("train") == ran


def test_many_revisions_and_a_folder_of_an_older_commit(project: Toy) -> None:
    """The recorded content is found some commits back, for a file and for a folder."""
    forget_store()
    for number in range(12):
        project.write({"src/train.py": f"{TRAIN}X = {number}\n", "src/lib/nets.py": f"{NETS}Y = {number}\n"})
        commit()
    project.write({"src/train.py": TRAIN + "\n# again\n", "src/lib/nets.py": COMMENTED})
    assert make_plan()["train"].verdict is Verdict.UNCHANGED


@pytest.mark.farm
def test_random_edits(project: Toy) -> None:
    """Random edits and commands, of which the editor knows whether they matter: the answer is right about each."""
    texts = {"src/train.py": TRAIN, "src/lib/nets.py": NETS}
    judge = command_judge("train", "python src/train.py")
    for number in range(30):
        edit = random_edit(Random(number), texts)
        project.write({edit.file: edit.text})
        assert (make_plan()["train"].verdict is Verdict.UNCHANGED) == edit.is_cosmetic, f"{number}: {edit}"
        judge(Random(number), edit, texts[edit.file])
        project.write(texts)


def test_nothing_is_looked_into_without_a_change(project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of unchanged stages starts no git and reads no code."""
    monkeypatch.setattr("flows.core.git.subprocess.run", None)
    with Repository() as repository:
        assert nothing_to_do(repository.facts())
        decisions = plan(repository.facts(), repository.cache)
    assert {decision.verdict for decision in decisions} == {Verdict.UNCHANGED}
