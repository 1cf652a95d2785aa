"""The program that tells the digests of a data set at its source and in params.yaml."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.base.errors import InvalidInput, SourceUnavailable
from stages.download import source_digests
from tests.conftest import Toy
from tests.flows.test_retrain import digests_of, mirror, write_dataset
from tests.support.http_server import Server, serve
from tests.support.root import ROOT

__all__ = ["mirror"]  # fixture


@pytest.fixture
def described(mirror: Path, toy: Toy) -> Toy:
    """Return a folder with the parameters of `short` alone, which is all that the program `source_digests` reads."""
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    params["datasets"]["mnist"]["sha256"] = write_dataset(mirror)
    toy.write({"params.yaml": json.dumps(params | {"dataset": "mnist"})})
    return toy


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON value that the program printed."""
    return json.loads(capsys.readouterr().out)


def test_digests_of_a_folder_and_an_address(
    described: Toy, mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program prints the digests at the mirror, a folder or an address, and those of params.yaml."""
    new = write_dataset(mirror, label=3)
    assert source_digests.main([]) == 0
    folder_digests = printed_json(capsys)
    assert folder_digests["present"] == new
    assert folder_digests["recorded"] == digests_of(described)
    with Server().running() as server:
        server.respond_with(serve(mirror.read_bytes()))
        monkeypatch.setenv("INKFLOW_MIRROR", server.url)
        assert source_digests.main([]) == 0
    assert printed_json(capsys)["present"] == new


def test_an_embedded_data_set_has_no_source(described: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The digits are part of a library: they have no source, and their digests match."""
    assert source_digests.main(["--dataset", "digits"]) == 0
    digests = printed_json(capsys)
    assert (digests["source"], digests["present"]) == (None, digests["recorded"])


def test_other_sources_are_not_read(described: Toy, mirror: Path) -> None:
    """If the mirror has no file, the program fails and does not read other sources."""
    mirror.unlink()
    with pytest.raises(SourceUnavailable, match="there is no such file"):
        source_digests.main([])


def test_unknown_data_set(described: Toy) -> None:
    """A name that params.yaml does not have is refused, with the known names."""
    with pytest.raises(InvalidInput, match="there is no key 'mnits'; did you mean 'mnist'\\? known: mnist, digits"):
        source_digests.main(["--dataset", "mnits"])
