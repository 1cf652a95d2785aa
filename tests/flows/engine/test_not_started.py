"""Stages that fail before their command runs: one sentence that begins with the stage and says what to do."""

import json

import pytest

from flows.engine.policy import Policies, StagePolicy
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine

MISSING = "a: `wdir` deep/er does not exist; create it (git keeps no empty folders: add a file)"


@pytest.mark.parametrize("preload", [(), ("json",)])
def test_no_working_folder(toy: Toy, preload: tuple[str, ...]) -> None:
    """A working folder that does not exist is named as in dvc.yaml, and what to do, with and without preloading."""
    stage = {"wdir": "deep/er", "cmd": "python -m json.tool in", "outs": ["../../out"]}
    toy.write({"dvc.yaml": json.dumps({"stages": {"a": stage}})})
    error = run_engine(policies=Policies(stages={"a": StagePolicy(preload=preload)})).error
    assert isinstance(error, InvalidInput)
    assert str(error) == MISSING


def test_working_folder_that_is_a_file(toy: Toy) -> None:
    """A file in the place of the working folder is named."""
    stage = {"wdir": "deep", "cmd": "true", "always_changed": True}
    toy.write({"dvc.yaml": json.dumps({"stages": {"a": stage}}), "deep": ""})
    assert str(run_engine().error) == "a: `wdir` deep is a file, expected a folder; correct dvc.yaml"


def test_long_command(toy: Toy) -> None:
    """Linux starts no command with an argument of 128 KiB: the message says so, and what to do."""
    toy.write({"dvc.yaml": json.dumps({"stages": {"a": {"cmd": f"echo {'x' * (128 << 10)} > out", "outs": ["out"]}}})})
    error = str(run_engine().error)
    assert error == "a: its command cannot be started: Argument list too long; put a part of it into a script"


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"params": ["nope"]}, "a: Parameters 'nope' are missing from 'params.yaml'."),
        ({"deps": ["missing.txt"]}, "a: dependency 'missing.txt' does not exist"),
        ({"cmd": "echo 'error: b' >&2; exit 3"}, "a failed (exit code 3): b"),
    ],
)
def test_messages_begin_with_the_stage(toy: Toy, stage: dict[str, object], message: str) -> None:
    """The last line of a run tells which stage has failed, once, also for an error of DVC."""
    content = {"cmd": "echo > out", "outs": ["out"], **stage}
    toy.write({"dvc.yaml": json.dumps({"stages": {"a": content}}), "params.yaml": "{}\n"})
    assert str(run_engine().error) == message
