"""One trial of a sweep, as a process in its clone: what to do comes on standard input, what happens goes to the sweep.

It is a process of its own since DVC looks at the current folder. Each event is a line of JSON: its kind and its words.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from flows.core.errors import Interrupted
from flows.core.params_edit import apply_settings
from flows.dvc_repo.experiments import save
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import load_policies
from flows.engine.run import Options, Run
from flows.engine.shared_slots import SharedSlots
from flows.engine.types import Outcome, Result
from stages.base.errors import InkflowError


@dataclass(frozen=True)
class TrialOrder:
    """What a trial has to do."""

    name: str
    settings: Mapping[str, Any]
    experiment: str
    targets: tuple[str, ...]
    shared_slots: str
    jobs: int
    gpus: tuple[int, ...]

    def to_json(self) -> str:
        """For the standard input of `main`."""
        return json.dumps(asdict(self), default=str)


class EventDisplay(Display):
    """A display whose events another process shows."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def line(self, stage: str, text: str) -> None:
        """A line that a stage printed."""
        self.tell("line", f"{stage} | {text}")

    def result(self, result: Result) -> None:
        """What became of a stage."""
        self.tell("result", f"{result.stage}: {result.sentence}")

    def failure(self, stage: str, message: str) -> None:
        """A stage that failed."""
        self.tell("result", f"{stage}: {message}")

    def not_run(self, stage: str, cause: str) -> None:
        """A stage that stands behind a failure."""
        self.tell("result", f"{stage}: not run, since {cause} failed")

    def tell(self, kind: str, what: object) -> None:
        """Send one event."""
        print(json.dumps([kind, what], default=str), file=self._stream, flush=True)

    def _print(self, text: str) -> None:
        self.tell("line", text)


def main() -> None:
    """Do what standard input says, in the current folder."""
    events = EventDisplay(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what libraries print is no event
    order = TrialOrder(**json.loads(sys.stdin.read()))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        events.tell("done", _do(order, events))
    except KeyboardInterrupt:
        events.tell("ended", str(Interrupted(order.name)))
    except InkflowError as error:
        events.tell("ended" if isinstance(error, Interrupted) else "failed", str(error))


def _do(order: TrialOrder, events: EventDisplay) -> dict[str, Any]:
    """Bring the clone up to date with the order's settings and save it as an experiment."""
    apply_settings(order.settings, Path())
    run, repository = Run(order.targets, Options(order.jobs, local=True), events), Repository()
    stages = repository.stages(order.targets)
    shared_slots = SharedSlots(Path(order.shared_slots), order.jobs, order.gpus)
    engine = Engine(repository, load_policies(Path()), run, shared_slots=shared_slots)
    engine.start(stages)
    try:
        for _ in engine.events():
            pass
        made = {output for stage in stages for output in stage.outputs}
        # What this run did not bring up to date belongs to other parameters.
        metrics = {name: content for name, content in repository.metrics().items() if name in made}
    except BaseException:
        shared_slots.ended.set()
        engine.interrupt()
        raise
    finally:
        engine.close()
    if run.error is not None:
        raise run.error
    save(order.experiment, order.targets, [output for stage in stages for output in stage.outputs])
    outcome = Outcome.RAN if run.ran else Outcome.RESTORED
    return {"outcome": outcome, "summary": run.summary, "metrics": metrics}


if __name__ == "__main__":
    main()
