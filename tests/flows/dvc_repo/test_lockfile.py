"""dvc.lock has each finished stage at once, in the order of the graph, and `dvc gc` and kills lose none."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.utils.serialize import dumps_yaml, loads_yaml

from flows.dvc_repo.lock.lock_text import EMPTY, LockText
from flows.dvc_repo.repository import Repository
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.helpers import dvc_repro, locks, outcomes, status, succeeded, twin
from tests.support.root import ROOT

# `slow` comes first in the graph and waits for the file `go`; the others finish before it.
WAITING = """
stages:
  slow: {cmd: 'until [ -e ../go ]; do sleep 0.05; done; echo 1 > slow', outs: [slow]}
  fetch: {cmd: echo >> fetch.runs; echo data > fetch, outs: [fetch]}
  keep: {cmd: echo >> keep.runs; cp in keep, deps: [in], outs: [keep: {persist: true}]}
  plain: {cmd: echo >> plain.runs; cp in plain, deps: [in], outs: [plain: {cache: false}]}
  quick: {cmd: echo >> quick.runs; cat in in > quick, deps: [in], outs: [quick]}
"""
NAMES = ("fetch", "keep", "plain", "quick")
PROGRAM = ["-m", "tests.support.engine_alone", "5"]


def finished(folder: Path) -> bool:
    """Return True if dvc.lock names all stages that do not wait."""
    lock = folder / "dvc.lock"
    return lock.exists() and all(f"\n  {name}:\n" in lock.read_text() for name in NAMES)


def entry(name: str, cmd: str = "true") -> str:
    """Return the lines of an entry as DVC writes them."""
    return str(dumps_yaml({"stages": {name: {"cmd": cmd, "outs": [{"path": "a", "md5": "0"}]}}})).partition("\n")[2]


def test_a_kill_loses_no_finished_stage(toy: Toy) -> None:
    """Stages without dependencies, with `persist` and uncached outputs that finished before a kill are unchanged in the
    next run, and its dvc.lock is equal to that of `dvc repro`.
    """
    toy.write({"dvc.yaml": WAITING, "in": "one\n"})
    copy = twin(toy.folder)
    with subprocess.Popen(
        [sys.executable, *PROGRAM], env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True
    ) as process:
        wait_until(lambda: finished(toy.folder), timeout_s=120)
        process.send_signal(signal.SIGKILL)
    (toy.folder.parent / "go").touch()
    results = outcomes(succeeded(run_engine()))
    assert {name for name, outcome in results.items() if outcome == "ran"} == {"slow"}
    assert [toy.runs(name) for name in NAMES] == [1, 1, 1, 1]
    dvc_repro(copy)
    assert locks(toy.folder)["dvc.lock"] == locks(copy)["dvc.lock"]


def test_gc_during_a_run_keeps_what_finished(toy: Toy) -> None:
    """`dvc gc --workspace` during a run removes no output of a finished stage."""
    toy.write({"dvc.yaml": WAITING, "in": "one\n"})
    thread = threading.Thread(target=run_engine, kwargs={"jobs": 5})
    thread.start()
    try:
        wait_until(lambda: finished(toy.folder), timeout_s=120)
        with Repo() as repo:
            repo.gc(workspace=True)
    finally:
        (toy.folder.parent / "go").touch()
        thread.join()
    assert status() == {}
    (toy.folder / "quick").unlink()
    with Repo() as repo:
        repo.checkout()
    assert toy.read("quick") == "one\none\n"


@pytest.mark.parametrize("name", ["a", "1", "é b", "x:y", "train@cnn", "a" * 200, "it's", "- a", "~"])
def test_entries_are_those_of_dvc(name: str) -> None:
    """An entry that is inserted or replaced gives the same bytes as DVC's own YAML library."""
    text = EMPTY + entry("first") + entry("last", "echo a &&\n  echo b\n") + "datasets: []\n"
    content = loads_yaml(text)
    for cmd in ("true", "echo " + "long " * 40):
        content["stages"] = {
            "first": content["stages"]["first"],
            name: {"cmd": cmd, "outs": [{"path": "a", "md5": "0"}]},
            "last": content["stages"]["last"],
        }
        parts = LockText.parse(text)
        assert parts is not None
        text = str(parts.with_entry(name, entry(name, cmd), {"last"}))
        assert text == dumps_yaml({key: content[key] for key in ("schema", "stages", "datasets")})


def test_a_name_with_a_line_break_of_yaml() -> None:
    """A dvc.lock with a name that YAML writes on two lines has another form: it is read as a whole."""
    assert LockText.parse(dumps_yaml({"schema": "2.0", "stages": {"a\x85b": {"cmd": "true"}}})) is None


@pytest.mark.parametrize(
    "text",
    [
        "schema: '2.0'\nstages: {}\n",
        "schema: '2.0'\nstages:\n  b: {cmd: x}\n",
        "# kept\nschema: '2.0'\nstages:\n  b:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  b: &b\n    cmd: x\n  c: *b\n",
        "schema: '2.0'\nstages:\n    b:\n        cmd: x\n",
    ],
)
def test_unusual_lock_files(toy: Toy, text: str) -> None:
    """A dvc.lock that was edited by hand keeps its other entries and comments, and gets the new one in its place."""
    commands = "a: {cmd: echo 1 > a, outs: [a]}, b: {cmd: x, frozen: true}, c: {cmd: x, frozen: true}"
    toy.write({"dvc.yaml": f"stages: {{{commands}}}\n", "dvc.lock": text})
    assert not run_engine("a").errors
    before, after = loads_yaml(text)["stages"], loads_yaml(toy.read("dvc.lock"))["stages"]
    assert {name: content for name, content in after.items() if name != "a"} == before
    assert after["a"]["outs"][0]["path"] == "a"
    assert toy.read("dvc.lock").startswith(text.partition("stages")[0])


def test_lock_file_keeps_mode_and_link(toy: Toy) -> None:
    """dvc.lock keeps its file mode, and stays a link if it is one."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: echo 1 > a, outs: [a]}}\n", "real.lock": "schema: '2.0'\n"})
    (toy.folder / "real.lock").chmod(0o664)
    (toy.folder / "dvc.lock").symlink_to("real.lock")
    succeeded(run_engine())
    assert (toy.folder / "dvc.lock").is_symlink()
    assert "a:" in toy.read("real.lock")
    assert (toy.folder / "real.lock").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("autostage", [True, False])
def test_autostage(toy: Toy, autostage: bool) -> None:
    """With `core.autostage`, a run stages dvc.lock and .gitignore in git, as `dvc repro` does; else none."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: echo 1 > a, outs: [a]}}\n"})
    with Repo() as repo, repo.config.edit() as config:
        config["core"]["autostage"] = autostage
    succeeded(run_engine())
    staged = subprocess.run(["git", "diff", "--cached", "--name-only"], capture_output=True, text=True, check=True)
    assert ({"dvc.lock", ".gitignore"} <= set(staged.stdout.split())) is autostage
    with Repository() as repository:
        assert not repository.facts()[0].changes


def test_gitignore_of_another_encoding(toy: Toy) -> None:
    """Lines that are no UTF-8 stay as they are, and so does a line that another program adds below one of DVC's."""
    stages = {
        "a": {"cmd": "echo 1 > a", "outs": ["a"]},
        "b": {"cmd": "echo '!/a' >> .gitignore; echo 1 > b", "outs": ["b"], "deps": ["a"]},
        "c": {"cmd": "echo 1 > c", "outs": ["c"], "deps": ["b"]},
    }
    toy.write({"dvc.yaml": json.dumps({"stages": stages})})
    (toy.folder / ".gitignore").write_bytes(b"# donn\xe9es\x0c\n")
    succeeded(run_engine())
    assert (toy.folder / ".gitignore").read_bytes() == b"# donn\xe9es\x0c\n/a\n!/a\n/b\n/c\n"


def test_an_equal_entry_is_not_written_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in a file that is not in DVC's form: a kill would leave a temporary file, which no later run replaces."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: echo 1 > a, deps: [in], outs: [a]}}\n", "in": "1\n"})
    succeeded(run_engine())
    text = json.dumps(loads_yaml(toy.read("dvc.lock")))
    toy.write({"dvc.lock": text})
    (toy.folder / "a").unlink()
    monkeypatch.setattr("flows.dvc_repo.lock.lockfile._put_entry_slowly", None)
    assert outcomes(succeeded(run_engine())) == {"a": Outcome.RESTORED}
    assert toy.read("dvc.lock") == text
