"""The engine: brings the stages of a graph up to date, in parallel where the graph and the machine allow it.

The engine does not know Prefect and does not wait for it: it starts at once, in threads of its own. The tasks of the
flow follow the events of each stage when Prefect has loaded.

    Scheduler ── next stage ──> a thread per stage ── try_restore ─┬─> unchanged, restored
        ^                                                          └─> begin ─> CommandRunner.run ─> record
        └──────────────────────── result or error ────────────────────────────────────────────────────┘
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from flows.core.errors import Interrupted
from flows.core.signals import join, next_item
from flows.engine import resources
from flows.engine.display.plain import REASONS_PREFIX
from flows.engine.interfaces import Pools, Repository
from flows.engine.opened_files.record import UndeclaredCheck
from flows.engine.planning.change_messages import FORCED, describe
from flows.engine.policy import Policies, StagePolicy
from flows.engine.preload_scheduler import PreloadScheduler
from flows.engine.processes.command_runner import CommandRunner, terminate_orphans
from flows.engine.retries import as_failure, start_attempts, with_retries
from flows.engine.run import Run
from flows.engine.run_record import RunRecord
from flows.engine.scheduler import Allocation, Scheduler
from flows.engine.shared_slots import SharedSlots
from flows.engine.stage_events import FailedAttempt, NotRun, StageEvents
from flows.engine.starting_stages import StartingStages
from flows.engine.timings import Timings
from flows.engine.types import Command, Outcome, Result, Stage
from stages.base.errors import InkflowError

ABANDON_S = 30.0  # after an interrupt: DVC reads a large file to its end; the next run restores, as after a kill


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
        """Creates the engine.

        Args:
            repository: the repository, which `close` closes.
            policies: the policy of each stage.
            run: the options and the display; receives the results.
            pools: runs the stages whose policy names a pool, unless the run is local.
            shared_slots: resources that engines in clones of the same project share; None for a single engine.
        """
        self.run = run
        self.policies = policies.without_pools() if run.options.local else policies
        self._repository = repository
        self._pools = pools
        self._shared_slots = shared_slots
        self._jobs = run.options.jobs or resources.cores()
        self._commands = CommandRunner(repository.root, run.display.note, run.display.wait_for_room)
        self._stop_event = self._commands.stop_event
        repository.configure_waiting(run.display.note, self._stop_event)
        self._timings = Timings(repository.root)
        self._record = RunRecord(repository.root, run.targets)
        run.on_reset = self._record.replaced
        self.stages: dict[str, Stage] = {}
        self._started: queue.Queue[StageEvents | None] = queue.Queue()
        self._finished: queue.Queue[tuple[StageEvents, Result | InkflowError]] = queue.Queue()
        self._starting = StartingStages()
        self._events: dict[str, StageEvents] = {}  # of the stages that have started
        self._crash: BaseException | None = None
        self._is_abandoned = False
        self._thread: threading.Thread | None = None

    def start(self, stages: Sequence[Stage]) -> None:
        """Starts to bring `stages`, each after its upstream stages, up to date; does not wait for them."""
        self.stages, self.run.planned = {stage.name: stage for stage in stages}, len(stages)
        self._starting.add("")  # until the first stages have started
        self._thread = threading.Thread(target=self._run, args=[stages], name="engine", daemon=True)
        self._thread.start()

    def wait_until_computing(self, timeout_s: float) -> None:
        """Waits up to `timeout_s` until the commands of all stages that have started run, or the stages have ended."""
        self._starting.wait(timeout_s)

    def connect_pools(self, dispatcher: Any) -> None:
        """Gives the pools the dispatcher that sends stages to workers; stages of pools wait for it."""
        if self._pools is not None:
            self._pools.connect(dispatcher)

    def events(self) -> Iterator[StageEvents]:
        """Yields the events of each stage when the stage starts or is skipped, until all stages have ended."""
        while (events := next_item(self._started)) is not None:
            yield events
        self._started.put(None)  # for further calls
        if self._crash is not None:
            raise self._crash

    def wait(self) -> None:
        """Waits until all stages have ended, and closes the engine; interrupts it on an exception."""
        try:
            list(self.events())
        except BaseException:
            self.interrupt()
            raise
        finally:
            self.close()

    def interrupt(self) -> None:
        """Terminates all running stages with all processes that they started, and waits for their end; see `_join`."""
        if self._shared_slots is not None:
            self._shared_slots.stop_event.set()
        self._commands.terminate()
        self._join()

    def close(self) -> None:
        """Waits until all stages have ended, and closes the repository."""
        if self._join():
            self._repository.close()

    def _join(self) -> bool:
        """Waits until all stages have ended, but after an interrupt only for ABANDON_S; returns whether they have."""
        if self._thread is not None and not self._is_abandoned:
            join(self._thread, ABANDON_S if self._stop_event.is_set() else None)
            self._is_abandoned = self._thread.is_alive()
        return not self._is_abandoned

    def _run(self, stages: Sequence[Stage]) -> None:
        try:
            for name in terminate_orphans(self._repository.root):
                self.run.display.note(f"terminated {name}, which a killed run had left running")
            self._repository.expect([stage.name for stage in stages])
            self._record.begin(stages)
            policies = {stage.name: self.policies.of(stage.name) for stage in stages}
            self._preloads = PreloadScheduler(stages, policies, self._preload)
            memory = self.policies.resources.total_memory()
            self._run_stages(Scheduler(stages, policies, self._jobs, resources.gpus(), memory))
            self._timings.save()
            self._record.end()
            self._commands.close()
        except BaseException as error:  # noqa: BLE001 - `events` raises it in the caller's thread
            self._crash = error
            for name, events in self._events.items():  # else their tasks would wait for ever
                events.abort(as_failure(name, error))
            self._commands.terminate()
        finally:
            self._starting.clear()
            self._started.put(None)

    def _preload(self, policy: StagePolicy) -> None:
        """Starts to import the modules of stages with this policy."""
        self._commands.preload(policy.preload, resources.environment(min(policy.slots, self._jobs), self._jobs, ()))

    def _run_stages(self, scheduler: Scheduler) -> None:
        """Starts the stages that may start and handles those that have ended, until none runs and none may start."""
        while True:
            while (ready := scheduler.start_next()) is not None:
                stage, allocation = ready
                events = self._events[stage.name] = StageEvents(stage)
                self._starting.add(stage.name)
                self._started.put(events)
                start_attempts(events, partial(self._run_stage, events, allocation), self._finished)
            self._starting.remove("")
            if not scheduler.running:
                return
            events, outcome = self._finished.get()
            self._preloads.finish(events.stage.name)
            if isinstance(outcome, Result):
                self._handle_result(scheduler, outcome)
            else:
                self._handle_error(scheduler, events.stage.name, outcome)
            events.put(outcome)

    def _run_stage(self, events: StageEvents, allocation: Allocation) -> Result | InkflowError:
        """Brings one stage up to date, with the retries of its policy."""
        name = events.stage.name

        def on_failure(error: InkflowError, message: str) -> None:
            self._add_line(events, message)
            events.put(FailedAttempt(error))

        attempt = partial(self._attempt, events, allocation)
        try:
            return with_retries(name, self.policies.of(name), attempt, on_failure, self._stop_event)
        finally:
            self._starting.remove(name)

    def _attempt(self, events: StageEvents, allocation: Allocation) -> Result:
        """Restores a stage from DVC's cache, or runs it and records its outputs."""
        stage, force = events.stage, self.run.options.force
        if self._stop_event.is_set():
            raise Interrupted(stage.name)
        while True:
            answer = self._repository.try_restore(stage, force=force)
            if not isinstance(answer, Result) and not force and self._fetch_from_pool(stage.name):
                answer = self._repository.try_restore(stage)
            result = answer if isinstance(answer, Result) else self._execute_in_turn(events, allocation, answer)
            if result is not None:
                return result

    def _execute_in_turn(self, events: StageEvents, allocation: Allocation, reasons: tuple[str, ...]) -> Result | None:
        """Runs a stage with resources that other engines leave; None if another process uses or has recorded it."""
        name = events.stage.name
        policy = self.policies.of(name)
        if policy.pool is None:
            resources.check_memory(name, policy.memory, self.policies.resources.total_memory())
        if self._shared_slots is None:
            return self._execute(events, allocation, reasons)
        with ExitStack() as held:
            is_sent = self._pools is not None and policy.pool is not None
            if self._shared_slots.spans_clones and not is_sent:  # a pool runs equal work once
                held.enter_context(self._shared_slots.exclusive(self._repository.run_key(name)))
                answer = self._repository.try_restore(events.stage, force=self.run.options.force)
                if isinstance(answer, Result):  # another engine has run it meanwhile
                    return answer
                reasons = answer
            shared_allocation = held.enter_context(self._shared_slots.allocate(policy))
            return self._execute(events, shared_allocation, reasons)

    def _fetch_from_pool(self, name: str) -> bool:
        """Fetches an earlier result of a stage that runs in a pool into the cache; False if there is none."""
        if self._pools is None or self.policies.of(name).pool is None:
            return False
        return self._pools.fetch(name, self._stop_event)

    def _execute(self, events: StageEvents, allocation: Allocation, reasons: tuple[str, ...]) -> Result | None:
        """Runs a stage and records its outputs; restores its earlier outputs if it fails.

        Returns:
            None if another process uses its files, or has recorded it since the reasons were found.
        """
        stage, started_s = events.stage, time.monotonic()
        try:
            self._preloads.start(stage.name)
            command = self._repository.begin(stage.name)
            if command is None:
                return None
            self.run.display.started(stage.name, self._timings.expected_s(stage.name))
            self._record.started(stage.name)
            self._add_line(events, f"{REASONS_PREFIX}{', '.join(reasons) or describe(FORCED)}")
            location = self._run_command(events, allocation, command)
            self._repository.record(stage.name)
        except BaseException:
            with suppress(InkflowError):  # the first error is the one to report
                self._repository.abandon(stage.name)
            raise
        self._timings.add(stage.name, time.monotonic() - started_s)
        lineage = self._repository.lineage(stage.name) if self.policies.assets and not self.run.in_clone else None
        return Result(stage.name, Outcome.RAN, reasons, location, lineage)

    def _run_command(self, events: StageEvents, allocation: Allocation, command: Command) -> str:
        """Runs the command of a stage here or in its pool; returns the worker and pool, empty for this machine."""
        policy = self.policies.of(command.stage)
        self._starting.remove(command.stage)
        add_line = partial(self._add_line, events)
        if policy.pool is not None and self._pools is not None:
            return self._pools.run(command.stage, add_line, self._stop_event, force=self.run.options.force)
        watched = self.policies.of_undeclared(command.stage)
        with UndeclaredCheck(self._repository.root, command, watched, add_line) as check:
            variables = resources.environment(allocation.slots, self._jobs, allocation.gpus) | check.variables
            command = replace(command, environment={**variables, **command.environment}, preload=policy.preload)
            self._commands.run(command, add_line, policy.timeout_s)
            check.end()
        return ""

    def _add_line(self, events: StageEvents, text: str) -> None:
        self.run.display.line(events.stage.name, text)
        self._record.line(events.stage.name, text)
        events.put(text)

    def _handle_result(self, scheduler: Scheduler, result: Result) -> None:
        self.run.results.append(result)
        self._record.ended(result, self._repository.lineage(result.stage) if result.outcome is Outcome.RAN else None)
        self.run.display.result(result)
        scheduler.finish(result.stage)

    def _handle_error(self, scheduler: Scheduler, name: str, error: InkflowError) -> None:
        self.run.errors[name] = error
        self.run.display.failure(name, str(error))
        skipped = scheduler.fail(name)
        verb = "was interrupted" if isinstance(error, Interrupted) else "failed"
        endings = {stage: NotRun(f"{failed} {verb}") for stage, failed in skipped.items()}
        if not self.run.options.keep_going:  # the others could run
            endings |= dict.fromkeys(scheduler.stop(), NotRun(f"{name} {verb}", is_stopped=verb == "failed"))
        self._record.failed(name, error, endings)
        for stage, ending in endings.items():
            self.run.not_run[stage] = ending.cause
            self.run.stopped += [stage] if ending.is_stopped else []
            self.run.display.not_run(stage, ending.message)
            self._started.put(StageEvents(self.stages[stage], ending))
