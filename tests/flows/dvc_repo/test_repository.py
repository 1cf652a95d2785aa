"""The truth about stages: what DVC knows, through the one module that talks to it."""

import subprocess

import pytest

from flows.core.errors import DvcFailed, InputsChanged, PipelineInvalid, StageFailed, UnknownStage
from flows.dvc_repo.repository import Repository
from flows.engine.planning.stage_facts import nothing_to_do
from flows.engine.types import Outcome, Result
from tests.conftest import DIAMOND, Toy, run_engine


def repro(*names: str, force: bool = False) -> dict[str, Result]:
    """Bring everything up to date in a fresh look at the repository; the first error is raised."""
    session = run_engine(*names, force=force)
    if session.error:
        raise session.error
    return {result.stage: result for result in session.results}


def outcomes(results: dict[str, Result]) -> set[Outcome]:
    """The different outcomes in `results`."""
    return {result.outcome for result in results.values()}


def dvc(*arguments: str) -> str:
    """Output of a `dvc` command."""
    return subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=True).stdout


def test_order_and_upstream(diamond: Toy) -> None:
    """Stages come after what they wait for, by DVC's own addresses."""
    stages = {stage.name: stage for stage in Repository().stages()}
    assert next(iter(stages)) == "source"
    assert list(stages)[-1] == "join"
    assert set(stages["join"].upstream) == {"side@left", "side@right"}


def test_targets(diamond: Toy) -> None:
    """A target is a stage, a group, or an output; each brings what it needs and no more."""
    repository = Repository()
    assert [stage.name for stage in repository.stages(["side@left"])] == ["source", "side@left"]
    assert {stage.name for stage in repository.stages(["side"])} == {"source", "side@left", "side@right"}
    assert [stage.name for stage in repository.stages(["right"])] == ["source", "side@right"]


def test_unknown_target(diamond: Toy) -> None:
    """A typo gets the nearest name."""
    with pytest.raises(UnknownStage, match="unknown stage 'side@lift'; did you mean 'side@left'"):
        Repository().stages(["side@lift"])


def test_first_run_then_nothing(diamond: Toy) -> None:
    """Everything runs once, then `dvc status` is clean and nothing runs."""
    assert outcomes(repro()) == {Outcome.RAN}
    assert "up to date" in dvc("status")
    assert nothing_to_do(Repository().facts())
    assert outcomes(repro()) == {Outcome.UNCHANGED}
    assert [diamond.runs(name) for name in ("source", "left", "right", "join")] == [1, 1, 1, 1]


def test_dvc_repro_agrees(diamond: Toy) -> None:
    """What we ran, `dvc repro` does not run again; what it ran, we do not."""
    repro()
    dvc("repro")
    assert diamond.runs("source") == 1
    diamond.write({"in": "two\n"})
    dvc("repro")
    assert outcomes(repro()) == {Outcome.UNCHANGED}
    assert diamond.runs("join") == 2


def test_same_lock_as_dvc(diamond: Toy) -> None:
    """dvc.lock is the same bytes as the one that `dvc repro` writes."""
    repro()
    ours = diamond.read("dvc.lock")
    (diamond.folder / "dvc.lock").unlink()
    dvc("repro", "--force")
    assert diamond.read("dvc.lock") == ours


def test_parameter_there_and_back(diamond: Toy) -> None:
    """A changed parameter runs its stage, says from what to what; set back, the stage is restored."""
    repro()
    diamond.write({"params.yaml": "knobs: {speed: 2}\n"})
    results = repro()
    assert results["source"] == Result("source", Outcome.RAN, ("knobs.speed 1 → 2",))
    assert results["side@left"].outcome is Outcome.UNCHANGED
    diamond.write({"params.yaml": "knobs: {speed: 1}\n"})
    assert repro()["source"].outcome is Outcome.RESTORED
    assert diamond.runs("source") == 2


def test_content_there_and_back(diamond: Toy) -> None:
    """New content runs everything behind it; the old content restores everything."""
    repro()
    diamond.write({"in": "two\n"})
    assert outcomes(repro()) == {Outcome.RAN}
    assert diamond.read("joined") == "two\ntwo\n"
    diamond.write({"in": "one\n"})
    assert outcomes(repro()) == {Outcome.RESTORED}
    assert diamond.read("joined") == "one\none\n"
    assert diamond.runs("join") == 2


def test_deleted_output_comes_back(diamond: Toy) -> None:
    """A deleted output is restored without a run, and only it."""
    repro()
    (diamond.folder / "left").unlink()
    results = repro()
    assert results["side@left"] == Result("side@left", Outcome.RESTORED, ("left missing",))
    assert [name for name, result in results.items() if result.outcome is not Outcome.UNCHANGED] == ["side@left"]
    assert diamond.runs("left") == 1


def test_never_restored_for_new_inputs(diamond: Toy) -> None:
    """Old outputs are not passed off for new inputs, even where they lie in the cache."""
    repro()
    (diamond.folder / "out").unlink()
    diamond.write({"in": "new\n"})
    assert repro()["source"].outcome is Outcome.RAN
    assert diamond.read("out") == "new\n"


def test_force(diamond: Toy) -> None:
    """--force runs what is unchanged."""
    repro()
    assert outcomes(repro(force=True)) == {Outcome.RAN}
    assert "up to date" in dvc("status")


def test_failure_records_nothing(diamond: Toy) -> None:
    """A failing stage gives its own message and exit code, and dvc.lock stays as it was."""
    repro()
    before = diamond.read("dvc.lock")
    diamond.write({"fail": "echo error: no paper >&2; exit 7", "dvc.yaml": DIAMOND.replace("cp in out", "sh fail")})
    with pytest.raises(StageFailed, match=r"source failed \(exit code 7\): no paper") as caught:
        repro()
    assert caught.value.exit_code == 7
    assert diamond.read("dvc.lock") == before


def test_missing_dependency(diamond: Toy) -> None:
    """A file that a stage reads and that nobody makes is named."""
    (diamond.folder / "in").unlink()
    with pytest.raises(DvcFailed, match="in"):
        repro()


def test_missing_output(diamond: Toy) -> None:
    """A command that does not write what it promised is a failure that names the file."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "true")})
    with pytest.raises(DvcFailed, match="output 'out' does not exist"):
        repro()


def test_input_edited_while_running(diamond: Toy) -> None:
    """An input edited while its stage runs: nothing is recorded, and the next run does it again."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "cp in out; echo edited > in")})
    with pytest.raises(InputsChanged, match="source: in changed while it ran"):
        repro("source")
    diamond.write({"dvc.yaml": DIAMOND})
    assert repro("source")["source"].outcome is Outcome.RAN
    assert diamond.read("out") == "edited\n"


def test_broken_graph(toy: Toy) -> None:
    """A dvc.yaml that is no graph is said in one sentence."""
    toy.write({"dvc.yaml": "stages:\n  a:\n    cmd: true\n    dep: [x]\n"})
    with pytest.raises(PipelineInvalid, match="DVC cannot read the pipeline"):
        Repository()


def test_list_of_files_in_use_cut_off(diamond: Toy) -> None:
    """A process killed while it wrote DVC's `rwlock` leaves it empty, and DVC useless; a run mends that."""
    repro("source")
    diamond.write({".dvc/tmp/rwlock": ""})
    assert repro()["join"].outcome is Outcome.RAN
    assert "up to date" in dvc("status")
