"""The engine: brings the stages of a graph up to date, side by side where the graph and the machine allow it.

It knows nothing of Prefect and does not wait for it: it starts at once in threads of its own. The tasks of the flow
follow the events of each stage when Prefect has loaded.

    Scheduler ── which may start? ──> a thread a stage ── settle ─┬─> unchanged, restored
        ^                                                         └─> begin ─> CommandRunner.run ─> record
        └────────── what became of it ───────────────────────────────────────────┘
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flows.core.errors import Interrupted, can_pass_by_itself
from flows.engine import resources
from flows.engine.interfaces import Pools, Repository
from flows.engine.policy import Policies, StagePolicy
from flows.engine.preload_scheduler import PreloadScheduler
from flows.engine.processes.command_runner import CommandRunner, end_orphans
from flows.engine.run import Run
from flows.engine.scheduler import Allocation, Scheduler
from flows.engine.shared_slots import SharedSlots
from flows.engine.stage_events import NotRun, StageEvents
from flows.engine.timings import Timings
from flows.engine.types import Command, Outcome, Result, Stage
from stages.base.errors import InkflowError


class Engine:
    """Runs stages of one repository for one run, in threads of its own."""

    def __init__(
        self,
        repository: Repository,
        policies: Policies,
        run: Run,
        pools: Pools | None = None,
        shared_slots: SharedSlots | None = None,
    ) -> None:
        """Give the engine its repository.

        Args:
            repository: closed by `close`.
            policies: how each stage is to be run.
            run: takes the results.
            pools: needed where a policy names a pool, unless the run is local.
            shared_slots: shared with engines in clones of the same project; None for an engine that is alone.
        """
        self.run = run
        self.policies = policies.all_here() if run.options.local else policies
        self._repository = repository
        self._pools = pools
        self._shared_slots = shared_slots
        self._jobs = run.options.jobs or resources.cores()
        self._commands = CommandRunner(repository.root, run.display.note)
        repository.tell(run.display.note, self._commands.ended)
        self._timings = Timings(repository.root)
        self._ended: queue.Queue[tuple[StageEvents, Result | InkflowError]] = queue.Queue()
        self._started: queue.Queue[StageEvents | None] = queue.Queue()
        self._crash: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, stages: Sequence[Stage]) -> None:
        """Begin to bring `stages`, each after those it waits for, up to date; return at once."""
        self._thread = threading.Thread(target=self._run, args=[stages], name="engine", daemon=True)
        self._thread.start()

    def connect_pools(self, carrier: Any) -> None:
        """Give the pools what carries orders to them; stages of pools wait for it."""
        if self._pools is not None:
            self._pools.connect(carrier)

    def events(self) -> Iterator[StageEvents]:
        """The events of each stage, as it starts or is known not to run; ends when nothing runs any more."""
        while (events := self._started.get()) is not None:
            yield events
        if self._crash is not None:
            raise self._crash

    def wait(self) -> None:
        """Wait until nothing runs any more, and close; an exception meanwhile ends all that runs."""
        try:
            for _ in self.events():
                pass
        except BaseException:
            self.interrupt()
            raise
        finally:
            self.close()

    def interrupt(self) -> None:
        """End all that runs, with all that it started; return when nothing is left of it."""
        self._commands.end_all()
        self._join()

    def close(self) -> None:
        """Wait for the end of all that runs, and close the repository."""
        self._join()
        self._repository.close()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, stages: Sequence[Stage]) -> None:
        try:
            for stage in end_orphans(self._repository.root):
                self.run.display.note(f"ended {stage}, which a run that was killed had left behind")
            self._repository.expect([stage.name for stage in stages])
            policies = {stage.name: self.policies.of(stage.name) for stage in stages}
            self._preloads = PreloadScheduler(stages, policies, self._prepare)
            self._drive(Scheduler(stages, policies, self._jobs, resources.gpus()))
            self._repository.flush()
            self._timings.save()
        except BaseException as error:  # noqa: BLE001 - raised again by `events`
            self._commands.end_all()
            self._crash = error
        finally:
            self._commands.close()
            self._started.put(None)

    def _prepare(self, policy: StagePolicy) -> None:
        """Have the modules imported that stages of this policy want."""
        slots = min(policy.slots, self._jobs)
        self._commands.prepare(policy.preload, resources.environment(slots, self._jobs, ()))

    def _drive(self, scheduler: Scheduler) -> None:
        """Start the stages that may start and take those that ended, until nothing runs and nothing may start."""
        while True:
            while (ready := scheduler.start_next()) is not None:
                events = StageEvents(ready[0])
                self._started.put(events)
                threading.Thread(target=self._work, args=[events, ready[1]], name=ready[0].name, daemon=True).start()
            if not scheduler.running:
                return
            events, outcome = self._ended.get()
            self._preloads.ended(events.stage.name)
            if isinstance(outcome, Result):
                self._take_result(scheduler, outcome)
            else:
                self._take_error(scheduler, events.stage.name, outcome)
            events.end(outcome)

    def _work(self, events: StageEvents, allocation: Allocation) -> None:
        """Bring one stage up to date, trying again as its policy says."""
        policy = self.policies.of(events.stage.name)
        for left in reversed(range(policy.retries + 1)):
            try:
                outcome: Result | InkflowError = self._try(events, allocation)
            except InkflowError as error:
                outcome = error
            except BaseException as error:  # noqa: BLE001 - a fault of ours must not leave the run waiting for ever
                outcome = _fault(events.stage.name, error)
            if isinstance(outcome, Result) or not left or not can_pass_by_itself(outcome):
                break
            self._add_line(events, f"failed: {outcome}; {left} more tries, the next in {policy.retry_delay_s:g} s")
            events.fail_try(outcome)
            if self._commands.ended.wait(policy.retry_delay_s):
                outcome = Interrupted(events.stage.name)
                break
        self._ended.put((events, outcome))

    def _try(self, events: StageEvents, allocation: Allocation) -> Result:
        """Settle a stage from DVC's cache, or run it and record its outputs."""
        stage, force = events.stage, self.run.options.force
        if self._commands.ended.is_set():
            raise Interrupted(stage.name)
        settled = self._repository.settle(stage, force=force)
        if isinstance(settled, tuple) and not force and self._fetched(stage.name):
            settled = self._repository.settle(stage)
        if isinstance(settled, Result):
            return settled
        if self._shared_slots is None:
            return self._execute(events, allocation, settled)
        with self._shared_slots.only_one(self._repository.run_key(stage.name)):
            settled = self._repository.settle(stage, force=force)  # another engine may have done the same just now
            if isinstance(settled, Result):
                return settled
            with self._shared_slots.place(self.policies.of(stage.name)) as place:
                return self._execute(events, place, settled)

    def _fetched(self, name: str) -> bool:
        """True where a stage of a pool has an earlier result in the remote, which now lies in the cache."""
        if self._pools is None or self.policies.of(name).pool is None:
            return False
        return self._pools.fetch(name, self._commands.ended)

    def _execute(self, events: StageEvents, allocation: Allocation, reasons: tuple[str, ...]) -> Result:
        """Run a stage and record its outputs; when it fails, nothing of it stays."""
        stage = events.stage
        started = time.monotonic()
        self.run.display.started(stage.name, self._timings.expected_s(stage.name))
        self._add_line(events, f"runs: {', '.join(reasons) or 'asked for by --force'}")
        try:
            self._preloads.starts(stage.name)
            command = self._repository.begin(stage.name)
            place = self._run_command(events, allocation, command)
            self._repository.record(stage.name)
        except BaseException:
            with suppress(InkflowError):  # the first failure is the one to report
                self._repository.abandon(stage.name)
            raise
        self._timings.add(stage.name, time.monotonic() - started)
        return Result(stage.name, Outcome.RAN, reasons, place)

    def _run_command(self, events: StageEvents, allocation: Allocation, command: Command) -> str:
        """Run the command of a stage that was begun, here or in its pool; where, if not here."""
        policy = self.policies.of(command.stage)

        def add_line(text: str) -> None:
            self._add_line(events, text)

        if policy.pool is not None and self._pools is not None:
            return self._pools.run(command.stage, add_line, self._commands.ended, force=self.run.options.force)
        added = resources.environment(allocation.slots, self._jobs, allocation.gpus)
        command = replace(command, environment={**added, **command.environment}, preload=policy.preload)
        self._commands.run(command, add_line, policy.timeout_s)
        return ""

    def _add_line(self, events: StageEvents, text: str) -> None:
        self.run.display.line(events.stage.name, text)
        events.line(text)

    def _take_result(self, scheduler: Scheduler, result: Result) -> None:
        if result.outcome is Outcome.UNCHANGED:
            self._repository.skip(result.stage)
        self.run.results.append(result)
        self.run.display.result(result)
        scheduler.finish(result.stage)

    def _take_error(self, scheduler: Scheduler, name: str, error: InkflowError) -> None:
        self._repository.skip(name)
        self.run.errors[name] = error
        self.run.display.failure(name, str(error))
        behind = scheduler.fail(name)
        if not self.run.options.keep_going:
            behind |= dict.fromkeys(scheduler.stop(), name)
        how = "was ended" if isinstance(error, Interrupted) else "failed"
        for stage, failed in behind.items():
            cause = f"{failed} {how}"
            self._repository.skip(stage)
            self.run.not_run[stage] = cause
            self.run.display.not_run(stage, cause)
            events = StageEvents(Stage(stage))
            events.end(NotRun(cause))
            self._started.put(events)


def _fault(stage: str, error: BaseException) -> InkflowError:
    fault = InkflowError(f"{stage}: a fault of the engine: {error!r}")
    fault.__cause__ = error
    return fault
