"""Random edits of this project's own code: the plan knows which of them matter."""

import shutil
from pathlib import Path
from random import Random

import pytest

from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import make_plan, status, succeeded
from tests.support.code_history import commit, forget_store
from tests.support.judged_commands import command_judge
from tests.support.random_edits import has_code, random_edit
from tests.support.root import ROOT


@pytest.mark.farm
@pytest.mark.timeout(1800)  # on a busy machine
def test_200_random_edits_of_this_project(toy: Toy) -> None:
    """The plan is right about 200 random edits in the modules of a training, and a run does what it says.

    For each edit, another command of the stage is judged too, which may read the file. A comment in each module of
    stages/train runs nothing.
    """
    shutil.copytree(ROOT / "stages", toy.folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    rooms = ["stages/base", "stages/model", "stages/samples", "stages/train"]
    graph = f"""
stages:
  train: {{cmd: python -m stages.train --help > help.txt, deps: [{", ".join(rooms)}], outs: [help.txt]}}
"""
    toy.write({"dvc.yaml": graph, ".dvcignore": "__pycache__\n", ".gitignore": "__pycache__\n"})
    succeeded(run_engine())
    commit()
    forget_store()
    files = sorted(path for room in rooms for path in Path(room).rglob("*.py"))
    texts = {str(path): path.read_text() for path in files if has_code(path.read_text())}
    judge = command_judge("train", "python -m stages.train --help > help.txt")
    for number in range(200):
        edit = random_edit(Random(number), texts)
        toy.write({edit.file: edit.text})
        assert (make_plan()["train"].verdict is Verdict.UNCHANGED) == edit.is_cosmetic, f"{number}: {edit}"
        judge(Random(number), edit, texts[edit.file])
        if edit.is_cosmetic and number % 5 == 0:
            assert succeeded(run_engine())["train"].outcome is Outcome.UNCHANGED
            assert status() == {}
            texts[edit.file] = edit.text
        toy.write({edit.file: texts[edit.file]})
    trained = Path("stages/train").rglob("*.py")
    toy.write({str(path): f"{path.read_text()}\n# a comment\n" for path in trained})
    assert make_plan()["train"].verdict is Verdict.UNCHANGED
    assert succeeded(run_engine())["train"].outcome is Outcome.UNCHANGED
    assert status() == {}
