"""The engine: brings the stages of a graph up to date, side by side where the graph and the machine allow it.

It knows nothing of Prefect and does not wait for it: it starts at once in threads of its own. Whoever wants to see
each stage follows its watch, as the tasks of the flow do.

    Scheduler ── which may start? ──> a thread a stage ── settle ─┬─> unchanged, restored
        ^                                                         └─> begin ─> Processes.run ─> record
        └────────── what became of it ───────────────────────────────────────────┘
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from flows.core.errors import Interrupted, can_pass_by_itself
from flows.dvc_repo.repository import Repository
from flows.engine import resources
from flows.engine.policy import Policies, StagePolicy, load_policies
from flows.engine.preload_scheduler import Preloads
from flows.engine.processes.processes import Processes, end_orphans
from flows.engine.run_state import Options, Session
from flows.engine.scheduler import Allocation, Scheduler
from flows.engine.shared_slots import Sharing
from flows.engine.stage_events import NotRun, Watch
from flows.engine.timings import Timings
from flows.engine.types import Command, Outcome, Result, Stage
from flows.workers.pool_stages import PoolStages
from stages.base.errors import InkflowError


class Engine:
    """Runs stages of one repository, in threads of its own."""

    def __init__(
        self,
        repository: Repository,
        policies: Policies,
        session: Session,
        options: Options,
        sharing: Sharing | None = None,
    ) -> None:
        self._sharing = sharing  # with engines in clones of the same project; None for one that is alone
        self._repository = repository
        self.policies = policies.all_here() if options.here else policies
        self._session = session
        self._options = options
        self._jobs = options.jobs or resources.cores()
        self._processes = Processes(repository.root, session.display.note)
        repository.tell(session.display.note, self._processes.ended)
        self._pools = PoolStages(repository, self.policies, session.carrier, self._processes.ended)
        self._timings = Timings(repository.root)
        self._ended: queue.Queue[tuple[Watch, Result | InkflowError]] = queue.Queue()
        self._watches: queue.Queue[Watch | None] = queue.Queue()
        self._crash: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, targets: Sequence[str]) -> None:
        """Begin to bring `targets` and all that they need up to date (everything when empty); come back at once."""
        stages = self._repository.stages(targets)
        self._thread = threading.Thread(target=self._run, args=[stages], name="engine", daemon=True)
        self._thread.start()

    def watches(self) -> Iterator[Watch]:
        """A watch for each stage, as it starts or is known not to run; ends when nothing runs any more."""
        while (watch := self._watches.get()) is not None:
            yield watch
        if self._crash is not None:
            raise self._crash

    def interrupt(self) -> None:
        """End all that runs, with all that it started; come back when nothing is left of it."""
        self._processes.end_all()
        self._join()

    def close(self) -> None:
        """Wait for the end of all that runs, and let go of the repository."""
        self._join()
        self._repository.close()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, stages: Sequence[Stage]) -> None:
        try:
            for stage in end_orphans(self._repository.root):
                self._session.display.note(f"ended {stage}, which a run that was killed had left behind")
            self._repository.expect([stage.name for stage in stages])
            policies = {stage.name: self.policies.of(stage.name) for stage in stages}
            self._preloads = Preloads(stages, policies, self._prepare)
            self._drive(Scheduler(stages, policies, self._jobs, resources.gpus()))
            self._repository.flush()
            self._timings.save()
        except BaseException as error:  # noqa: BLE001 - raised again where somebody watches
            self._processes.end_all()
            self._crash = error
        finally:
            self._processes.close()
            self._watches.put(None)

    def _prepare(self, policy: StagePolicy) -> None:
        """Have imported what stages of this policy want."""
        slots = min(policy.slots, self._jobs)
        self._processes.prepare(policy.preload, resources.environment(slots, self._jobs, ()))

    def _drive(self, scheduler: Scheduler) -> None:
        """Start what may start and take what ended, until nothing runs and nothing may start."""
        while True:
            while (ready := scheduler.start_next()) is not None:
                watch = Watch(ready[0])
                self._watches.put(watch)
                threading.Thread(target=self._work, args=[watch, ready[1]], name=watch.stage.name, daemon=True).start()
            if not scheduler.running:
                return
            watch, outcome = self._ended.get()
            self._preloads.ended(watch.stage.name)
            if isinstance(outcome, Result):
                self._take_result(scheduler, outcome)
            else:
                self._take_error(scheduler, watch.stage.name, outcome)
            watch.end(outcome)

    def _work(self, watch: Watch, allocation: Allocation) -> None:
        """Bring one stage up to date, trying again as its policy says."""
        policy = self.policies.of(watch.stage.name)
        for left in reversed(range(policy.retries + 1)):
            try:
                outcome: Result | InkflowError = self._try(watch, allocation)
            except InkflowError as error:
                outcome = error
            except BaseException as error:  # noqa: BLE001 - a fault of ours must not leave the run waiting for ever
                outcome = _fault(watch.stage.name, error)
            if isinstance(outcome, Result) or not left or not can_pass_by_itself(outcome):
                break
            self._say(watch, f"failed: {outcome}; {left} more tries, the next in {policy.retry_delay_s:g} s")
            watch.fail_try(outcome)
            if self._processes.ended.wait(policy.retry_delay_s):
                outcome = Interrupted(watch.stage.name)
                break
        self._ended.put((watch, outcome))

    def _try(self, watch: Watch, allocation: Allocation) -> Result:
        """Settle a stage from DVC's cache, or run it and record what it wrote."""
        stage, force = watch.stage, self._options.force
        if self._processes.ended.is_set():
            raise Interrupted(stage.name)
        settled = self._repository.settle(stage, force=force)
        if (
            isinstance(settled, tuple)
            and not force
            and self._pools.pool_of(stage.name)
            and self._pools.fetch(stage.name)
        ):
            settled = self._repository.settle(stage)
        if isinstance(settled, Result):
            return settled
        if self._sharing is None:
            return self._execute(watch, allocation, settled)
        with self._sharing.only_one(self._repository.run_key(stage.name)):
            settled = self._repository.settle(stage, force=force)  # another engine may have done the same just now
            if isinstance(settled, Result):
                return settled
            with self._sharing.place(self.policies.of(stage.name)) as place:
                return self._execute(watch, place, settled)

    def _execute(self, watch: Watch, allocation: Allocation, reasons: tuple[str, ...]) -> Result:
        """Run a stage and record what it wrote; when it fails, nothing of it stays."""
        stage = watch.stage
        started = time.monotonic()
        self._session.display.started(stage.name, self._timings.expected_s(stage.name))
        self._say(watch, f"runs: {', '.join(reasons) or 'asked for by --force'}")
        try:
            self._preloads.starts(stage.name)
            command = self._repository.begin(stage.name)
            place = self._run_command(watch, allocation, command)
            self._repository.record(stage.name)
        except BaseException:
            with suppress(InkflowError):  # what failed first is what counts
                self._repository.abandon(stage.name)
            raise
        self._timings.add(stage.name, time.monotonic() - started)
        return Result(stage.name, Outcome.RAN, reasons, place)

    def _run_command(self, watch: Watch, allocation: Allocation, command: Command) -> str:
        """Run the command of a stage that was begun, here or in its pool; where, if not here."""
        policy = self.policies.of(command.stage)
        if policy.pool is not None:
            return self._pools.run(command.stage, lambda text: self._say(watch, text), force=self._options.force)
        added = resources.environment(allocation.slots, self._jobs, allocation.gpus)
        command = replace(command, environment={**added, **command.environment}, preload=policy.preload)
        self._processes.run(command, lambda text: self._say(watch, text), policy.timeout_s)
        return ""

    def _say(self, watch: Watch, text: str) -> None:
        self._session.display.line(watch.stage.name, text)
        watch.say(text)

    def _take_result(self, scheduler: Scheduler, result: Result) -> None:
        if result.outcome is Outcome.UNCHANGED:
            self._repository.skip(result.stage)
        self._session.results.append(result)
        self._session.display.result(result)
        scheduler.finish(result.stage)

    def _take_error(self, scheduler: Scheduler, name: str, error: InkflowError) -> None:
        self._repository.skip(name)
        self._session.errors[name] = error
        self._session.display.failure(name, str(error))
        kept = scheduler.fail(name) | ({} if self._options.keep_going else dict.fromkeys(scheduler.stop(), name))
        how = "was ended" if isinstance(error, Interrupted) else "failed"
        for stage, cause in ((stage, f"{above} {how}") for stage, above in kept.items()):
            self._repository.skip(stage)
            self._session.not_run[stage] = cause
            self._session.display.not_run(stage, cause)
            watch = Watch(Stage(stage))
            watch.end(NotRun(cause))
            self._watches.put(watch)


@contextmanager
def running(session: Session, targets: Sequence[str], options: Options) -> Iterator[Engine]:
    """An engine at work on `targets`: the session's early one, or one that starts now. Ended with the block.

    Raises:
        PipelineInvalid, PolicyInvalid, UnknownStage: before anything starts.
    """
    engine, session.early = session.early, None
    if engine is None:
        repository = Repository()
        repository.pulls = options.pulls
        engine = Engine(repository, load_policies(Path()), session, options)
        engine.start(targets)
    try:
        yield engine
    except BaseException:
        engine.interrupt()
        raise
    finally:
        engine.close()


def _fault(stage: str, error: BaseException) -> InkflowError:
    fault = InkflowError(f"{stage}: a fault of the engine: {error!r}")
    fault.__cause__ = error
    return fault
