"""Backups of outputs, and recovery after kill -9: no output is lost, and no partial file counts as complete."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.dvc_repo.recovery import recover
from flows.engine import output_backup
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.graphs import CHAIN
from tests.flows.engine.helpers import (
    dvc_repro,
    make_plan,
    outcomes,
    run_as_planned,
    status,
    succeeded,
)
from tests.support.root import ROOT

MEMORY = Path("/dev/shm")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, deleted after the test."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system that is writable for every user")
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def test_outputs_on_another_disk(tmp_path: Path, disk: Path) -> None:
    """Files, folders and links on another file system are backed up and restored unchanged."""
    (tmp_path / "models").symlink_to(disk)
    (disk / "folder/inner").mkdir(parents=True)
    (disk / "folder/inner/x").write_text("x")
    (disk / "file").write_text("old")
    (disk / "link").symlink_to("nowhere")
    paths = ["models/folder", "models/file", "models/link"]
    output_backup.backup_outputs(tmp_path, "train", paths)
    assert not any(os.path.lexists(tmp_path / path) for path in paths)
    (disk / "file").write_text("half")
    output_backup.restore_outputs(tmp_path, "train")
    assert ((disk / "folder/inner/x").read_text(), (disk / "file").read_text()) == ("x", "old")
    assert (disk / "link").readlink() == Path("nowhere")
    assert {path.name for path in disk.iterdir()} == {"file", "folder", "link"}
    assert not output_backup.has_backups(tmp_path)


def test_kill_during_move_to_another_disk(tmp_path: Path, disk: Path) -> None:
    """A partial file that a kill leaves during a move to another file system never counts as the output."""
    (tmp_path / "models").symlink_to(disk)
    (disk / "file").write_text("whole")
    output_backup.backup_outputs(tmp_path, "train", [])
    (folder,) = (tmp_path / output_backup.FOLDER).iterdir()
    (folder / output_backup.LIST).write_text('{"paths": ["models/file"]}')
    (folder / ".0.moving").write_text("ha")
    output_backup.restore_all(tmp_path)
    assert (disk / "file").read_text() == "whole"
    output_backup.backup_outputs(tmp_path, "train", ["models/file"])
    (disk / ".file.moving").write_text("ha")
    output_backup.restore_all(tmp_path)
    assert (disk / "file").read_text() == "whole"
    assert list(disk.iterdir()) == [disk / "file"]


def test_temporary_files_of_a_killed_program(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed program's temporary files beside its outputs are removed; other hidden files stay."""
    toy.write({"out/.model-2024.keras": "of a person"})
    write = "import os; from stages.base.files import replacing; from pathlib import Path\n"
    write += "with replacing(Path('out/model.keras')) as path: path.write_text('half'); os.kill(os.getpid(), 9)\n"
    toy.write({"write.py": write, "dvc.yaml": "stages:\n  a: {cmd: python write.py, outs: [out/model.keras, out/b]}\n"})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert run_engine().error is not None
    assert sorted(path.name for path in (toy.folder / "out").iterdir() if path.name != ".gitignore") == [
        ".model-2024.keras"
    ]


def test_newer_outputs_are_kept(toy: Toy) -> None:
    """Outputs that `dvc repro` makes beside a backup, as a killed run leaves it, are not overwritten with it."""
    toy.write(CHAIN)
    succeeded(run_engine())
    output_backup.backup_outputs(toy.folder, "a", ["a"])
    toy.write({"in": "two\n"})
    dvc_repro(toy.folder)
    recover(toy.folder)
    assert toy.read("a") == "two\n"
    assert {decision.verdict for decision in make_plan().values()} == {Verdict.UNCHANGED}
    assert not output_backup.has_backups(toy.folder)


@contextmanager
def dvc_that_writes(path: Path) -> Iterator[None]:
    """Lists a living process as the one that writes `path` in the project of this folder; kills it afterwards."""
    with subprocess.Popen(["sleep", "600"]) as writer:
        try:
            Path(".dvc/tmp").mkdir(parents=True)
            use = {str(path.absolute()): {"pid": writer.pid, "cmd": "dvc repro"}}
            Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": use}))
            yield
        finally:
            writer.kill()


@pytest.mark.parametrize("written", ["out", "out/a", "out/a/inner"])
def test_outputs_that_dvc_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """While `dvc repro` writes the outputs of a killed run, the backup stays; it is restored if that is killed too."""
    monkeypatch.chdir(tmp_path)
    output = Path("out/a")
    output.parent.mkdir()
    output.write_text("old")
    output_backup.backup_outputs(tmp_path, "train", ["out/a"])
    output.write_text("new")
    with dvc_that_writes(Path(written)):
        output_backup.restore_all(tmp_path)
        assert not output_backup.restore_leftover(tmp_path, "train")
        assert (output.read_text(), output_backup.has_backups(tmp_path)) == ("new", True)
    output_backup.restore_all(tmp_path)
    assert (output.read_text(), output_backup.has_backups(tmp_path)) == ("old", False)


@pytest.mark.parametrize(("written", "is_busy"), [("out/a/inner", True), ("other", False)])
def test_outputs_of_a_damaged_backup_that_dvc_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, is_busy: bool
) -> None:
    """The outputs in a backup whose list is damaged are not put where `dvc repro` writes."""
    monkeypatch.chdir(tmp_path)
    output = Path("out/a")
    output.parent.mkdir()
    output.write_text("old")
    output_backup.backup_outputs(tmp_path, "train", ["out/a"])
    Path(".inkflow/aside/train/paths.json").write_text("{")
    with dvc_that_writes(Path(written)):
        assert output_backup.restore_leftover(tmp_path, "train") is not is_busy
        assert output.exists() is not is_busy
    assert output_backup.restore_leftover(tmp_path, "train")
    assert (output.read_text(), output_backup.has_backups(tmp_path)) == ("old", False)


def test_recovery_waits_for_dvc(toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dvc.lock that DVC, which holds its lock, has written in part does not make the backup an outdated one."""
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.2)  # of three seconds, after which the wait is told
    toy.write(CHAIN)
    succeeded(run_engine())
    before, recorded = toy.read("a"), toy.read("dvc.lock")
    output_backup.backup_outputs(toy.folder, "a", ["a"])
    said = list[str]()

    def waits() -> bool:
        said.append(capsys.readouterr().err)
        return "the clean-up waits: another process holds DVC's lock" in "".join(said)

    with Repo() as repo:
        with repo.lock:
            toy.write({"dvc.lock": ""})
            recovery = threading.Thread(target=recover, args=[toy.folder])
            recovery.start()
            wait_until(waits, timeout_s=120)
            toy.write({"dvc.lock": recorded})
        recovery.join()
    assert (toy.read("a"), output_backup.has_backups(toy.folder)) == (before, False)


@pytest.mark.parametrize("cmd", ["echo 1", "|\n      echo 1\n\n      echo 2"])
def test_only_the_own_entry_counts(tmp_path: Path, cmd: str) -> None:
    """A backup is restored if dvc.lock has a new entry of another stage, but not if it has one of the same stage."""
    (tmp_path / "sub").mkdir()
    own = "  a:\n    cmd: {cmd}\n    outs:\n    - path: a\n      md5: {a}\n"
    lock = "schema: '2.0'\nstages:\n" + own + "  a2:\n    cmd: {other}\n"
    for kind, entry, is_restored in (("other", "1", True), ("own", "2", False)):
        (tmp_path / "sub/dvc.lock").write_text(lock.format(cmd=cmd, a="1", other="x"))
        (tmp_path / "sub/a").write_text("old")
        output_backup.backup_outputs(tmp_path, "sub/dvc.yaml:a", ["sub/a"])
        (tmp_path / "sub/a").write_text("new")
        (tmp_path / "sub/dvc.lock").write_text(lock.format(cmd=cmd, a=entry, other=kind))
        output_backup.restore_all(tmp_path)
        assert (tmp_path / "sub/a").read_text() == ("old" if is_restored else "new")


def test_partial_first_lock(toy: Toy) -> None:
    """A partial dvc.lock that a kill left before the first complete one is ignored."""
    toy.write(CHAIN | {".dvc.lock.new": "schema: '2.0'\nstages:\n  gone:\n    cmd: [ec"})
    succeeded(run_engine())
    assert "gone" not in toy.read("dvc.lock")
    assert status() == {}


@pytest.mark.cases(1)
@pytest.mark.parametrize("content", ["", "cmd: echo\nouts", "schema: 1\n"])
def test_partial_run_cache_entry(toy: Toy, content: str) -> None:
    """A partial entry that a kill left in the run cache is ignored: the plan says that the stage runs, and it runs."""
    toy.write(CHAIN)
    run_as_planned()
    toy.write({"in": "two\n"})
    run_as_planned()
    for entry in (toy.folder / ".dvc/cache/runs").glob("??/*"):
        (entry / ".WaNcKf2xQ.tmp").write_text(content)
    toy.write({"in": "one\n"})
    assert make_plan()["a"].verdict is Verdict.RUN
    assert outcomes(run_as_planned())["a"] is Outcome.RAN
    assert status() == {}


def test_damaged_run_cache_entry(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry without its outputs, which DVC would take for that of the stage, is named and written anew."""
    toy.write(CHAIN)
    run_as_planned()
    entries = [*(toy.folder / ".dvc/cache/runs").glob("??/*/*")]
    whole = [entry.read_text() for entry in entries]
    for entry, text in zip(entries, whole, strict=True):
        entry.write_text(text.partition("outs:")[0])
    succeeded(run_engine(force=True))
    assert [entry.read_text() for entry in entries] == whole
    assert f"{entries[0].name} in DVC's run cache was damaged" in capsys.readouterr().err


def test_files_that_a_killed_dvc_was_writing(toy: Toy) -> None:
    """Those beside outputs are removed: a stage may depend on the folder around them. Other hidden files stay."""
    stages = "a: {cmd: echo a > out/a, deps: [in], outs: [out/a]}, b: {cmd: ls -A out > b, deps: [out], outs: [b]}"
    toy.write({"in": "one\n", "out/.hidden.tmp": "of a person", "dvc.yaml": f"stages: {{{stages}}}\n"})
    succeeded(run_engine())
    made = toy.read("dvc.lock")
    toy.write({"out/._AYtP0ZtaxVV0j-KCEd9dA.tmp": "half"})
    succeeded(run_engine())
    assert toy.read("dvc.lock") == made
    assert toy.read("b").split() == [".gitignore", ".hidden.tmp", "a"]
    assert status() == {}


def test_timings_that_cannot_be_written(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose stages succeed is not failed by a file of estimates that cannot be written."""
    toy.write(CHAIN)
    (toy.folder / ".inkflow/timings.json").mkdir(parents=True)
    succeeded(run_engine())
    assert "the durations of this run are not kept: " in capsys.readouterr().err


@pytest.mark.parametrize("time_ns", [0, 10**18 * 4], ids=["set back", "set forward"])
def test_temporary_files_while_the_clock_jumps(tmp_path: Path, time_ns: int) -> None:
    """A killed program's temporary files are removed, and a person's kept, whatever times the files have."""
    kept = ("model.keras", ".model-4194301.tmp.keras", ".model-20260101120000.keras")
    for name in kept:
        (tmp_path / name).write_text("of a person")
    output_backup.backup_outputs(tmp_path, "train", ["model.keras"])
    for name in (".model-4194302.tmp.keras", ".model.keras.new"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, ns=(time_ns, time_ns))
    os.utime(tmp_path / ".model-4194301.tmp.keras", ns=(time_ns, time_ns))
    output_backup.restore_all(tmp_path)
    assert {path.name for path in tmp_path.glob("*model*")} == set(kept)


def test_backup_without_list_from_the_future(tmp_path: Path) -> None:
    """A backup that a kill left before it had its list is discarded although the clock was set back meanwhile."""
    folder = tmp_path / output_backup.FOLDER / "train"
    folder.mkdir(parents=True)
    os.utime(folder, (4e9, 4e9))
    output_backup.restore_all(tmp_path)
    assert not output_backup.has_backups(tmp_path)


def test_kill_while_a_backup_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run deletes the rest at once, and restores no part of it over the new outputs."""
    output = tmp_path / "out"
    output.write_text("old")
    output_backup.backup_outputs(tmp_path, "train", ["out"])
    output.write_text("new")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(output_backup, "remove_path", lambda _: 1 / 0)
        output_backup.discard_backup(tmp_path, "train")
    with output_backup.earlier_outputs(tmp_path) as folder:
        assert folder == tmp_path
    output_backup.restore_all(tmp_path)
    assert output.read_text() == "new" and not output_backup.has_backups(tmp_path)
