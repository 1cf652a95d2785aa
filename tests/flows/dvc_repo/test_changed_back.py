"""Inputs that were changed and changed back while a stage ran: it may have read what its record would not name."""

import pytest

from flows.core.errors import InputsChanged
from tests.conftest import Toy, run_engine
from tests.support.registered_reader import git

READS = """
stages:
  reader: {{cmd: "{before}; cat in > out; {after}", deps: [in], params: [speed], outs: [out]}}
"""


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("git checkout -q side", "git checkout -q -", "in"),
        ("echo two > in; git stash -q; git stash pop -q", "git checkout -q in", "in"),
        ("cp params.yaml k; echo 'speed{colon} 2' > params.yaml; sleep 0.5", "mv k params.yaml", "speed"),
    ],
)
def test_changed_and_changed_back(toy: Toy, before: str, after: str, name: str) -> None:
    """A stage during which git brought another content of its input and the old one again is not recorded; a parameter
    that had another value meanwhile counts too.
    """
    commands = {"before": before.format(colon=":"), "after": after}
    toy.write({"dvc.yaml": READS.format(**commands), "in": "one\n", "params.yaml": "speed: 1\n"})
    git("config", "user.name", "n")
    git("config", "user.email", "e@x")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "side")
    toy.write({"in": "other\n"})
    git("commit", "-qam", "side")
    git("checkout", "-q", "-")
    run = run_engine()
    assert isinstance(run.error, InputsChanged), run.error
    assert str(run.error).startswith(f"reader: {name} changed while it ran")
    assert not (toy.folder / "dvc.lock").exists()
