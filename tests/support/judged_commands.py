"""Judges random edits for other commands of a stage, some of which may read the edited file as text."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from flows.dvc_repo.code.graph_code import stage_code
from flows.dvc_repo.repository import Repository
from flows.python_code.cosmetic import CosmeticJudge
from tests.support.random_edits import RandomEdit, random_command


def command_judge(name: str, run: str) -> Callable[[Random, RandomEdit, str], None]:
    """Returns a check of an edit of the stage `name` in the current folder.

    It makes a random form of the command `run`, and judges the edit of a file that was `old` and has been written.
    """
    with Repository() as repository:
        (code,) = [code for code in map(stage_code, repository.dvc_stages) if code and code.name == name]
    judge = CosmeticJudge(Path())

    def check(random: Random, edit: RandomEdit, old: str) -> None:
        command, is_read = random_command(random, run, edit.file)
        verdict = judge.judge(replace(code, lines=(command,)))
        is_cosmetic = not isinstance(verdict, str) and verdict(edit.file, old.encode(), edit.text.encode())
        assert is_cosmetic == (edit.is_cosmetic and not is_read), f"{command}: {edit}"

    return check
