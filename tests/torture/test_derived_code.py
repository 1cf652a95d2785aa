"""`inkflow deps` against Python itself: the files that the stages of random projects load, after random edits."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from ruamel.yaml import YAML

from flows.cli.main import main
from flows.engine.opened_files.record import SITE
from flows.engine.opened_files.site.sitecustomize import VARIABLE
from tests.conftest import Toy
from tests.torture.conftest import Rounds, Try
from tests.torture.support.random_packages import COMMANDS, EXPORTS, PLAIN, RELATIVE, SEARCHED, STAR, RandomProject

Files = dict[str, set[str]]  # by stage


@pytest.mark.timeout(900)
def test_derived_code_is_what_python_loads(
    promise: Try, rounds: Rounds, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    """After each edit, the stages to which a file belongs are those whose programs load it; `--write` declares that."""
    sentence = "`inkflow deps` derives the files that Python loads for a stage, no more and no less, after each edit."
    forms = sum(map(len, (PLAIN, RELATIVE, [STAR], SEARCHED, EXPORTS)))
    how = f"random edits of random packages, seed 23: {len(COMMANDS)} kinds of commands, {forms} forms of imports, "
    how += "`__all__` and `sys.path`"
    with promise("Declared inputs", sentence, how) as tried:
        for number in range(rounds(1, 10)):
            random = Random(f"23-{number}")
            project, files = working(toy, random)
            for edit in range(rounds(5, 20)):
                file, files = edited(project, files)
                with tried.attempt(f"project {number}, edit {edit}: {file}: {project.files[file]}"):
                    assert derived(capsys) == files
            with tried.attempt(f"project {number}: --write"):
                assert main(["deps", "--write"]) == 0 and main(["deps", "--check"]) == 0
                assert declared(toy.folder, project) == files


def working(toy: Toy, random: Random) -> tuple[RandomProject, Files]:
    """Returns a project whose programs all run, with the files that they load."""
    graph = {name: {"cmd": command} for name, command in COMMANDS.items()}
    toy.write({"dvc.yaml": json.dumps({"stages": graph}), ".dvcignore": "__pycache__\n"})
    while True:
        project = RandomProject(toy.folder, random)
        if files := loaded(project):
            return project, files


def edited(project: RandomProject, files: Files) -> tuple[str, Files]:
    """Edits a file so that all programs still run; returns the file, and what they load then."""
    while True:
        file, before = project.edit()
        if after := loaded(project):
            return file, after
        project.undo(file, before)


def loaded(project: RandomProject) -> Files:
    """Returns the project's files that Python opens for each command; nothing if one of them fails."""
    found: Files = {}
    record = project.root / ".inkflow" / "opened" / "a"
    record.parent.mkdir(parents=True, exist_ok=True)
    own = {"PYTHONPATH": str(SITE), VARIABLE: str(record), "PYTHONDONTWRITEBYTECODE": "1"}
    for name, command in COMMANDS.items():
        record.write_text("")
        if subprocess.run(command, shell=True, cwd=project.root, env=os.environ | own, capture_output=True).returncode:
            return {}
        opened = {line.partition("\t")[2] for line in record.read_text().splitlines()}
        found[name] = opened & set(project.files)
    return found


def derived(capsys: pytest.CaptureFixture[str]) -> Files:
    """Returns the files that `inkflow deps` derives; it must have followed all imports."""
    capsys.readouterr()
    assert main(["deps", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["stages"]
    assert not any(row["dynamic"] or row["not_looked_at"] for row in rows)
    return {row["stage"]: set(row["files"]) for row in rows}


def declared(root: Path, project: RandomProject) -> Files:
    """Returns the project's files in the dependencies of each stage."""
    stages: Mapping[str, Mapping[str, list[str]]] = YAML(typ="safe").load(root / "dvc.yaml")["stages"]
    return {
        name: {file for file in project.files if any(f"{file}/".startswith(f"{entry}/") for entry in stage["deps"])}
        for name, stage in stages.items()
    }
