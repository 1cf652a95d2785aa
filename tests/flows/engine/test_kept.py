"""What may not be lost or taken for whole: earlier outputs, what lies on another disk, leftovers of kill -9."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engine import output_backup
from flows.engine.planning.plan import Verdict
from flows.engine.recovery import put_in_order
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.shapes import CHAIN
from tests.flows.engine.test_ends import engine_process, slow
from tests.flows.engine.toys import dvc_repro, outcomes, plan_here, run_as_planned, status, succeeded

MEMORY = Path("/dev/shm")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system that everybody may write to")
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def test_outputs_on_another_disk(tmp_path: Path, disk: Path) -> None:
    """Files, folders and links on another file system are put aside and come back as they were."""
    (tmp_path / "models").symlink_to(disk)
    (disk / "folder/inner").mkdir(parents=True)
    (disk / "folder/inner/x").write_text("x")
    (disk / "file").write_text("old")
    (disk / "link").symlink_to("nowhere")
    paths = ["models/folder", "models/file", "models/link"]
    output_backup.put_aside(tmp_path, "train", paths)
    assert not any(os.path.lexists(tmp_path / path) for path in paths)
    (disk / "file").write_text("half")
    output_backup.put_back(tmp_path, "train")
    assert ((disk / "folder/inner/x").read_text(), (disk / "file").read_text()) == ("x", "old")
    assert (disk / "link").readlink() == Path("nowhere")
    assert {path.name for path in disk.iterdir()} == {"file", "folder", "link"}
    assert not output_backup.anything_aside(tmp_path)


def test_killed_on_the_way_to_another_disk(tmp_path: Path, disk: Path) -> None:
    """What a kill leaves of a move to another file system is never taken for the output, there nor back."""
    (tmp_path / "models").symlink_to(disk)
    (disk / "file").write_text("whole")
    output_backup.put_aside(tmp_path, "train", [])
    (folder,) = (tmp_path / output_backup.FOLDER).iterdir()
    (folder / output_backup.LIST).write_text('{"paths": ["models/file"]}')
    (folder / ".0.moving").write_text("ha")
    output_backup.put_all_back(tmp_path)
    assert (disk / "file").read_text() == "whole"
    output_backup.put_aside(tmp_path, "train", ["models/file"])
    (disk / ".file.moving").write_text("ha")
    output_backup.put_all_back(tmp_path)
    assert (disk / "file").read_text() == "whole"
    assert list(disk.iterdir()) == [disk / "file"]


def test_newer_outputs_stay(toy: Toy) -> None:
    """After a killed run `dvc repro` makes the outputs: a later one does not put the older ones over them."""
    toy.write(slow(0.1))
    succeeded(run_engine(jobs=2))
    toy.write(slow(30) | {"in": "two\n"})
    with engine_process(toy.folder) as engine:
        wait_until(lambda: toy.runs("slow-p") == 2, timeout_s=60)
        engine.kill()
    toy.write(slow(0.1) | {"in": "two\n"})
    dvc_repro(toy.folder)
    assert output_backup.anything_aside(toy.folder)
    put_in_order(toy.folder)
    assert toy.read("p") == "p\ntwo\n"
    assert {decision.verdict for decision in plan_here().values()} == {Verdict.UNCHANGED}
    assert not output_backup.anything_aside(toy.folder)


@pytest.mark.parametrize("cmd", ["echo 1", "|\n      echo 1\n\n      echo 2"])
def test_only_its_own_entry_counts(tmp_path: Path, cmd: str) -> None:
    """Outputs come back when other stages were recorded meanwhile, and not when their own was; folders below too."""
    (tmp_path / "sub").mkdir()
    own = "  a:\n    cmd: {cmd}\n    outs:\n    - path: a\n      md5: {a}\n"
    lock = "schema: '2.0'\nstages:\n" + own + "  a2:\n    cmd: {other}\n"
    for kind, entry, back in (("other", "1", True), ("own", "2", False)):
        (tmp_path / "sub/dvc.lock").write_text(lock.format(cmd=cmd, a="1", other="x"))
        (tmp_path / "sub/a").write_text("old")
        output_backup.put_aside(tmp_path, "sub/dvc.yaml:a", ["sub/a"])
        (tmp_path / "sub/a").write_text("new")
        (tmp_path / "sub/dvc.lock").write_text(lock.format(cmd=cmd, a=entry, other=kind))
        output_backup.put_all_back(tmp_path)
        assert (tmp_path / "sub/a").read_text() == ("old" if back else "new")


def test_first_lock_cut_off(toy: Toy) -> None:
    """A run killed while it wrote the first dvc.lock leaves half of one: the next does not go on from it."""
    toy.write(CHAIN | {".dvc.lock.new": "schema: '2.0'\nstages:\n  gone:\n    cmd: [ec"})
    succeeded(run_engine())
    assert "gone" not in toy.read("dvc.lock")
    assert status() == {}


@pytest.mark.parametrize("left", ["", "cmd: echo\nouts", "schema: 1\n"])
def test_run_cache_cut_off(toy: Toy, left: str) -> None:
    """What a killed process left half written in the run cache is no result: the plan says so, and the stage runs."""
    toy.write(CHAIN)
    run_as_planned()
    toy.write({"in": "two\n"})
    run_as_planned()
    for entry in (toy.folder / ".dvc/cache/runs").glob("??/*"):
        (entry / ".WaNcKf2xQ.tmp").write_text(left)
    toy.write({"in": "one\n"})
    assert plan_here()["a"].verdict is Verdict.RUN
    assert outcomes(run_as_planned())["a"] is Outcome.RAN
    assert status() == {}
