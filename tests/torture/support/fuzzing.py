"""Feeds readers with damaged and made-up input, within bounds of memory and time.

    python -m tests.torture.support.fuzzing hypothesis --seconds 600
    python -m tests.torture.support.fuzzing atheris --runs 1000 --target CSV

Each input has to be read, or to be refused in one sentence by an error of the project. A reader starts no program,
connects to nothing, and reads, writes and removes no file outside its folder. Hypothesis takes the targets in turn;
atheris (coverage-guided, libFuzzer) mixes them. Prints the executions.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tests.torture.support.audited import audited
from tests.torture.support.peak import memory, reset_peak

if TYPE_CHECKING:  # atheris instruments the modules while they are imported
    from tests.torture.support.hostile_files import Target

MEMORY = 1_000_000_000  # bytes beyond those that the process has after the valid inputs
CPU_S = 20.0  # of one input
MAX_INPUT = 20_000  # bytes
MAX_SENTENCE = 3_000  # characters
TOO_MUCH = "more memory than the bound"
INSTRUMENTED = ["stages", "flows", "zipfile", "csv", "gzip"]


class Broken(AssertionError):
    """A reader did not keep to its bounds."""


class Fuzzed:
    """Runs targets, each in a folder of its own, and counts their executions."""

    def __init__(self, targets: "Mapping[str, Target]", folder: Path) -> None:
        self.executions, self.targets, self._is_ready = 0, targets, False
        self._folders = {name: folder / str(number) for number, name in enumerate(targets)}
        self.seeds: dict[str, list[bytes]] = {}
        for name, place in self._folders.items():
            place.mkdir()
            self.seeds[name] = [*targets[name].seeds(place), b""]
            for seed in self.seeds[name]:  # imports what is imported late
                self.run(name, seed)
        self._is_ready = True

    def run(self, name: str, content: bytes) -> None:
        """Gives `content` to the target.

        Raises:
            Broken: an exception that is no error of the project, no single sentence, too much time or memory, or a
                program, a connection or a file outside the folder of the target.
        """
        target, shown = self.targets[name], f"{name} on {content[:3_000]!r}"
        self.executions += 1
        began, interrupted = time.process_time(), list[float]()
        try:
            with (
                _limited_cpu(interrupted),
                _temporary_files_in(self._folders[name]),
                audited(self._folders[name]) as deeds,
            ):
                target.read(content, self._folders[name])
        except target.errors:
            pass
        except Exception as error:  # noqa: BLE001 - which of them are right is what is tried
            problem = _problem(error)
            if problem and not (problem == TOO_MUCH and _is_unused(target, content, self._folders[name])):
                trace = "".join(traceback.format_exception(error)[-7:])
                raise Broken(f"{problem}: {shown}\n{trace}") from None
        if interrupted or time.process_time() - began > CPU_S:  # the reader may have taken it for a bad file
            raise Broken(f"took more than {CPU_S:g} s of CPU time: {shown}")
        if deeds and self._is_ready:  # what the valid inputs import may look at the machine
            raise Broken(f"{deeds[0]}: {shown}")


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Makes the temporary files of the block in `folder`."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _limited_cpu(interrupted: list[float]) -> Iterator[None]:
    """Interrupts the block when it has used CPU_S seconds of processor time, and again if it goes on; notes when.

    Raises:
        Broken: from within the block.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(time.process_time())
        raise Broken(f"took more than {CPU_S:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, CPU_S, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _problem(error: Exception) -> str:
    """Returns what is wrong with the error of a reader; empty if nothing is."""
    from flows.core.errors import PolicyInvalid
    from stages.base.errors import InkflowError, ParamsError

    if isinstance(error, Broken):
        return str(error)
    if not isinstance(error, InkflowError):
        return "not an error of the project"
    sentences = error.messages if isinstance(error, ParamsError) else [str(error)]
    if isinstance(error, PolicyInvalid):
        sentences = str(error).splitlines()  # one for each mistake
    for sentence in sentences:
        if not 0 < len(sentence) <= MAX_SENTENCE:
            return f"a message of {len(sentence):,} characters"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return TOO_MUCH
        cause = cause.__cause__ or cause.__context__
    return ""


def limit_memory() -> None:
    """Bounds the memory of this process for good, where the system tells how much it has."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines())
        limit = int(lines["VmData"].split()[0]) * 1024 + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _is_unused(target: "Target", content: bytes, folder: Path) -> bool:
    """Returns whether the reader asks for more memory than it fills, as libraries do for a size that a file states.

    Another process reads `content`, with a higher bound.
    """
    number = os.fork()
    if number:
        return os.waitpid(number, 0)[1] == 0
    is_filled = True
    try:
        signal.alarm(round(3 * CPU_S))  # a library may not work in a forked process
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (soft + 8 * MEMORY, hard))
        before = reset_peak()
        with suppress(Exception):
            target.read(content, folder)
        is_filled = memory("VmHWM") - before > MEMORY
    finally:
        os._exit(is_filled)


def main() -> int:
    """Runs one of the fuzzers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fuzzer", choices=("hypothesis", "atheris"))
    parser.add_argument("--seconds", type=int, default=0, help="largest time; without it --runs count")
    parser.add_argument("--runs", type=int, default=1_000, help="inputs of atheris, or of Hypothesis for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", help="name of a target; all by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.fuzzer == "atheris":
            bound = f"-max_total_time={options.seconds}" if options.seconds else f"-runs={options.runs}"
            _fuzz_with_atheris(Path(folder), options.target, bound, options.seed)
        else:
            from tests.torture.support.hostile_inputs import fuzz  # late, as below: after atheris has begun

            fuzzed = Fuzzed(_targets(options.target), Path(folder))
            limit_memory()
            fuzz(fuzzed, options.seconds, options.runs, options.seed)
            print(f"executions: {fuzzed.executions}")
    return 0


def _targets(names: list[str] | None) -> "dict[str, Target]":
    from tests.torture.support.hostile_files import FILES
    from tests.torture.support.hostile_texts import TEXTS

    known = FILES | TEXTS
    return {name: known[name] for name in names or known}


def _fuzz_with_atheris(folder: Path, names: list[str] | None, bound: str, seed: int) -> None:
    """Ends the process: libFuzzer does not return. The first byte of an input chooses one of several targets."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # for Linux on x86-64 alone

    with atheris.instrument_imports(include=INSTRUMENTED):
        fuzzed = Fuzzed(_targets(names), folder)
    order = list(fuzzed.seeds)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, name in enumerate(order):
        for index, content in enumerate(fuzzed.seeds[name]):
            (corpus / f"{number}-{index}").write_bytes(bytes([number]) + content)

    def run(content: bytes) -> None:
        if content:
            fuzzed.run(order[content[0] % len(order)], content[1:])

    limit_memory()
    options = ("-timeout=600", "-rss_limit_mb=0", f"-artifact_prefix={folder}/", "-print_final_stats=1")
    atheris.Setup([sys.argv[0], bound, f"-max_len={MAX_INPUT}", f"-seed={seed}", *options, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
