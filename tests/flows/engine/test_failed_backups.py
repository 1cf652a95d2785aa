"""Backups that cannot be made or restored: no earlier output is lost, and the stage can run again."""

from pathlib import Path

from flows.engine import output_backup
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import outcomes, status, succeeded

ANCHORS = "first: &a {x: 1, y: [1, 2]}\nsecond: *a\nthird: &b {z: 1}\nfourth: *b\n"
PARALLEL = """
stages:
  other: {{cmd: cp in other, deps: [in], {params}, outs: [other]}}
  a: {{cmd: "{command}", deps: [in], params: [third, fourth], outs: [a]}}
"""


def test_aliases_of_another_stage(toy: Toy) -> None:
    """A record of another stage numbers the aliases in dvc.lock anew: the output of a failed stage is restored."""
    toy.write(
        {"dvc.yaml": PARALLEL.format(params="params: []", command="cp in a"), "params.yaml": ANCHORS, "in": "1\n"}
    )
    succeeded(run_engine())
    before = toy.read("dvc.lock").partition("  a:\n")[2]
    wait = "echo half > a; until grep -q first: dvc.lock; do sleep 0.05; done; exit 1"
    toy.write({"dvc.yaml": PARALLEL.format(params="params: [first, second]", command=wait)})
    assert list(run_engine(jobs=2).errors) == ["a"]
    after = toy.read("dvc.lock").partition("  a:\n")[2]
    assert before != after and "id002" in after
    assert toy.read("a") == "1\n"
    toy.write({"dvc.yaml": PARALLEL.format(params="params: [first, second]", command="cp in a")})
    assert set(outcomes(succeeded(run_engine())).values()) == {"unchanged"}
    assert status() == {}


def test_entry_that_is_gone(tmp_path: Path) -> None:
    """A backup is restored where dvc.lock has lost the stage's entry, as by a checkout: nobody has recorded it anew."""
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    cmd: cp in a\n")
    (tmp_path / "a").write_text("old")
    output_backup.backup_outputs(tmp_path, "a", ["a"])
    (tmp_path / "dvc.lock").unlink()
    output_backup.restore_all(tmp_path)
    assert (tmp_path / "a").read_text() == "old"
