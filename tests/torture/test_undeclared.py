"""What stages read without declaring it, in random programs: the reports are right."""

from random import Random

import pytest

from flows.core.errors import UndeclaredInputs
from flows.engine.opened_files.record import message
from flows.engine.policy import load_policies
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import RecordingDisplay
from tests.torture.conftest import Rounds, Try
from tests.torture.support.random_readers import KINDS, MAKERS, READERS, RandomStage, random_stage

SUBJECT = "Declared inputs"
A_RUN = 12  # stages


@pytest.mark.timeout(900)
def test_undeclared_inputs_are_reported(promise: Try, rounds: Rounds, toy: Toy) -> None:
    """The report on each stage names the files that it was made to read and does not declare, and no other."""
    outside = toy.folder.with_name("outside.npy")
    sentence = "A run names each undeclared file of the project that Python itself opens in a stage, and no other."
    how = f"random programs, seed 19: {len(set(KINDS))} kinds of files, {len(READERS)} ways to read and {len(MAKERS)} "
    how += "to write them; `warn` and `fail`"
    with promise(SUBJECT, sentence, how) as tried:
        count = rounds(4, 60)
        stages = [random_stage(Random(f"19-{number}"), f"s{number}", outside) for number in range(count)]
        for start in range(0, count, A_RUN):
            some = stages[start : start + A_RUN]
            some[0].write(toy.folder)
            outside.write_bytes((toy.folder / some[0].name / "declared.npy").read_bytes())
            found = reports(toy, some, {stage.name for stage in some[::3]})
            for stage in some:
                with tried.attempt(f"{stage.name}: {stage.lines}"):
                    expected = message(stage.name, sorted(stage.undeclared)) if stage.undeclared else ""
                    assert found[stage.name] == expected


def reports(toy: Toy, stages: list[RandomStage], failing: set[str]) -> dict[str, str]:
    """Runs `stages` side by side, and returns what is reported of each: as an error if it is to fail, or a warning."""
    for stage in stages:
        stage.write(toy.folder)
    policies = "".join(f"  {name}: {{undeclared: fail}}\n" for name in sorted(failing))
    entries = "".join(stage.entry for stage in stages)
    toy.write({"dvc.yaml": f"stages:\n{entries}", "execution.yaml": f"stages:\n{policies}"})
    display = RecordingDisplay()
    run = run_engine(jobs=3, keep_going=True, policies=load_policies(toy.folder), display=display)
    ended = {result.stage for result in run.results} | set(run.errors)
    assert ended == {stage.name for stage in stages}
    found = dict.fromkeys(ended, "")
    for line in display.lines:
        if line.startswith("warning: "):
            found[line.split()[1]] += line.removeprefix("warning: ")
    for name, error in run.errors.items():
        found[name] += str(error) if isinstance(error, UndeclaredInputs) and name in failing else f"{error!r}"
    return found
