"""Inputs that were changed and changed back while a stage ran: it may have read what its record would not name."""

import json

import pytest

from flows.core.errors import InputsChanged
from flows.dvc_repo.concurrency import params_watch
from flows.dvc_repo.concurrency.params_watch import ParamsWatch
from tests.conftest import Toy, run_engine
from tests.support.registered_reader import git

READS = """
stages:
  reader: {{cmd: "{before}; cat in > out; {after}", deps: [in], params: [speed], outs: [out]}}
"""
UNTIL_SEEN = "timeout 240 sh -c 'until test -e seen; do sleep 0.05; done'"  # by the watch of the parameters


def start(toy: Toy, **commands: str) -> None:
    """Commits a stage with these commands, and another version of its input on the branch `side`."""
    toy.write({"dvc.yaml": READS.format(**commands), "in": "one\n", "params.yaml": "speed: 1\n"})
    git("config", "user.name", "n")
    git("config", "user.email", "e@x")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "side")
    toy.write({"in": "other\n"})
    git("commit", "-qam", "side")
    git("checkout", "-q", "-")


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("git checkout -q side", "git checkout -q -", "in"),
        ("echo two > in; git stash -q; git stash pop -q", "git checkout -q in", "in"),
        ("git reset -q --hard side", "git reset -q --hard side~", "in"),
        ("git merge -q --no-edit side", "git reset -q --hard side~", "in"),
        (f"cp params.yaml k; echo 'speed{{colon}} 2' > params.yaml; {UNTIL_SEEN}", "mv k params.yaml", "speed"),
    ],
)
def test_changed_and_changed_back(
    toy: Toy, before: str, after: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage during which git brought another content of its input and the old one again is not recorded; a parameter
    that had another value meanwhile counts too.
    """
    compare = ParamsWatch._compare

    def compare_and_tell(watch: ParamsWatch, files: set[str]) -> None:
        compare(watch, files)
        if any(watch._changed.values()):
            toy.write({"seen": ""})

    monkeypatch.setattr(ParamsWatch, "_compare", compare_and_tell)
    start(toy, before=before.format(colon=":"), after=after)
    run = run_engine()
    assert isinstance(run.error, InputsChanged), run.error
    assert str(run.error).startswith(f"reader: {name} changed while it ran")
    assert not (toy.folder / "dvc.lock").exists()


@pytest.mark.parametrize(
    "command",
    [
        "git add other",
        "git add in other; git commit -qm other",
        "git commit -q --amend -m again",
        "git status",
        "git checkout -qb third",
        "git checkout -q beside; git checkout -q -",
        "git rm -qf --cached other",
    ],
)
def test_other_commands_of_git(toy: Toy, command: str) -> None:
    """A stage that saves its input again with the same content is recorded, whatever git does to other files."""
    start(toy, before="sleep 0.05; cp in k; cat k > in", after=command)
    git("branch", "beside")
    git("checkout", "-q", "beside")
    toy.write({"elsewhere": "beside\n"})
    git("add", "elsewhere")
    git("commit", "-qm", "beside")
    git("checkout", "-q", "-")
    toy.write({"other": "new\n"})
    git("add", "other")
    toy.write({"other": "newer\n", "in": "edited before the run\n"})
    assert run_engine().error is None
    assert (toy.folder / "out").read_text() == "edited before the run\n"


def test_first_commit(toy: Toy) -> None:
    """A project's first commit while a stage saves its input again disturbs it as little."""
    commands = {"before": "cp in k; cat k > in", "after": "git add in; git commit -qm one"}
    toy.write({"dvc.yaml": READS.format(**commands), "in": "one\n", "params.yaml": "speed: 1\n"})
    git("config", "user.name", "n")
    git("config", "user.email", "e@x")
    assert run_engine().error is None


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("start_of_edit", "confirm_s"),
    [
        (": > params.yaml; sleep 0.5", 0.05),
        ("rm params.yaml; sleep 0.5", 0.05),
        ("echo 'speed: 1' > params.yaml; sleep 0.2", 2.0),
    ],
)
def test_file_of_parameters_during_its_write(
    toy: Toy, start_of_edit: str, confirm_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of parameters that is missing, empty or half written for a moment is no other value."""
    monkeypatch.setattr(params_watch, "CONFIRM_S", confirm_s)
    toy.write({"edit.sh": f"cp params.yaml k; {start_of_edit}; cat k > params.yaml\n"})
    toy.write({"params.yaml": "speed: 1\nsize: 2\n", "in": "one\n"})
    toy.write({"dvc.yaml": READS.format(before="sh edit.sh", after="true").replace("[speed]", "[speed, size]")})
    assert run_engine().error is None


def test_input_with_the_name_of_a_parameter(toy: Toy) -> None:
    """An input that changes while its stage runs is noticed, although a parameter of the stage has its name."""
    stage = {"cmd": "cat data > out; echo two > data", "deps": ["data"], "params": ["data"], "outs": ["out"]}
    toy.write(
        {"dvc.yaml": json.dumps({"stages": {"train": stage}}), "params.yaml": "data: {size: 1}\n", "data": "one\n"}
    )
    run = run_engine()
    assert isinstance(run.error, InputsChanged), run.error
    assert str(run.error).startswith("train: data changed while it ran")
    assert not (toy.folder / "dvc.lock").exists()
