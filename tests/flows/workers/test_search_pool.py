"""Trials of a sweep send their stages to the work pools that execution.yaml names."""

import json

import pytest

from tests.conftest import Toy
from tests.flows.workers.conftest import POOL, Clones

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm, pytest.mark.timeout(900)]  # on a busy machine

GRAPH = """
stages:
  fit:
    cmd: python -c 'import json, socket, sys; json.dump(dict(loss=float(sys.argv[1])), open("m.json", "w"))' ${x};
      echo loss > h.csv
    params: [x]
    metrics: [m.json]
    outs: [h.csv]
"""


def test_trials_of_a_search_run_on_workers(clones: Clones, toy: Toy) -> None:
    """Each trial sends its stage with its parameters to a worker, and is an experiment here; `--local` sends nothing.
    A stage on a worker has no live history, so that `--prune` is refused.
    """
    toy.write({"dvc.yaml": GRAPH, "params.yaml": "x: 1.5\n", ".gitignore": "/m.json\n/h.csv\n/.inkflow\n"})
    clones.publish(toy, {"fit": {"pool": POOL}})
    search = ["sweep", "--search", "random", "--space", "x=0..1", "--objective", "m.json:loss", "--jobs", "2"]
    refused = clones.inkflow(*search, "--prune", "asha", "--history", "h.csv:loss", code=2)
    assert "leave --prune out, or add --local" in refused
    output = clones.inkflow(*search, "--trials", "3", "--json")
    trials = json.loads(output[output.index("{") :])["trials"]
    assert clones.states() == ["COMPLETED"] * 3
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert all(trial["value"] == trial["x"] for trial in trials)
    refs = clones.farm.orchestrator.check_output("git", "for-each-ref", "refs/exps", folder=clones.clone)
    assert all(trial["experiment"] in refs for trial in trials)
    clones.inkflow("sweep", "--grid", "x=2", "--local")
    assert len(clones.sent_runs()) == 3
