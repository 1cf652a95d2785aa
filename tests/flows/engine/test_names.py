"""Stages with long and non-Latin names: backups, records and recovery work as for others."""

from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml

from flows.engine import output_backup
from flows.engine.lock_entry import read_entry
from flows.engine.types import Outcome, file_name, split_address
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import dvc_repro, locks, outcomes, run_as_planned, succeeded, twin

NAMES = ["训练" * 40, "x:y", "è é/ü", "a" * 250]


@pytest.mark.cases(3)
@pytest.mark.parametrize("name", NAMES)
def test_run_and_failure(toy: Toy, name: str) -> None:
    """The stage runs as by `dvc repro`; when it fails, its earlier output is restored."""
    stage = "stages:\n  用:\n    foreach: ['{name}']\n    do: {{cmd: '{command}', deps: [in], outs: [out]}}\n"
    toy.write({"dvc.yaml": stage.format(name=name, command="cat in > out"), "in": "one\n"})
    copy = twin(toy.folder)
    assert outcomes(run_as_planned()) == {f"用@{name}": Outcome.RAN}
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    toy.write({"dvc.yaml": stage.format(name=name, command="cat in >> out; false")})
    assert run_engine().errors
    assert toy.read("out") == "one\n"
    toy.write({"dvc.yaml": stage.format(name=name, command="cat in > out")})
    assert outcomes(succeeded(run_engine())) == {f"用@{name}": Outcome.UNCHANGED}


@pytest.mark.parametrize("name", NAMES)
def test_recovery(tmp_path: Path, name: str) -> None:
    """A backup that a killed run left is restored, unless dvc.lock has got another entry for the stage."""
    (tmp_path / "out").write_text("earlier")
    output_backup.backup_outputs(tmp_path, f"s@{name}", ["out"])
    with output_backup.earlier_outputs(tmp_path) as folder:
        assert (folder / "out").read_text() == "earlier"
    output_backup.restore_all(tmp_path)
    assert (tmp_path / "out").read_text() == "earlier"
    assert not output_backup.has_backups(tmp_path)


@pytest.mark.parametrize("name", ["s@a'", 's@a"', "s@'a'", "s@a\\", "s@a\t", "s@ü'\tb", "s@a b", "s@1", "é", "~", "'"])
def test_entry_of_a_name_that_yaml_quotes(tmp_path: Path, name: str) -> None:
    """The entry of a stage is found in the form that DVC writes, whatever characters its name has."""
    stages = {other: {"cmd": f"echo {number}"} for number, other in enumerate(["s@a", name, "s@a'x"])}
    (tmp_path / "dvc.lock").write_text(dumps_yaml({"schema": "2.0", "stages": stages}))
    assert read_entry(tmp_path, name) == ["    cmd: echo 1"]
    assert read_entry(tmp_path, f"{name}'") is None


def test_new_record_of_a_long_name(toy: Toy) -> None:
    """A record that `dvc repro` wrote after a killed run is found under a long name: the newer output is kept."""
    stage = f"s@{'a' * 250}"
    command = "{cmd: cat in > out, deps: [in], outs: [out]}"
    toy.write({"dvc.yaml": f"stages:\n  s:\n    foreach: [{'a' * 250}]\n    do: {command}\n"})
    for content in ("one\n", "two\n"):
        toy.write({"in": content})
        dvc_repro(toy.folder)
        if content == "one\n":
            output_backup.backup_outputs(toy.folder, stage, ["out"])
    assert output_backup.is_outdated(toy.folder, stage)
    output_backup.restore_all(toy.folder)
    assert toy.read("out") == "two\n"


def test_file_names() -> None:
    """Names of files are short and different for different stages."""
    long = [f"{'训' * 100}{number}" for number in range(3)]
    names = {file_name(name) for name in [*long, "a", "a@b"]}
    assert len(names) == 5
    assert max(len(name.encode()) for name in names) <= 200


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("train@a:b", ("", "train@a:b")),
        ("sub/dvc.yaml:train@a:b", ("sub/dvc.yaml", "train@a:b")),
        ("dvc.yaml:s", ("dvc.yaml", "s")),
        ("train@mydvc.yaml:b", ("", "train@mydvc.yaml:b")),
        ("data.dvc", ("", "data.dvc")),
    ],
)
def test_addresses(address: str, parts: tuple[str, str]) -> None:
    """The file and the name in an address; a colon in the name of a stage is no separator."""
    assert split_address(address) == parts
