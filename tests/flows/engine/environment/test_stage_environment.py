"""The environment of stages: recorded beside dvc.lock, compared in plan and run, and a reason to run if asked for.

The package `toypkg`, of which a folder on the path has a version, plays TensorFlow.
"""

import json
import shutil
import subprocess
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.core.errors import PolicyInvalid
from flows.dvc_repo.repository import Repository
from flows.engine.policy import load_policies
from stages.base.errors import InkflowError, InvalidInput
from tests.conftest import Toy
from tests.flows.engine.helpers import dvc_repro, status
from tests.support.copied_toy import copied_toy

PIPELINE = """
stages:
  a: {cmd: echo >> a.runs; cp in a; cat site/version >> a, deps: [in], outs: [a]}
  b: {cmd: echo >> b.runs; cp a b, deps: [a], outs: [b]}
"""


@dataclass
class Project:
    """A project with a package of changing version."""

    toy: Toy

    def install(self, version: str | None) -> None:
        """Installs a version of toypkg, or removes it."""
        shutil.rmtree(self.toy.folder / "site", ignore_errors=True)
        if version:
            metadata = f"Metadata-Version: 2.1\nName: toypkg\nVersion: {version}\n"
            self.toy.write({f"site/toypkg-{version}.dist-info/METADATA": metadata})
        self.toy.write({"site/version": f"{version}\n"})

    def set(self, text: str) -> None:
        """Writes the section `environment`."""
        self.toy.write({"execution.yaml": f"environment: {{{text}}}\n"})

    def runs(self) -> list[int]:
        """Returns how often each stage ran."""
        return [self.toy.runs(name) for name in "ab"]

    def lock(self) -> Any:
        """Returns the content of environment.lock."""
        return json.loads(self.toy.read("environment.lock"))


def make_project(folder: Path) -> None:
    """Makes a project whose stages ran with toypkg 2.21.0."""
    project = Project(Toy(folder))
    project.toy.write({"dvc.yaml": PIPELINE, "in": "one\n"})
    project.install("2.21.0")
    project.set("toypkg: minor, python: minor, processor: report")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")
        run()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of that project, which is also the current folder."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    monkeypatch.syspath_prepend(toy.folder / "site")
    return Project(toy)


def run(*arguments: str) -> None:
    """Runs all stages without Prefect."""
    assert main(["run", "--no-server", *arguments]) == 0


def plan(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the rows of the plan by stage."""
    capsys.readouterr()
    assert main(["plan", "--json"]) == 0
    return {row["stage"]: row for row in json.loads(capsys.readouterr().out)["stages"]}


def test_record(project: Project) -> None:
    """The record has the named versions of each stage, and `dvc repro` and `dvc status` accept the project."""
    assert set(project.lock()) == {"a", "b"}
    assert set(project.lock()["a"]) == {"outputs", "processor", "python", "toypkg"}
    assert project.lock()["a"]["toypkg"] == "2.21.0"
    dvc_repro(project.toy.folder)
    assert status() == {}
    assert project.runs() == [1, 1]


def test_warn(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """By default a change runs nothing: plan and run say it in one line; a patch release is no change."""
    project.install("2.21.4")
    assert plan(capsys)["a"]["environment"] == []
    project.install("2.22.1")
    row = plan(capsys)["a"]
    assert row["verdict"] == "unchanged"
    assert row["environment"] == [
        {"name": "toypkg", "recorded": "2.21.0", "present": "2.22.1", "grade": "minor", "policy": "warn"}
    ]
    line = (
        "note: toypkg 2.21.0 → 2.22.1 since a, b were recorded: results made here can differ from those that dvc.lock "
        "names; `inkflow run --force` makes them here"
    )
    for verb in (["plan"], ["run", "--no-server"]):
        capsys.readouterr()
        assert main(verb) == 0
        assert capsys.readouterr().out.count(line) == 1
    assert project.runs() == [1, 1]


def test_rerun(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """With `rerun` a change is a reason to run, not to restore; going back restores what was made with that version."""
    project.set("toypkg: minor, policy: rerun")
    project.install("2.22.1")
    rows = plan(capsys)
    assert (rows["a"]["verdict"], rows["a"]["reasons"]) == ("run", ["toypkg 2.21.0 → 2.22.1"])
    assert (rows["b"]["verdict"], rows["b"]["reasons"][0]) == ("may run", "depends on the outputs of a")
    run()
    assert "runs: toypkg 2.21.0 → 2.22.1" in capsys.readouterr().out
    assert project.runs() == [2, 2]
    assert project.lock()["a"]["toypkg"] == "2.22.1"
    assert project.toy.read("b") == "one\n2.22.1\n"
    assert {row["verdict"] for row in plan(capsys).values()} == {"unchanged"}
    project.install("2.21.7")
    assert plan(capsys)["a"]["verdict"] == "restore"
    run()
    assert project.runs() == [2, 2]
    assert project.toy.read("b") == "one\n2.21.0\n"
    assert status() == {}


def test_rerun_with_changed_inputs(project: Project) -> None:
    """With `rerun` a result for other inputs that was made with another version is not restored either."""
    project.set("toypkg: minor, policy: rerun")
    project.toy.write({"in": "two\n"})
    run()
    project.install("2.22.1")
    project.toy.write({"in": "one\n"})
    run()
    assert project.toy.read("b") == "one\n2.22.1\n"
    project.install("2.21.0")
    project.toy.write({"in": "two\n"})
    run()
    assert project.runs() == [3, 3]


def test_ignore_and_report(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """`ignore` says nothing, `report` tells a change of each digit, and neither runs a stage."""
    project.install("2.21.1")
    project.set("toypkg: exact, policy: ignore")
    assert plan(capsys)["a"]["environment"] == []
    project.set("toypkg: report, policy: rerun")
    assert plan(capsys)["a"]["environment"][0]["policy"] == "report"
    run()
    assert "toypkg 2.21.0 → 2.21.1 since" in capsys.readouterr().out
    assert project.runs() == [1, 1]


def test_fresh_clone_on_another_processor(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record travels with git: in a clone without data the plan says why the results would differ."""
    lock = project.lock()
    for entry in lock.values():
        entry["processor"] = "Intel x86_64 with AVX2, AVX512, BF16, AMX"
    project.toy.write({"environment.lock": json.dumps(lock), ".gitignore": "*.runs\n/a\n/b\n"})
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "all"], check=True)
    subprocess.run(["git", "clone", "-q", ".", str(tmp_path / "clone")], check=True)
    with chdir(tmp_path / "clone"):
        rows = plan(capsys)
        assert rows["a"]["verdict"] == "run"
        assert rows["b"]["environment"][0]["recorded"] == "Intel x86_64 with AVX2, AVX512, BF16, AMX"
        assert main(["plan"]) == 0
    assert "note: processor Intel x86_64 with AVX2, AVX512, BF16, AMX → " in capsys.readouterr().out


def test_record_of_other_outputs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """After a `dvc repro` that changed the outputs, the record says nothing about them; nor after a restoration."""
    project.toy.write({"in": "two\n"})
    dvc_repro(project.toy.folder)
    project.install("2.22.1")
    assert plan(capsys)["a"]["environment"] == []
    project.toy.write({"in": "one\n"})
    run()
    assert [project.lock()[name]["toypkg"] for name in "ab"] == ["2.21.0"] * 2
    project.toy.write({"in": "two\n"})
    run()
    assert not project.lock()


def test_lost_record(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Without environment.lock, the cache of this machine still knows its own results."""
    (project.toy.folder / "environment.lock").unlink()
    project.install("2.22.1")
    assert plan(capsys)["a"]["environment"][0]["recorded"] == "2.21.0"


@pytest.mark.farm
def test_removed_package(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A recorded package that is not installed any more is a change; one that was never there is a mistake."""
    project.install(None)
    assert plan(capsys)["a"]["environment"][0]["present"] == "not installed"
    project.set("toypkgs: minor, pytst: minor")
    with pytest.raises(PolicyInvalid, match=r"no package .pytst. is installed; did you mean .pytest.\? install it, or"):
        Repository(policies=load_policies(Path()))
    project.set("tensorflow: minor, jaxlib: exact")
    Repository(policies=load_policies(Path())).close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "environment.lock cannot be read .*git checkout environment.lock"),
        ("[1]", "expected an object with an object for each stage"),
        ("{\n<<<<<<< HEAD\n", "environment.lock has a merge conflict"),
        ('{"a": 3}', "expected an object"),
    ],
)
def test_broken_record(project: Project, text: str, message: str) -> None:
    """A record that cannot be read is one sentence with the remedy."""
    project.toy.write({"environment.lock": text})
    with pytest.raises(InvalidInput, match=message):
        main(["plan"])


def test_nothing_named(toy: Toy) -> None:
    """Without the section nothing is written, and no record is read."""
    toy.write({"dvc.yaml": PIPELINE, "in": "one\n", "site/version": "1\n", "environment.lock": "{broken"})
    run()
    assert toy.read("environment.lock") == "{broken"
    assert not (toy.folder / ".dvc/cache/environments").exists()
    assert status() == {}


def test_kill_before_the_record(project: Project) -> None:
    """The environment of a stage is known although its run ended between the run cache and dvc.lock."""
    project.install("2.22.0")
    project.toy.write({"in": "two\n", ".dvc.lock.new/x": "dvc.lock cannot be written\n"})
    with pytest.raises(InkflowError, match="Is a directory"):
        main(["run", "--no-server"])
    shutil.rmtree(project.toy.folder / ".dvc.lock.new")
    run()
    assert {entry["toypkg"] for entry in project.lock().values()} == {"2.22.0"}
    assert project.runs() == [2, 2]
