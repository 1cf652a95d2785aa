"""Plans that depend on content which is not recorded yet: edited folders, made parameters, imports, data sets."""

from pathlib import Path

import pytest

from flows.core.errors import DvcFailed
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import (
    delete_cache,
    dvc_repro,
    locks,
    make_plan,
    outcomes,
    run_as_planned,
    status,
    succeeded,
    twin,
)
from tests.support.dvc_calls import import_url, track, unfreeze

ONE_FILE = """
stages:
  one: {cmd: cp data/sub/a one, deps: [data/sub/a], outs: [one]}
  all: {cmd: ls data > all, deps: [data], outs: [all]}
"""


def test_edited_tracked_folder(toy: Toy) -> None:
    """After an edit in a tracked folder, a reader of another file in it stays unchanged, in the plan and in the run."""
    toy.write({"dvc.yaml": ONE_FILE, "data/sub/a": "a\n", "data/b": "b\n"})
    track("data")
    run_as_planned()
    toy.write({"data/b": "edited\n", "data/c": "new\n"})
    assert make_plan()["one"].verdict is Verdict.UNCHANGED
    assert outcomes(run_as_planned()) == {
        "data.dvc": Outcome.RECORDED, "one": Outcome.UNCHANGED, "all": Outcome.RAN,
    }  # fmt: skip
    toy.write({"data/sub/a": "edited too\n"})
    assert outcomes(run_as_planned())["one"] is Outcome.RAN
    assert status() == {}


def test_folder_that_is_lost_from_the_cache(toy: Toy) -> None:
    """A folder whose list of files the cache lacks is read from the workspace."""
    toy.write({"dvc.yaml": ONE_FILE, "data/sub/a": "a\n", "data/b": "b\n"})
    track("data")
    run_as_planned()
    for path in (toy.folder / ".dvc/cache/files").rglob("*.dir"):
        path.unlink()
    assert outcomes(run_as_planned()) == {
        "data.dvc": Outcome.RECORDED, "one": Outcome.UNCHANGED, "all": Outcome.UNCHANGED,
    }  # fmt: skip
    assert status() == {}


MADE = """
stages:
  gen: {cmd: "echo lr: $(cat seed.txt) > gen.yaml", deps: [seed.txt], outs: [gen.yaml]}
  use: {cmd: cat gen.yaml > use, params: [{gen.yaml: [lr]}], outs: [use]}
  after: {cmd: cat use > after, deps: [use], outs: [after]}
"""


def test_parameters_that_a_stage_writes(toy: Toy) -> None:
    """The plan reads parameters from the version of the file that will be there, not from the one that is there."""
    toy.write({"dvc.yaml": MADE})
    for seed in ("3\n", "4\n"):
        toy.write({"seed.txt": seed})
        run_as_planned()
    toy.write({"seed.txt": "3\n"})
    decisions = make_plan()
    assert {decision.verdict for decision in decisions.values()} == {Verdict.RESTORE}
    assert decisions["use"].reasons == ("lr 4 → 3",)
    run_as_planned()
    (toy.folder / "gen.yaml").unlink()
    assert outcomes(run_as_planned()) == {
        "gen": Outcome.RESTORED, "use": Outcome.UNCHANGED, "after": Outcome.UNCHANGED,
    }  # fmt: skip
    assert status() == {}


@pytest.mark.cases(1)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_import_from_a_changed_source(toy: Toy, tmp_path: Path, is_deleted: bool) -> None:
    """Of an import that is not frozen and whose source changed, the plan expects no content; the run imports it."""
    source = tmp_path / "source"
    source.write_text("one\n")
    import_url(source, "in")
    unfreeze("in.dvc")
    toy.write({"dvc.yaml": "stages:\n  s: {cmd: cp in out, deps: [in], outs: [out]}\n"})
    run_as_planned()
    source.write_text("two\n")
    if is_deleted:
        (toy.folder / "in").unlink()
        delete_cache(toy.folder)
    decisions = make_plan()
    assert [decisions[name].verdict for name in ("in.dvc", "s")] == [Verdict.RECORD, Verdict.MAY_RUN]
    assert decisions["s"].reasons == ("depends on the outputs of in.dvc",)
    assert outcomes(run_as_planned()) == {"in.dvc": Outcome.RECORDED, "s": Outcome.RAN}
    assert toy.read("out") == "two\n"


DATA_SET = """
datasets:
- {name: ext, url: "https://example.org/x", type: url}
stages:
  a: {cmd: cat in > a, deps: ["ds://ext", in], outs: [a]}
  b: {cmd: cat a > b, deps: [a], outs: [b]}
"""
DATA_SET_LOCK = """schema: '2.0'
datasets:
- name: ext
  type: url
  url: https://example.org/x
  meta: {isdir: false, size: 3, etag: ETAG}
stages: {}
"""


def test_data_set_of_dvc(toy: Toy) -> None:
    """A stage that depends on a data set of DVC runs when the data set is updated, as with `dvc repro`."""
    toy.write({"dvc.yaml": DATA_SET, "dvc.lock": DATA_SET_LOCK.replace("ETAG", "one"), "in": "one\n"})
    copy = twin(toy.folder)
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN, "b": Outcome.RAN}
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    assert status() == {}
    dvc_lock = toy.read("dvc.lock")
    assert dvc_lock.count("etag: one") == 2
    toy.write({"dvc.lock": dvc_lock.replace("etag: one", "etag: two", 1)})
    decision = make_plan()["a"]
    assert (decision.verdict, decision.reasons) == (Verdict.RUN, ("ds://ext changed",))
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN, "b": Outcome.UNCHANGED}
    assert outcomes(succeeded(run_engine(force=True))) == {"a": Outcome.RAN, "b": Outcome.RAN}


def test_data_set_without_a_record(toy: Toy) -> None:
    """A data set that DVC has not fetched yet is named in the error of the stage."""
    toy.write({"dvc.yaml": DATA_SET, "in": "one\n"})
    assert make_plan()["a"].verdict is Verdict.RUN
    error = run_engine().error
    assert isinstance(error, DvcFailed)
    assert str(error) == "a: Dataset information missing from dvc.lock file"
