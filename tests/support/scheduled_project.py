"""A small project with schedules, for tests of `inkflow up`."""

from pathlib import Path

from tests.conftest import DIAMOND, Toy
from tests.support.root import ROOT

LOUD = "  loud: {cmd: env > seen; echo epoch 1 of 2; echo epoch 2 of 2; cp late loud, deps: [late], outs: [loud]}\n"
SLOW = "  slow: {cmd: 'test -e started || (touch started; sleep 600); touch slow', deps: [late], outs: [slow]}\n"
DEPLOYMENTS = """
deployments:
  - &nightly
    name: nightly
    entrypoint: flows.scheduled.scheduled
    parameters: {targets: [join]}
    work_pool: {name: local}
  - <<: *nightly
    name: often
    schedules: [{interval: 4, active: false}]
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
  - name: retry-crashed
    entrypoint: flows.retry_crashed.retry_crashed
    triggers:
      - type: event
        expect: [prefect.flow-run.Crashed]
        match_related: {prefect.resource.role: deployment, prefect.resource.name: nightly}
        parameters: {run: "{{ event.resource.id }}"}
    work_pool: {name: local}
"""


def scheduled(folder: Path) -> Toy:
    """Makes a small project with a schedule of a few seconds in a new folder."""
    folder.mkdir()
    toy = Toy(folder)
    toy.write({"dvc.yaml": DIAMOND + SLOW + LOUD, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n", "late": "x\n"})
    toy.write({"prefect.yaml": DEPLOYMENTS, "workers/process.json": (ROOT / "workers/process.json").read_text()})
    (folder / ".inkflow/up").mkdir(parents=True, mode=0o755)
    return toy
