"""Program that runs one trial of a sweep in its clone: reads its order from standard input, and prints events.

It is a process of its own because DVC uses the current folder. Each event is a line of JSON: its kind and its content.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from flows.core.errors import Interrupted
from flows.core.params_edit import has_schema, load_project_params
from flows.core.signals import raise_keyboard_interrupt
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.experiments import save_experiment
from flows.dvc_repo.versions.own_file import bring_own_data
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import Policies, load_policies
from flows.engine.run import Options, Run
from flows.engine.shared_slots import SharedSlots
from flows.engine.types import Outcome, Result
from flows.experiments.settings import apply_to_files
from flows.experiments.trial_errors import is_machine_fault
from flows.workers.pool_stages import Dispatcher, NoDispatcher, PoolStages
from stages.base.errors import InkflowError, machine_fault

OWN_METRICS = ("models/*/validation.json", "evaluation/*/metrics.json")  # of each model of Inkflow's own pipeline


@dataclass(frozen=True)
class TrialOrder:
    """The order that the sweep sends to the process of a trial."""

    name: str  # of the combination
    settings: Mapping[str, Any]  # by dotted key of params.yaml, or FILE:KEY
    experiment: str
    targets: tuple[str, ...]  # all stages when empty
    project: str  # folder of the project
    shared_slots: str  # folder of the slots that all trials and the runs of the project share
    jobs: int
    gpus: tuple[int, ...]
    local: bool  # run all stages here, whatever their pools
    server: str | None  # API of the Prefect server with the pools; None if there is no server that lasts

    def to_json(self) -> str:
        """Return the order as `main` reads it."""
        return json.dumps(asdict(self), default=str)


class EventDisplay(Display):
    """Sends events to the process of the sweep, which displays them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def print_lines(self, lines: Iterable[tuple[str, str]]) -> None:
        """Send lines that stages printed."""
        for stage, text in lines:
            self.send("line", f"{stage} | {text}")

    def result(self, result: Result) -> None:
        """Send the result of a stage."""
        self.send("result", f"{result.stage}: {result.message}")

    def failure(self, stage: str, message: str) -> None:
        """Send the failure of a stage."""
        self.send("result", f"{stage}: {message}")

    def not_run(self, stage: str, message: str) -> None:
        """Send that a stage does not run, and why."""
        self.send("result", f"{stage}: {message}")

    def send(self, kind: str, content: object) -> None:
        """Send one event; the line feed before it ends a line of a library, which may lack its own."""
        print(f"\n{json.dumps([kind, content], default=str)}", file=self._stream, flush=True)

    def _print(self, text: str) -> None:
        self.send("line", text)


def parse_event(text: str) -> tuple[str, Any]:
    """Returns kind and content of an event; a line of a library, which may be JSON too, is a `result`."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    match event:
        case ["done", {"outcome": _, "summary": _, "metrics": _}]:
            return event[0], event[1]
        case ["failed" | "machine" | "ended" | "line" | "result", str()]:
            return event[0], event[1]
    return "result", text.rstrip("\n")


def main() -> None:
    """Run the trial whose order standard input holds, in the current folder."""
    events = EventDisplay(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # output of libraries must not look like events
    order = TrialOrder(**json.loads(sys.stdin.read()))
    raise_keyboard_interrupt()
    try:
        events.send("done", _run(order, events))
    except KeyboardInterrupt:
        events.send("ended", str(Interrupted(order.name)))
    except InkflowError as error:
        kind = "machine" if is_machine_fault(error) else "failed"
        events.send("ended" if isinstance(error, Interrupted) else kind, str(error))
    except (MemoryError, OSError) as error:
        if (sentence := machine_fault(error)) is None:
            raise
        events.send("machine", sentence)


def _run(order: TrialOrder, events: EventDisplay) -> dict[str, Any]:
    """Bring the stages up to date with the order's settings, save the experiment, and return the content of `done`."""
    apply_to_files(order.settings, Path())
    bring_own_data(Path(order.project), Path(), load_project_params(Path()))
    display = BufferedDisplay(events)
    policies = load_policies(Path())
    policies = policies.without_pools() if order.local else policies
    run, repository = Run(order.targets, Options(order.jobs, local=order.local), display), Repository(policies=policies)
    stages = repository.stages(order.targets)
    outputs = [output for stage in stages for output in stage.outputs]
    shared_slots = SharedSlots(Path(order.shared_slots), order.jobs, order.gpus, policies.resources.total_memory())
    pools = None if order.local else PoolStages(repository, policies)
    engine = Engine(repository, policies, run, pools, shared_slots)
    engine.start(stages)
    try:
        if pools is not None:
            pools.connect(_dispatcher(policies, order.server))
        for _ in engine.events():
            pass
        metrics = _metrics(repository, outputs)
    except BaseException:
        shared_slots.stop_event.set()
        engine.interrupt()
        raise
    finally:
        engine.close()
        display.close()  # so that `done` is the last event
    if run.error is not None:
        raise run.error
    save_experiment(order.experiment, order.targets, outputs)
    outcome = Outcome.RAN if run.ran else Outcome.RESTORED
    return {"outcome": outcome, "summary": run.summary, "metrics": metrics}


def _metrics(repository: Repository, outputs: Sequence[str]) -> dict[str, Any]:
    """Returns the content of the metrics files that are `outputs` or in one: others belong to other parameters.

    In a project of Inkflow's own pipeline they are the scores of each model, which dvc.yaml does not call metrics.
    """
    is_own = has_schema(repository.root)
    own = [name for name in outputs if is_own and any(Path(name).match(pattern) for pattern in OWN_METRICS)]
    found = repository.metrics(own).items()
    return {name: content for name, content in found if any(Path(name).is_relative_to(output) for output in outputs)}


def _dispatcher(policies: Policies, server: str | None) -> Dispatcher:
    """Return the dispatcher to the pools of the Prefect server at the URL `server`; without one, a refusing one."""
    if server is None:
        return NoDispatcher()
    from flows.workers.dispatch import Dispatcher as PrefectDispatcher  # late: Prefect takes 2 s to import

    return PrefectDispatcher(policies.workers, server)


if __name__ == "__main__":
    main()
