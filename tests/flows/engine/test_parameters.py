"""Parameters that are missing, and those of files in other formats."""

import json
from pathlib import Path

import pytest

from flows.dvc_repo.params_files import write_params
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import dvc_repro, locks, make_plan, outcomes, run_as_planned, status, twin


@pytest.mark.parametrize("name", ["typo", "section.typo", "other.yaml"])
def test_a_parameter_that_is_nowhere(toy: Toy, name: str) -> None:
    """A parameter that a stage names and no file has is a change, as for DVC: the stage cannot run."""
    params: list[object] = ["speed"]
    stage = {"cmd": "echo 1 > out", "params": params, "outs": ["out"]}
    toy.write({"dvc.yaml": json.dumps({"stages": {"s": stage}}), "params.yaml": "speed: 1\nsection: {size: 2}\n"})
    run_as_planned()
    params.append({"other.yaml": ["rate"]} if name == "other.yaml" else name)
    toy.write({"dvc.yaml": json.dumps({"stages": {"s": stage}})})
    assert make_plan()["s"].verdict is Verdict.RUN
    assert make_plan()["s"].reasons == (f"{'rate' if name == 'other.yaml' else name} missing",)
    assert "rate" in str(run_engine().error) or name in str(run_engine().error)


def test_tuple_in_a_parameter_file(toy: Toy) -> None:
    """A tuple of a Python file equals its list in dvc.lock."""
    stage = {"cmd": "echo 1 > out", "params": [{"params.py": ["SIZES"]}], "outs": ["out"]}
    toy.write({"dvc.yaml": json.dumps({"stages": {"s": stage}}), "params.py": "SIZES = (32, 64)\n"})
    run_as_planned()
    assert make_plan()["s"].verdict is Verdict.UNCHANGED
    assert status() == {}
    toy.write({"params.py": "SIZES = (32, 65)\n"})
    assert run_as_planned()["s"].outcome is Outcome.RAN


def test_a_value_that_cannot_be_written(tmp_path: Path) -> None:
    """DVC replaces no text in a Python file: then no other value is changed either."""
    path = tmp_path / "params.py"
    path.write_bytes(before := b"EPOCHS = 3\r\nNAME = 'a'\r\n")
    with pytest.raises(InvalidInput, match="DVC cannot write 'b' at 'NAME'; move this parameter to a YAML file"):
        write_params(path, {"EPOCHS": 5, "NAME": "b"})
    assert path.read_bytes() == before
    write_params(path, {"EPOCHS": 5})
    assert path.read_bytes() == before.replace(b"3", b"5")


WHOLE = "stages:\n  s: {cmd: cat in > out, deps: [in], outs: [out]}\n"
WITH_SETTINGS = WHOLE.replace("outs", 'params: [{"c.yaml": }], outs')


def test_a_whole_file_without_parameters(toy: Toy) -> None:
    """It is a change when a stage first names it and when it is deleted, as for `dvc status`; then it is none."""
    toy.write({"dvc.yaml": WHOLE, "in": "one\n"})
    run_as_planned()
    toy.write({"dvc.yaml": WITH_SETTINGS, "c.yaml": "# nothing yet\n"})
    copy = twin(toy.folder)
    assert make_plan()["s"].reasons == ("c.yaml new",)
    assert outcomes(run_as_planned()) == {"s": Outcome.RAN}
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    assert status() == {}
    assert not make_plan()["s"].is_work
    (toy.folder / "c.yaml").unlink()
    assert make_plan()["s"].reasons == ("c.yaml missing",)


ONLY_SETTINGS = """
stages:
  gen: {cmd: cp in c.yaml, deps: [in], outs: [c.yaml]}
  use: {cmd: cat c.yaml > use, params: [{"c.yaml": }], outs: [use]}
  say: {cmd: echo, params: [{"d.yaml": }]}
"""


def test_recorded_files_without_parameters(toy: Toy) -> None:
    """They are recorded: a file that a stage writes, and the only dependency of a stage without outputs."""
    toy.write({"dvc.yaml": ONLY_SETTINGS, "in": "{}\n", "d.yaml": "{}\n"})
    run_as_planned()
    assert status() == {}
    assert set(outcomes(run_as_planned()).values()) == {Outcome.UNCHANGED}
    toy.write({"in": "x: 1\n"})
    assert outcomes(run_as_planned())["use"] is Outcome.RAN
