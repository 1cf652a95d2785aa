"""Disturbs runs at random moments of their stages: kills of their processes, and faults of the machine."""

import random
import re
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flows.engine.output_backup import DISCARDED, FOLDER, LIST
from tests.torture.support import machine_faults
from tests.torture.support.crash_project import LONGEST_S, CrashProject, RunningInkflow
from tests.torture.support.quick_check import QuickCheck

FORK_SERVER = "stage_fork_server.py"
KILLED_PROCESSES = ("flow", "stage process", "grandchild", "fork server")
PROGRAMS = ("stages.", "python -m stages.")  # arguments of the process of a stage, and of the shell that starts it
POLL_S = 0.01
BLOCK = 8  # disturbed runs: after one of them, at random, a plain run in a copy of the project is judged wholly
MOST_ENDED = 12  # runs of a campaign that may end before anything is done
ENDS = {0: "right", -signal.SIGKILL: "by a kill", -signal.SIGABRT: "by an abort without memory"}
NO_MEMORY = re.compile(r"^memory allocation of \d+ bytes failed$", re.MULTILINE)  # Rust's last line before it aborts
PROGRAM = re.compile(r"-m stages\.(\w+)")
MODULES = {"params": "validate"}  # the stage of a module with another name
SHELL = {"validate", "evaluate"}  # stages whose program a shell starts, since their libraries cannot be forked
STAGE_S = {"validate": 1.0, "download": 1.5, "prepare": 1.5, "train": 5.0, "evaluate": 1.5, "report": 3.0}  # about

Plan = dict[str, list[str]]


@dataclass
class Campaign:
    """Disturbs one project's runs, run after run, until `plan` is done.

    Attributes:
        plan: what is yet to be done, by the kind of the stage that runs then: names of the methods `_do_...`.
        skipped: what was planned and cannot be done on this machine.
        done: how often what was done in which kind of stage.
        ends: how often a disturbed run ended how.
        judged: of how many disturbed runs a plain run followed in a copy, with everything looked at.
        flaws: what was wrong with a disturbed run or after it, one text for each of them.
        problems: what else was wrong.
    """

    project: CrashProject
    plan: Plan
    chance: random.Random
    clock: machine_faults.Clock | None = None
    skipped: frozenset[str] = frozenset()
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    flaws: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_made: bool = field(default=False, init=False)  # a run came to its end: the next ones need --force
    is_forced: bool = field(default=False, init=False)  # a run had it
    kills_after_jump: bool = field(init=False)  # of the clock: one run is killed after it, the next comes to its end

    def __post_init__(self) -> None:
        """Begins with nothing looked at."""
        self.kills_after_jump = self.chance.random() < 0.5
        self._check = QuickCheck(self.project.folder)
        self._judged_place, self._began_s = 0, 0.0

    def disturb(self) -> None:
        """Starts runs and disturbs them until the plan is done; that it cannot be done is a problem."""
        ended_before = 0
        while any(self.plan.values()):
            ended_before += not self._disturb_a_run()
            if ended_before > MOST_ENDED:
                self.problems.append(f"{ended_before} runs ended before anything was done; left: {self.plan}")
                break

    def _disturb_a_run(self) -> bool:
        """Starts a run, disturbs it, and looks at what it left.

        False when it ended before, and what was planned for it stays in the plan.
        """
        before = self.done.total()
        self.is_forced, self._began_s = self.is_made, time.time()
        process = self.project.start(self.clock.environment if self.clock else {}, *["--force"] * self.is_made)
        try:
            found = self._wait_for_stage(process)
            if found is not None:
                getattr(self, f"_do_{found[0]}")(process, found[1])
            process.wait(LONGEST_S)
        finally:
            process.kill()
            process.wait()
        is_ended = process.returncode >= 0  # a stage of a killed run may go on until the next run
        wrong = [*self._judged(process.output, process.returncode, found), self._check.flaws(is_over=is_ended)]
        if process.returncode == 0:
            wrong += self.project.wrong_results()
            self.is_made = True
        is_disturbed = self.done.total() > before
        if is_disturbed:
            wrong.append(self._flaws_of_copy())
        flaw = "\n".join(wrong).strip()
        if is_disturbed:
            self.ends["wrong" if flaw else ENDS.get(process.returncode, "with one sentence")] += 1
        if flaw:
            (self.flaws if is_disturbed else self.problems).append(flaw)
        if found is not None and not is_disturbed:
            self.plan[found[1]].append(found[0])
        return is_disturbed

    def _flaws_of_copy(self) -> str:
        """Returns the flaws of a plain run in a copy after one random disturbed run of each block, else nothing."""
        place = self.ends.total() % BLOCK
        if place == 0:
            self._judged_place = self.chance.randrange(min(BLOCK, 1 + sum(map(len, self.plan.values()))))
        if place != self._judged_place:
            return ""
        self.judged += 1
        return self.project.flaws_of_copy(after_force=self.is_forced)

    def _wait_for_stage(self, process: RunningInkflow) -> tuple[str, str] | None:
        """Waits for a stage in which something is to be done, and chooses; None when the run ends first."""
        while process.poll() is None:
            for stage in self._running():
                if planned := self.plan.get(stage):
                    return planned.pop(self.chance.randrange(len(planned))), stage
            time.sleep(POLL_S)
        return None

    def _running(self) -> list[str]:
        return running_stages(self.project.folder, self._began_s)

    def _pause(self, stage: str, share: float = 1.0) -> None:
        time.sleep(self.chance.uniform(0, share * STAGE_S[stage]) * self.project.slowness)

    def _do_flow(self, process: RunningInkflow, stage: str) -> None:
        self._pause(stage)
        running = self._running()
        if process.poll() is None:
            process.kill()
            self.done["flow", running[0] if running else "between stages"] += 1

    def _do_fork_server(self, process: RunningInkflow, stage: str) -> None:
        self._pause(stage)
        for server in _family(process):
            with suppress(psutil.Error):
                if _is_fork_server(server, process):
                    server.kill()
                    self.done["fork server", stage] += 1
        self._do_stage(process, stage)

    def _do_grandchild(self, process: RunningInkflow, stage: str) -> None:
        """Kills the program that the shell of a stage started, and then all processes of stages."""
        while process.poll() is None:
            for found in _stage_processes(process):
                with suppress(psutil.Error, IndexError):
                    grandchild = found.children()[0]
                    time.sleep(self.chance.uniform(0, 0.5) * self.project.slowness)
                    if self._kill("grandchild", grandchild):
                        self._do_stage(process, stage)
            time.sleep(POLL_S)

    def _do_stage(self, process: RunningInkflow, stage: str) -> None:
        """Kills each process of a stage that the run starts, at a random moment of its life."""
        due: dict[int, float] = {}
        killed = set[int]()
        while process.poll() is None:
            for found in _stage_processes(process):
                life_s = self.chance.uniform(0, STAGE_S[stage] / 2) * self.project.slowness
                is_due = time.monotonic() > due.setdefault(found.pid, time.monotonic() + life_s)
                with suppress(psutil.Error):
                    if is_due and found.pid not in killed and self._kill("stage process", found):
                        killed.add(found.pid)
            time.sleep(POLL_S)

    def _kill(self, what: str, process: psutil.Process) -> bool:
        """Kills a process of a stage; returns False without a count for one that has ended.

        A fork has the command of its server: its stage is the one that runs, or one of them.
        """
        program = PROGRAM.search(" ".join(process.cmdline()))
        forks = "/".join(sorted({*self._running()} - SHELL)) or "between stages"
        stage = MODULES.get(program[1], program[1]) if program else forks
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.kill()
        self.done[what, stage] += 1
        return True

    def _do_disk_full(self, process: RunningInkflow, stage: str) -> None:
        self._during(machine_faults.full_disk(self.project.folder, self.chance), process, stage)

    def _do_read_only(self, process: RunningInkflow, stage: str) -> None:
        self._during(machine_faults.read_only(self.project.folder, self.chance), process, stage)

    def _do_open_files(self, process: RunningInkflow, stage: str) -> None:
        self._limit(resource.RLIMIT_NOFILE, process, stage)

    def _do_file_size(self, process: RunningInkflow, stage: str) -> None:
        self._limit(resource.RLIMIT_FSIZE, process, stage)

    def _do_memory(self, process: RunningInkflow, stage: str) -> None:
        self._limit(resource.RLIMIT_AS, process, stage)

    def _limit(self, kind: int, process: RunningInkflow, stage: str) -> None:
        def family() -> list[psutil.Process]:
            return [psutil.Process(process.pid), *_family(process)]

        self._during(machine_faults.limited(family, self.chance, kind), process, stage)

    def _do_clock(self, process: RunningInkflow, stage: str) -> None:
        """Lets the clock jump by a day, back or forward again; kills each other of these flows later."""
        assert self.clock is not None
        self._pause(stage, 0.5)
        if process.poll() is not None:
            return
        self.clock.jump()
        self.done["clock, then a kill" if self.kills_after_jump else "clock", stage] += 1
        if self.kills_after_jump:
            self._pause(stage)
            process.kill()
        self.kills_after_jump = not self.kills_after_jump

    def _during(self, fault: AbstractContextManager[str], process: RunningInkflow, stage: str) -> None:
        """Begins a fault at a random moment, and ends it when the run has ended; it is a problem if that never ends.

        A fault without a name has met no process: it does not count.
        """
        self._pause(stage, 0.7)
        if process.poll() is None:
            with fault as name:
                if not name:
                    return
                self.done[name, stage] += 1
                try:
                    process.wait(LONGEST_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    self.problems.append(f"{name} in {stage}: the run did not end within {LONGEST_S} s")

    def _judged(self, log: str, code: int, found: tuple[str, str] | None) -> Iterator[str]:
        """Yields what the run did wrong."""
        sentences = [line for line in log.splitlines() if line.startswith("error: ")]
        if found is None and code:
            yield f"an undisturbed run ended with {code}: {log[-3000:]}"
        elif code > 0 and len(sentences) != 1:
            yield f"{found}: exit code {code} with {len(sentences)} sentences: {log[-3000:]}"
        elif "Traceback" in log or "internal error" in log:
            yield f"{found}: a traceback or an internal error: {log[-3000:]}"
        elif code < 0 and code != -signal.SIGKILL and not (code == -signal.SIGABRT and NO_MEMORY.search(log)):
            yield f"{found}: the run died of signal {-code}: {log[-3000:]}"


def running_stages(project: Path, since_s: float) -> list[str]:
    """Returns the kinds of the stages that began after `since_s` and still run: the outputs of each are set aside.

    Earlier ones are what a killed run left, which the next run puts back.
    """
    found = set()
    for path in (project / FOLDER).glob(f"[!{DISCARDED}]*/{LIST}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime > since_s:
                found.add(path.parent.name.partition("%40")[0])
    return sorted(found)


def counts(done: Mapping[tuple[str, str], int]) -> str:
    """Returns the counts as text: `flow 30 (train 10, report 20), stage process ...`."""
    whats = sorted({what for what, _ in done})
    stages = {what: {stage: n for (other, stage), n in sorted(done.items()) if other == what} for what in whats}
    return "; ".join(
        f"{what} {sum(found.values())} ({', '.join(f'{stage} {n}' for stage, n in found.items())})"
        for what, found in stages.items()
    )


def _family(process: RunningInkflow) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _stage_processes(process: RunningInkflow) -> Iterator[psutil.Process]:
    """Yields the processes of stages: forks of a fork server, and other children of the run."""
    for found in _family(process):
        with suppress(psutil.Error):
            parent = found.parent()
            is_fork = parent is not None and _is_fork_server(parent, process)
            is_program = found.ppid() == process.pid and any(word.startswith(PROGRAMS) for word in found.cmdline())
            if is_fork or is_program:
                yield found


def _is_fork_server(found: psutil.Process, run: RunningInkflow) -> bool:
    return found.ppid() == run.pid and any(word.endswith(FORK_SERVER) for word in found.cmdline())
