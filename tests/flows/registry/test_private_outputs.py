"""Outputs of a registered version that may not be pushed stay here, also when a later call pushes the version."""

from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from tests.conftest import Toy
from tests.flows.registry.conftest import PIPELINE, commit, git
from tests.support.dvc_calls import add_remote


@pytest.mark.parametrize("option", ["push: false", "remote: internal"])
def test_a_version_that_a_later_call_pushes(models: Toy, tmp_path: Path, option: str) -> None:
    """An output with `push: false` at the version's commit is not sent, one with `remote` goes to that remote."""
    git("init", "-q", "--bare", str(tmp_path / "origin.git"))
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    add_remote(tmp_path / "store")
    add_remote(tmp_path / "internal", "internal", is_default=False)
    private = PIPELINE.replace("[size]", f"[size: {{{option}}}]").replace("wc -c < model.bin", "echo private")
    models.write({"dvc.yaml": private})
    commit("two")
    assert inkflow(["promote", "net", "prod"]) == 0
    models.write({"dvc.yaml": private.replace("private", "later")})
    commit("three")
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    sent = {
        name: {path.read_text() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("store", "internal")
    }
    assert "two" in sent["store"]
    assert not any(text.startswith("private") for text in sent["store"])
    assert any(text.startswith("private") for text in sent["internal"]) is (option != "push: false")
