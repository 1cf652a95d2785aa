"""Addresses of stages: those that `dvc repro` takes, from any folder, and the stages around them."""

import json
import os
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages

from flows.cli.main import main
from flows.core.errors import UnknownStage
from flows.dvc_repo.repository import Repository
from flows.engine.types import Scope, split_address
from tests.conftest import Toy

PROJECT = {
    "dvc.yaml": """
stages:
  s: {cmd: echo 1 > a, outs: [a]}
  group:
    matrix: {n: [1, "x:y"]}
    cmd: echo ${item.n} > g${item.n}
    outs: ["g${item.n}"]
""",
    "sub/dvc.yaml": """
stages:
  s: {cmd: cat ../a > b, deps: [../a], outs: [b]}
  other: {cmd: mkdir -p tree; cat b > tree/c, deps: [b], outs: [tree]}
""",
    "sub/deep/dvc.yaml": "stages:\n  t: {cmd: cat ../tree/c > t, deps: [../tree/c], outs: [t]}\n",
}


@pytest.fixture
def project(toy: Toy) -> Toy:
    """A project with stages in three folders, in a chain."""
    toy.write(PROJECT)
    return toy


@pytest.mark.parametrize(
    ("folder", "address"),
    [
        (".", "s"), (".", "group"), (".", "group@1"), (".", "group@x:y"), (".", "dvc.yaml"), (".", "dvc.yaml:s"),
        (".", "./dvc.yaml:s"), (".", "sub/dvc.yaml"), (".", "sub/dvc.yaml:s"), (".", "sub/../dvc.yaml:group"),
        ("sub", "s"), ("sub", "other"), ("sub", "dvc.yaml"), ("sub", "../dvc.yaml:s"), ("sub", "deep/dvc.yaml:t"),
    ],
)  # fmt: skip
def test_same_as_dvc(project: Toy, folder: str, address: str) -> None:
    """An address means the same stages as for `dvc repro` in the same folder."""
    with chdir(project.folder / folder), Repo() as repo:
        stages = collect_stages(repo, [address])
        expected = sorted(f"{stage.path}:{stage.name}" for stage in stages)
    with Repository() as repository:
        addresses = map(split_address, repository.resolve([address], Path(folder)))
        assert sorted(f"{repository.root / (file or 'dvc.yaml')}:{name}" for file, name in addresses) == expected


def resolve(repository: Repository, address: str, option: str, folder: str = ".") -> list[str]:
    """Returns the names of the stages at an address, with one option of the command."""
    return repository.resolve([address], Path(folder), glob=option == "glob", recursive=option == "recursive")


@pytest.mark.parametrize(
    ("folder", "address", "option", "names"),
    [
        (".", "./", "", ["s", "group@1", "group@x:y"]),
        (".", "sub", "", ["sub/dvc.yaml:s", "sub/dvc.yaml:other"]),
        (".", "sub/", "recursive", ["sub/dvc.yaml:s", "sub/dvc.yaml:other", "sub/deep/dvc.yaml:t"]),
        ("sub", "b", "", ["sub/dvc.yaml:s"]),
        ("sub", "../a", "", ["s"]),
        ("sub", "tree/c", "", ["sub/dvc.yaml:other"]),
        ("sub", "group", "", ["group@1", "group@x:y"]),
        (".", "group@*", "glob", ["group@1", "group@x:y"]),
        (".", "sub/dvc.yaml:o*", "glob", ["sub/dvc.yaml:other"]),
    ],
)
def test_folders_outputs_and_patterns(project: Toy, folder: str, address: str, option: str, names: list[str]) -> None:
    """Folders, outputs and files in them, patterns, and names of the root are addresses too."""
    with Repository() as repository:
        assert sorted(resolve(repository, address, option, folder)) == sorted(names)


@pytest.mark.parametrize(("address", "option"), [("g*", ""), ("sub/deep", "glob"), ("none*", "glob")])
def test_unknown(project: Toy, address: str, option: str) -> None:
    """An address without a stage is an error that names it."""
    (project.folder / "sub/deep/dvc.yaml").unlink()
    with (
        Repository() as repository,
        pytest.raises(UnknownStage, match=f"unknown stage '{address}'".replace("*", r"\*")),
    ):
        resolve(repository, address, option)


def test_scopes(project: Toy) -> None:
    """A run brings up to date what its targets depend on, what depends on them, or the targets alone."""
    with Repository() as repository:
        names = {scope: [stage.name for stage in repository.stages(["sub/dvc.yaml:other"], scope)] for scope in Scope}
    assert names == {
        Scope.UPSTREAM: ["s", "sub/dvc.yaml:s", "sub/dvc.yaml:other"],
        Scope.DOWNSTREAM: ["sub/dvc.yaml:other", "sub/deep/dvc.yaml:t"],
        Scope.SINGLE: ["sub/dvc.yaml:other"],
    }


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["other"], ["s", "sub/dvc.yaml:s", "sub/dvc.yaml:other"]),
        (["other", "--downstream"], ["sub/dvc.yaml:other", "sub/deep/dvc.yaml:t"]),
        (["o*", "--glob", "--single-item"], ["sub/dvc.yaml:other"]),
        (["deep", "-R", "-s"], ["sub/deep/dvc.yaml:t"]),
    ],
)
def test_plan_from_a_subfolder(
    project: Toy, capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]
) -> None:
    """In a subfolder a name is that of a stage in its dvc.yaml."""
    with chdir("sub"):
        assert main(["plan", "--json", *arguments]) == 0
    assert [stage["stage"] for stage in json.loads(capsys.readouterr().out)["stages"]] == names


def test_option_of_dvc(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that only `dvc repro` has is refused with the one to use here."""
    with pytest.raises(SystemExit):
        main(["run", "--allow-missing"])
    assert "`inkflow plan --recorded` needs no data" in capsys.readouterr().err
    assert not os.path.lexists(".inkflow")
