"""Outputs with `push: false` leave this machine in no way, and a push sends no damaged content."""

import re
import threading
from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent
from flows.dvc_repo import remotes
from flows.dvc_repo.repository import Repository
from tests.conftest import Toy, run_engine
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote

PRIVATE = """
stages:
  source: {cmd: mkdir -p out; cp in out/one, deps: [in], outs: [out]}
  join: {cmd: cat out/one > joined; echo joined >> joined, deps: [out], outs: [joined]}
"""


def make_project(folder: Path) -> None:
    """Makes a project whose stages ran."""
    Toy(folder).write({"dvc.yaml": PRIVATE, "in": "one\n"})
    assert not run_engine().errors


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, with a remote that is a folder."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    add_remote(tmp_path / "store")
    return toy


def test_private_outputs_stay_here(project: Toy, tmp_path: Path) -> None:
    """Outputs with `push: false` are in no remote, neither by themselves nor as a part of a run-cache entry, also those
    of earlier runs; none counts as missing in the remote.
    """
    project.write({"dvc.yaml": PRIVATE.replace("outs: [joined]", "outs: [joined: {push: false}]")})
    before = project.read("joined")
    project.write({"in": "two\n"})
    assert run_engine().error is None
    remotes.push_all(Path())
    sent = {path.read_text() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert not sent & {before, project.read("joined")}
    assert not any("joined" in text for text in sent)
    assert remotes.missing_in_remote(Path()) == {}


def test_equal_paths_in_two_folders(project: Toy, tmp_path: Path) -> None:
    """`push: false` and `remote` of a stage do not count for one of another folder with an output of the same path."""
    add_remote(tmp_path / "internal", "internal", is_default=False)
    stage = "stages: {{s: {{cmd: echo {0} > model, deps: [../in], outs: [model: {{{1}}}]}}}}\n"
    options = {"a": "push: false", "b": "remote: internal", "c": "persist: false"}
    project.write({f"{folder}/dvc.yaml": stage.format(folder, option) for folder, option in options.items()})
    assert run_engine().error is None
    remotes.push_run_cache(Path())
    sent = {
        store: {path.read_text() for path in (tmp_path / store).rglob("*") if path.is_file()}
        for store in ("store", "internal")
    }
    assert "c\n" in sent["store"] and "b\n" in sent["internal"]
    assert not {"a\n", "b\n"} & sent["store"] and not {"a\n", "c\n"} & sent["internal"]


@pytest.mark.parametrize("option", ["push: false", "remote: internal"])
def test_outputs_that_dvc_yaml_no_longer_names(project: Toy, tmp_path: Path, option: str) -> None:
    """An output that was renamed since is not sent, nor are the entries that name it: its settings are not known."""
    add_remote(tmp_path / "internal", "internal", is_default=False)
    stage = f"stages: {{s: {{cmd: echo private > NAME, deps: [in], outs: [NAME: {{{option}}}]}}}}\n"
    for name in ("before", "after"):
        project.write({"dvc.yaml": stage.replace("NAME", name)})
        assert run_engine().error is None
    remotes.push_all(Path())
    sent = [path.read_text() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not any("private\n" in text or "path: before" in text for text in sent)


def test_entries_of_earlier_inputs_are_sent(project: Toy, tmp_path: Path) -> None:
    """Results of other inputs are sent if a stage still has the output: of a group, in a folder, in a dvc.yaml."""
    group = "{foreach: [x, y], do: {cmd: 'echo ${item} > ${item}; cat in >> ${item}', deps: [in], outs: ['${item}']}}"
    inner = "{wdir: deep, cmd: echo deep > d; cat ../in >> d, deps: [../in], outs: [d]}"
    other = "stages: {s: {cmd: echo other > o; cat ../in >> o, deps: [../in], outs: [o]}}\n"
    project.write({"dvc.yaml": f"stages: {{g: {group}, i: {inner}}}\n", "sub/dvc.yaml": other, "deep/.keep": ""})
    for text in ("1\n", "2\n"):
        project.write({"in": text})
        assert run_engine().error is None
    remotes.push_run_cache(Path())
    sent = {path.read_text() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert sent >= {f"{name}\n{text}\n" for name in ("x", "y", "deep", "other") for text in "12"}


def test_push_replaces_damaged_objects(project: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged object of the cache is not sent: the output in the workspace is added again."""
    digest = re.search(r"path: joined\s+hash: md5\s+md5: (\w+)", project.read("dvc.lock"))
    assert digest
    name = f"files/md5/{digest[1][:2]}/{digest[1][2:]}"
    path = project.folder / ".dvc/cache" / name
    path.chmod(0o644)
    path.write_text("damaged")
    path.chmod(0o444)
    remotes.push(Path())
    assert (tmp_path / "store" / name).read_text() == project.read("joined")
    assert "was damaged" in capsys.readouterr().err


def test_data_sets_of_dvc_are_no_outputs(project: Toy) -> None:
    """A stage of a pool may depend on a data set of DVC, which has no path: the stage is refused with a reason."""
    data_set = "datasets:\n- {name: ext, url: https://example.org/x, type: url}\n"
    project.write({"dvc.yaml": data_set + PRIVATE.replace("deps: [out]", 'deps: ["ds://ext", out]')})
    with Repository() as repository:
        transfer = repository.transfer(0.0, threading.Event())
        with pytest.raises(CannotBeSent, match="DVC keeps no run cache for it"):
            transfer.ensure_possible("join")


@pytest.mark.parametrize("option", ["push: false", "remote: store"])
def test_private_outputs_are_not_sent_to_workers(project: Toy, tmp_path: Path, option: str) -> None:
    """A stage of a pool that writes or reads an output with `push: false` or `remote` is refused, with the option."""
    project.write({"dvc.yaml": PRIVATE.replace("outs: [out]", f"outs: [out: {{{option}}}]")})
    with Repository() as repository:
        transfer = repository.transfer(0.0, threading.Event())
        for stage in ("source", "join"):
            with pytest.raises(CannotBeSent, match=f"out has `{option}` in dvc.yaml"):
                transfer.ensure_possible(stage)
